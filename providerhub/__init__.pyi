from providerhub._exports import *  # noqa: F403 -- all of it, without a second list that could differ
from providerhub._exports import __version__ as __version__
from providerhub._values import *  # noqa: F403 -- the same
