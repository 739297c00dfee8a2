"""The archiver's partitions: rows gathered from the log, inserted in blocks, acknowledged before the offset moves."""
