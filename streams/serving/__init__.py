"""What the outside reads: the read model in Redis, and the numbers that are shown of it."""
