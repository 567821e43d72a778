"""The operator's page and the HTTP API."""
