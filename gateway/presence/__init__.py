"""Presence at a gateway node: announcing its users, and telling its devices about the users they
watch."""
