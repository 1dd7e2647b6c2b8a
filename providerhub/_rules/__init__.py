"""Decisions without I/O: the retry chain, its policy, health records, and the classes of failures."""
