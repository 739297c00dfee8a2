"""Kafka by confluent-kafka: producer, consumer, reading the log by offset, topics."""
