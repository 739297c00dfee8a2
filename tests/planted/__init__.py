"""Faults that are planted in a system's data, one of each kind, and what finds them."""
