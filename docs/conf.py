"""How Sphinx builds the documentation: MyST, furo, nitpicky, warnings as errors (tox environment `docs`)."""

from __future__ import annotations

import re
import sys
from importlib import metadata

project = "providerhub"
author = "the providerhub maintainers"
project_copyright = author
release = metadata.version("providerhub")
version = ".".join(release.split(".")[:2])

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "changelog"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True

# Every reference must resolve. Inventories of other projects would need the network, so what lives elsewhere
# is named here: the standard library as a whole, third-party packages one by one.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", rf"({'|'.join(map(re.escape, sorted(sys.stdlib_module_names)))})(\..*)?"),
    ("py:.*", r"(attrs?|click|pluggy|pytest|requests|rich|urllib3)(\..*)?"),
]

html_theme = "furo"
html_title = f"providerhub {release}"
