"""The sequencer's partitions: restored from the log, folded, appended (R6), delivered (R4, R5)."""
