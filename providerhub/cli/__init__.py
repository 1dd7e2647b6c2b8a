"""The command line `providerhub`, which the extra `cli` brings the dependencies of."""

from providerhub.cli._main import main

__all__ = ["main"]
