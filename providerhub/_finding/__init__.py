"""Plugins and models: what is installed, what is configured, and which candidates a request has."""
