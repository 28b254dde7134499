"""
Sphinx configuration of the documentation.
"""

import re
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent / "pytest_nsisolate" / "__init__.py"
_FOUND = re.search(r'^__version__ = "(.+)"$', _PACKAGE.read_text(), re.MULTILINE)
assert _FOUND is not None

project = "pytest-nsisolate"
author = "The pytest-nsisolate maintainers"
copyright = author  # noqa: A001 - the name that Sphinx reads
release = version = _FOUND[1]

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "requirements.txt"]
nitpicky = True

html_theme = "furo"
html_title = f"pytest-nsisolate {release}"
