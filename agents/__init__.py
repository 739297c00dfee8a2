"""The stages of the pipeline, one a file; the decisions they take are in agents/rules."""
