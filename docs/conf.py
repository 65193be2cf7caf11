"""Sphinx configuration. The build needs no network and must not warn (`make docs`)."""

import doctest
import importlib.metadata
import inspect
import re
from importlib.util import find_spec
from pathlib import Path

import fairprog

# ----------------------------------------------------------------------------------- the API list
# api.rst includes _names.rst, written here from `fairprog.__all__`: the list cannot go stale.
# Public names are grouped by the module of the package they come from.

GROUPS = {
    "populations": "Populations",
    "transports": "Transports",
    "maps": "Transports",
    "tables": "Notions and risks",
    "programs": "Programs",
    "solution": "Solutions",
    "estimators": "Estimators",
    "audits": "Audit",
    "comparison": "Comparison",
    "plotting": "Pictures",
    "testing": "Testing",
    "errors": "Errors and warnings",
}
OTHER = "Further functions"
ABOUT = {  # the concept page of a group, in a sentence
    "Populations": "Joint laws of features, label and group: :doc:`concepts/population`.",
    "Transports": "Classes of maps that may move a group: :doc:`concepts/transport`.",
    "Notions and risks": "What outcome tables are judged by: :doc:`concepts/notion`.",
    "Programs": "What is minimised, over what: :doc:`concepts/program`, and your own conditions: "
    ":doc:`concepts/constraint`.",
    "Solutions": "The answer, its proof and what it promises: :doc:`concepts/prices`, "
    ":doc:`concepts/certificate`, :doc:`concepts/align_steer`.",
}


