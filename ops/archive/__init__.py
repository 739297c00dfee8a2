"""Compares the archive with its topics, and fills in what it lacks."""
