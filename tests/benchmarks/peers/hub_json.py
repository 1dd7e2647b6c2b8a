"""As `hub`, but without the extra `fast`."""

import sys

sys.modules["msgspec"] = None

from hub import call, prepare, stream  # noqa: E402, F401 -- after the line above
