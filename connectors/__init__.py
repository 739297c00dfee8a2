"""Everything that speaks to a system we did not write. Imports schemas only."""
