"""Bytes as every version of this code wrote them, and what they must decode to."""
