"""
Sphinx configuration of the documentation.
"""

import os
import re
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent / "pytest_nsisolate" / "__init__.py"
_FOUND = re.search(r'^__version__ = "(.+)"$', _PACKAGE.read_text(), re.MULTILINE)
assert _FOUND is not None

project = "pytest-nsisolate"
author = "The pytest-nsisolate maintainers"
copyright = author  # noqa: A001 - the name that Sphinx reads
release = version = _FOUND[1]

extensions = [
    "myst_parser",
    "notfound.extension",
    "sphinx_copybutton",
    "sphinxext.opengraph",
]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "requirements.txt"]
nitpicky = True

# Of a console block only the commands are copied; a text block is all output.
copybutton_prompt_text = "$ "
copybutton_selector = "div:not(.highlight-text) > div.highlight > pre"

# Where the site is, if Read the Docs builds it; anywhere else it is at the root.
html_baseurl = os.environ.get("READTHEDOCS_CANONICAL_URL", "")
if not html_baseurl:
    notfound_urls_prefix = "/"

# What is shown of a page where somebody links to it.
ogp_site_url = html_baseurl
ogp_site_name = project
ogp_description_length = 160
ogp_social_cards = {"enable": False}

html_theme = "furo"
html_title = f"pytest-nsisolate {release}"
html_static_path = ["_static"]
html_favicon = "_static/icon.svg"
# Nothing here is marked for an index: its page would be empty.
html_use_index = False
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_theme_options = {
    "source_repository": "https://github.com/pytest-nsisolate/pytest-nsisolate/",
    "source_branch": "main",
    "source_directory": "docs/",
}
