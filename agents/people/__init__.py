"""The people stage: `people.submitted` → `people` and `deliveries`."""
