"""The cursors stage: `receipts.submitted` → `cursors` and `deliveries`."""
