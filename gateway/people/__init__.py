"""What users have decided about each other, at a gateway node: who may write to whom, who sees
what, and the lists."""
