"""The webhook stage: `notifications` → calls of an endpoint."""
