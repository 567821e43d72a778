"""Logs of a deployment: bounded reads of topics, parquet files, import into another Kafka, replay."""
