"""From telemetry to scenarios: running statistics of every entity, and what is unusual about them."""
