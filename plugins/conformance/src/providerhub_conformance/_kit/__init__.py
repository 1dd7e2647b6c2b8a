"""The checks, and everything that runs them."""
