"""Kafka and Valkey on one machine from Python packages alone: children of this process, on 127.0.0.1."""

from streams.embedded.children import Child, start_child
from streams.embedded.kafka import Kafka, start_kafka
from streams.embedded.valkey import Valkey, start_valkey

__all__ = ["Child", "Kafka", "Valkey", "start_child", "start_kafka", "start_valkey"]
