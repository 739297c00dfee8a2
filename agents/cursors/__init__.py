"""The cursors stage: `receipts.submitted` → `cursors`, `deliveries` and `notifications`."""
