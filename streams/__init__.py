"""The pipeline's fixed parts: the Faust app, coalescing, tables and their state, the watchdog."""
