"""What is said on the socket, in Kafka and in ClickHouse. Imports nothing of ours."""
