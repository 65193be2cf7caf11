"""Sphinx configuration. The build needs no network and must not warn (`make docs`)."""

import doctest
import importlib.metadata
import inspect
from pathlib import Path

import fairprog

# ----------------------------------------------------------------------------------- the API list
# api.rst includes _names.rst, written here from `fairprog.__all__`: the list cannot go stale.
# Public names are grouped by the module of the package they come from.

GROUPS = {
    "populations": "Populations",
    "transports": "Transports",
    "tables": "Notions and risks",
    "programs": "Programs",
    "solution": "Solutions",
    "certificate": "Solutions",
    "bounds": "Solutions",
    "io": "Solutions",
    "estimators": "Estimators",
    "audit": "Audit",
    "datasets": "Data sets",
    "plotting": "Pictures",
    "testing": "Testing",
    "errors": "Errors and warnings",
}
OTHER = "Further functions"


def group_of(name: str) -> str:
    value = getattr(fairprog, name)
    module = value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", "")
    parts = module.split(".")
    return GROUPS.get(parts[1] if parts[0] == "fairprog" and len(parts) > 1 else "", OTHER)


def api_names() -> str:
    lines = [".. Written by conf.py from fairprog.__all__.", "", ".. currentmodule:: fairprog", ""]
    names = [name for name in fairprog.__all__ if not name.startswith("_")]
    for title in [*dict.fromkeys(GROUPS.values()), OTHER]:
        members = [name for name in names if group_of(name) == title]
        if members:
            lines += [
                title,
                "-" * len(title),
                "",
                ".. autosummary::",
                "   :toctree: generated",
                "",
            ]
            lines += [*(f"   {name}" for name in members), ""]
    return "\n".join(lines)


names_file = Path(__file__).with_name("_names.rst")
if not names_file.exists() or names_file.read_text(encoding="utf-8") != api_names():
    names_file.write_text(api_names(), encoding="utf-8")  # untouched where nothing has changed

# ---------------------------------------------------------------------------------------- project

project = "fairprog"
author = "The fairprog developers"
copyright = author
release = version = importlib.metadata.version("fairprog")

extensions = [
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_names.rst"]
default_role = "literal"

# --------------------------------------------------------------------------- docstrings, examples

autosummary_generate = ["_names.rst"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say types, shapes and units in words
numpydoc_show_class_members = False  # the class template lists the members

doctest_default_flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
doctest_global_setup = "import numpy as np\nimport fairprog as fp"

# ------------------------------------------------------------------------------------------- html

html_theme = "pydata_sphinx_theme"
html_title = "fairprog"
html_show_sourcelink = False
html_theme_options = {"show_prev_next": False, "secondary_sidebar_items": ["page-toc"]}
