"""The archive against the log: what is missing, twice or different, and filling what is missing."""
