"""Everything that touches Faust: the app, its consumer, its table and its monitor. No other package
of the pipeline's runtime imports it."""
