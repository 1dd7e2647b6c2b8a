"""The command line `providerhub`; the extra `cli` installs its dependencies."""

from providerhub.cli._main import main

__all__ = ["main"]
