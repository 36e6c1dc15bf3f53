"""How Sphinx builds these pages; "sphinx-build -W -n docs DIRECTORY", after "pip install --group docs"."""

import os
import re
import sys
from pathlib import Path

from sphinx import addnodes

ROOT = Path(__file__).parents[1]

# The reference is made from the modules of this tree, in plain Python: those have the docstrings and the types.
sys.path.insert(0, str(ROOT))
os.environ["ASYNCHAT_FAST_NO_EXTENSIONS"] = "1"

import asynchat_fast  # noqa: E402

asynchat_fast.InputBuffer.__name__ = "InputBuffer"  # autodoc calls a class of another name an alias

project = "asynchat_fast"
author = "the authors of asynchat_fast"
version = release = asynchat_fast.__version__
language = "en-GB"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx_copybutton"]
exclude_patterns = ["README.md", "_build"]
nitpicky = True

# Types in signatures may be private ones, or type variables, which have no entry.
nitpick_ignore_regex = [("py:class", r"asynchat_fast\..*")]

add_module_names = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
maximum_signature_line_length = 100
python_display_short_literal_types = True

# The pages are plain Markdown, to be read where they are, too.
myst_heading_anchors = 3
myst_url_schemes = ["http", "https", "mailto"]

html_theme = "furo"
html_title = f"asynchat_fast {release}"
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
html_static_path = ["static"]
html_css_files = ["pages.css"]
pygments_dark_style = "github-dark"

# Pages that stand in the root of the repository are included here, and lead elsewhere from here.
MOVED = {
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security-policy.md",
    "CHANGES.md": "changes.md",
}


def move_links(app, path, docname, content):
    content[0] = re.sub(r"\]\((?:docs/)?([^)]+)\)", lambda match: f"]({MOVED.get(match[1], match[1])})", content[0])


def unlink_other_types(app, doctree):
    """Remove the links of other types than ours in signatures: that of "list" would lead to a member of this name."""
    for node in list(doctree.findall(addnodes.pending_xref)):
        if node.get("reftype") == "class" and not node["reftarget"].startswith("asynchat_fast."):
            node.replace_self(node.children)


def setup(app):
    app.connect("include-read", move_links)
    app.connect("doctree-read", unlink_other_types)
    return {"parallel_read_safe": True}