TORCH = [  # of an extra's package
    *("collect", "HiddenStates", "AlignHook", "SteerHook", "MapHook", "Tokens", "AssistantTokens"),
    *("fit_concept", "next_word_effect", "next_word_effects", "memory_estimate", "notion_loss"),
]


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
                *([ABOUT[title], ""] if title in ABOUT else []),
                ".. autosummary::",
                "   :toctree: generated",
                "",
            ]
            lines += [*(f"   {name}" for name in members), ""]
    lines += ["PyTorch models", "--------------", ""]
    lines += ["Activations of models, :doc:`guides/language_models`.", ""]
    lines += [
        ".. currentmodule:: fairprog.torch",
        "",
        ".. autosummary::",
        "   :toctree: generated",
    ]
    lines += ["", *(f"   {name}" for name in TORCH), ""]
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
    "myst_parser",  # CHANGELOG.md and CONTRIBUTING.md are pages, too
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # formulae need no network either
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxcontrib.bibtex",
    "sphinx_gallery.gen_gallery",
    "matplotlib.sphinxext.plot_directive",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_names.rst", "examples", "gallery/*.py", "sg_execution_times.rst"]
default_role = "literal"
source_suffix = {".rst": "restructuredtext"}
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
bibtex_reference_style = "author_year"

# --------------------------------------------------------------------------- docstrings, examples

autosummary_generate = ["_names.rst"]
# Pages list what a class inherits, down to a base that has a page of its own.
BASES = (
    *("Notion", "Risk", "Constraint", "Bijection", "LocationScale", "AffineMap"),
    *("OutcomeTable", "RandomizedClassifier", "Solution", "Transport", "tuple", "object"),
)
autosummary_context = {"bases": ", ".join(BASES)}
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"  # names of methods fit beside the page
autodoc_typehints = "none"  # the docstrings say types, shapes and units in words
numpydoc_show_class_members = False  # the class template lists the members

doctest_default_flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
doctest_global_setup = (
    "import numpy as np\nimport fairprog as fp\nfrom importlib.util import find_spec"
)
autodoc_mock_imports = [] if find_spec("torch") else ["torch"]

# ------------------------------------------------------------------------------ pictures, gallery

# The pictures of the concept pages are functions of docs/pictures.py, drawn in the build.
plot_formats = [("png", 160)]
plot_html_show_formats = False
plot_html_show_source_link = False

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "capture_repr": (),
    "show_memory": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "remove_config_comments": True,
    "image_srcset": ["2x"],
    "copyfile_regex": "",
    "doc_module": ("fairprog",),  # each page of the API lists the examples that use its name
    "backreferences_dir": "generated/backreferences",
}

# ------------------------------------------------------------------------------------------- html

copybutton_prompt_text = r">>> |\.\.\. |\$ "  # of examples only the input is copied
copybutton_prompt_is_regexp = True
html_theme = "pydata_sphinx_theme"
html_title = "fairprog"
html_show_sourcelink = False
html_domain_indices = False  # api.rst is the list of names
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_context = {"default_mode": "auto"}
html_sidebars = {"index": []}  # the front page needs no section navigation
html_theme_options = {
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "pygments_light_style": "a11y-high-contrast-light",
}
mathjax3_config = {
    "tex": {
        "macros": {
            "KL": r"\operatorname{KL}",
            "TV": r"\operatorname{TV}",
            "tr": r"\operatorname{tr}",
            "diag": r"\operatorname{diag}",
            "E": r"\operatorname{E}",
            "Var": r"\operatorname{Var}",
            "Cov": r"\operatorname{Cov}",
            "R": r"\mathbb{R}",
        }
    },
    "chtml": {"matchFontHeight": False, "scale": 1.05},
}


def own_members_only(app, what, name, obj, skip, options):
    """Leave out scikit-learn's methods: their docstrings refer to its own glossary."""
    short = name.rpartition(".")[2]
    routed = short.startswith("set_") and short.endswith("_request")
    theirs = str(getattr(obj, "__module__", "")).partition(".")[0] == "sklearn"
    return True if routed or theirs else None


# ----------------------------------------------------------------- sections of the theory
# Docstrings cite "theory.md section 4": the numbered sections of the mathematics pages.

SECTIONS = {
    0: "index",
    1: "ideal_populations",
    2: "parametric",
    3: "objective",
    4: "one_group",
    5: "all_groups",
    6: "transfer",
    7: "rates",
    8: "rates",
    9: "rates",
    11: "fair_scores",
    12: "nearest_fair",
    13: "inference",
}
THEOREMS = {"A": "ideal_populations", "B": "one_group", "C": "all_groups"}
THEOREMS |= dict.fromkeys("DEF", "fair_scores")
MATHEMATICS = ":doc:`the mathematics </theory/index>`"


def linked_theory(text: str) -> str:
    """Turn citations of theory.md into links to the pages of the mathematics."""

    def sections(match: re.Match) -> str:
        link = r":doc:`\g<0> </theory/{}>`"
        numbers = re.sub(
            r"\d+",
            lambda n: n.expand(link.format(SECTIONS.get(int(n[0]), "index"))),
            match["numbers"],
        )
        return f"{MATHEMATICS}, {match['word']} {numbers}"

    def theorem(match: re.Match) -> str:
        return f":doc:`Theorem {match[1]} </theory/{THEOREMS[match[1]]}>`"

    numbers = r"(?P<word>sections?)\s+(?P<numbers>\d+(?:(?:,\s*|\s+and\s+|\s+to\s+)\d+)*)"
    text = re.sub(r"theory\.md,?\s+" + numbers, sections, text)
    text = re.sub(r"theory\.md,?\s+Theorem\s+([A-F])", theorem, text)
    return text.replace("theory.md", MATHEMATICS)


def link_theory(app, what, name, obj, options, lines):
    """Link citations of theory.md; before numpydoc, which takes the docstring apart."""
    if any("theory.md" in line for line in lines):
        lines[:] = linked_theory("\n".join(lines)).split("\n")


def skip_without_torch(app, what, name, obj, options, lines):
    """Leave the examples of fairprog.torch unrun where there is no torch."""
    if autodoc_mock_imports and name.startswith("fairprog.torch"):
        lines[:] = [
            f"{line}  # doctest: +SKIP" if line.lstrip().startswith(">>> ") else line
            for line in lines
        ]


def setup(app):
    app.connect("autodoc-process-docstring", skip_without_torch, priority=400)
    app.connect("autodoc-process-docstring", link_theory, priority=400)
    app.connect("autodoc-skip-member", own_members_only)
