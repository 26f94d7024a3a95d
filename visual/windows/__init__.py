"""Windows to turn events in: one controller, two renderers."""
