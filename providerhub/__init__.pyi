from providerhub._exports import *  # noqa: F403 -- all of it, without a second list that could differ
from providerhub._exports import __all__ as __all__
from providerhub._exports import __version__ as __version__
