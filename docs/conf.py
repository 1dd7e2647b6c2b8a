"""Settings of Sphinx: MyST, furo, nitpicky, warnings as errors (tox environment `docs`)."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "providerhub"
author = "the providerhub maintainers"
project_copyright = author
release = metadata.version("providerhub")
version = ".".join(release.split(".")[:2])

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated"]
exclude_patterns = ["_build", "changelog", "reference/cli-examples"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_use_rtype = False
python_use_unqualified_type_names = True
# Most readers see docstrings in terminals and editors, where single backticks mean code.
default_role = "code"

# Every reference must resolve. Inventories of other projects would need the network, so this list names the references to
# other projects: the standard library as a whole, third-party packages one by one.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", rf"({'|'.join(map(re.escape, sorted(sys.stdlib_module_names)))})(\..*)?"),
    ("py:class", r"providerhub\w*\.(\w+\.)*_.*"),  # types of our own that only stand in signatures
    ("py:.*", r"(attrs?|click|pluggy|pytest|requests|rich|urllib3)(\..*)?"),
]

# These names are imported for annotations only, so Sphinx sees them without their modules.
nitpick_ignore = [("py:class", name) for name in ("Conversation", "Decimal", "Executor", "Knobs", "ModelSpec", "VendorBatches")]

# Furo's default dark style shows the names of modules like links.
pygments_dark_style = "github-dark"
maximum_signature_line_length = 100

html_theme = "furo"
html_title = f"providerhub {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sourcelink = False
