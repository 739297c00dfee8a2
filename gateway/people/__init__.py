"""What users have decided about each other, as a gateway node uses it: who may write to whom, who
sees what, and the lists."""
