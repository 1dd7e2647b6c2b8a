"""One call: its arguments, its attempts, and its answer."""
