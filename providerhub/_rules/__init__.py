"""Decisions without I/O: the retry chain, its policy, the health records, and the classes of failures."""
