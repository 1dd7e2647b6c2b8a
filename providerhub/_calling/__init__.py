"""One call: its arguments, its attempts, and the answer in the caller's hands."""
