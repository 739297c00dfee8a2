"""The presence stage: `presence.submitted` → `presence` and `deliveries`."""
