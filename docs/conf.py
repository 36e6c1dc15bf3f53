"""How Sphinx builds these pages; "sphinx-build -W -n docs DIRECTORY", after "pip install --group docs"."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]

project = "asynchat_fast"
author = "the authors of asynchat_fast"
version = release = re.search(
    r'__version__ = "(.*)"', (ROOT / "asynchat_fast/_version.py").read_text(encoding="utf-8")
)[1]
language = "en-GB"

extensions = ["myst_parser"]
exclude_patterns = ["README.md", "_build"]
nitpicky = True

# The pages are plain Markdown, to be read where they are, too.
myst_heading_anchors = 3
myst_url_schemes = ["http", "https", "mailto"]

html_theme = "furo"
html_title = f"asynchat_fast {release}"
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}

# Pages that stand in the root of the repository are included here, and lead elsewhere from here.
MOVED = {
    "README.md#opt-ins": "reference.md#opt-ins",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGES.md": "changes.md",
}


def move_links(app, path, docname, content):
    content[0] = re.sub(r"\]\((?:docs/)?([^)]+)\)", lambda match: f"]({MOVED.get(match[1], match[1])})", content[0])


def setup(app):
    app.connect("include-read", move_links)
    return {"parallel_read_safe": True}
