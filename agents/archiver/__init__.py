"""The archiver's partitions: rows gathered from a topic, inserted in blocks, acknowledged before
the offset moves."""
