"""The notifier stage: `messages` → `receipts.submitted`, for `notifications`."""
