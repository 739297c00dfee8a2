"""The judge: what Kafka, the workers and the devices hold must be dense, once, in order, and equal
everywhere."""
