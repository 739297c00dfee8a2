"""The archive against its topics: what is missing, twice or different, and filling what is
missing."""
