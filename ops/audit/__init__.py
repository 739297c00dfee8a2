"""The judge: checks that what Kafka, the workers and the devices hold is dense, once, in order, and
equal everywhere."""
