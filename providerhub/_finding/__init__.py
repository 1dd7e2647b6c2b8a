"""Plugins and models: the installed and configured plugins, and the candidates of a request."""
