"""The whole system on one machine, without Docker: real Kafka, real Redis, workers, gateways."""
