"""The house: which module may import which, read from the source and not from good intentions.

Data flows downwards. A module imports only from its own layer or from layers above it (smaller
number below), and no imports close a circle, wherever they stand: at the top, in a function, under
TYPE_CHECKING. What lies below is reached through two doors, tables of names in one file each:
`pictures` (what draws a result) and `findings` (what is said about it).
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from fairprog import pictures

# Layer of each top-level name of the package; a new module must find its place here.
LAYERS = {
    "errors": 0,
    "versions": 0,
    "numeric": 1,
    "labels": 1,
    "groups": 1,
    "codec": 1,
    "fields": 1,
    "findings": 1,
    "pictures": 1,
    "tables": 2,
    "datasets": 2,
    "door": 2,
    "lots": 2,
    "row_blocks": 2,
    "maps": 3,
    "transports": 3,
    "kernels": 4,
    "populations": 5,
    "solution": 6,
    "evidence": 7,
    "programs": 7,
    "estimators": 8,
    "audits": 8,
    "comparison": 8,
    "testing": 8,
    "plotting": 9,
    "torch": 10,
    "cli": 10,
    "__main__": 11,
}
DOORS = ("fairprog.findings", "fairprog.pictures")
# who else imports by a name that is computed: what takes its time, loaders of files, users' own
# modules, experiments
BY_NAME = (
    "fairprog",
    "fairprog.cli.arguments",
    "fairprog.codec",
    "fairprog.cli.reproduce",
    "fairprog.programs.conditions",
)
NO_CLASSES = "kernels"
HOMES = {
    "cvxpy": "fairprog.programs.compile",
    "matplotlib": "fairprog.plotting",
    "torch": "fairprog.torch",
}
PACKAGE = Path(__file__).resolve().parents[2] / "fairprog"


# ---------------------------------------------------------------------------------- the reader


@dataclass(frozen=True)
class Import:
    """One imported module: its full dotted name, and the line."""

    target: str
    line: int


@dataclass(frozen=True)
class Module:
    name: str  # dotted, "fairprog.tables.notions"; a package stands for its __init__
    path: Path
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @property
    def top(self) -> str:
        """The name that LAYERS knows; empty for the package itself."""
        return top(self.name)


def top(name: str) -> str:
    return (name + ".").split(".")[1]


def read(package: Path) -> dict[str, Module]:
    """All modules of a package by dotted name."""
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        modules[name] = Module(name, path, ast.parse(path.read_text(encoding="utf-8"), str(path)))
    return modules


def imports(module: Module, modules: dict[str, Module]) -> Iterator[Import]:
    """Every import statement of a module, and every import_module("literal")."""
    for node in ast.walk(module.tree):
        for target in targets(node, module, modules):
            yield Import(target, node.lineno)


def targets(node: ast.AST, module: Module, modules: dict[str, Module]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parts = module.name.split(".")
            keep = len(parts) - node.level + (1 if module.is_package else 0)
            base = ".".join([*parts[:keep], *([node.module] if node.module else [])])
        for alias in node.names:
            full = f"{base}.{alias.name}"
            if full == "fairprog.__version__":  # a string, not a part of the house
                continue
            yield full if full in modules else base
    elif imports_by_call(node) and isinstance(node.args[0], ast.Constant):
        yield str(node.args[0].value)


def imports_by_call(node: ast.AST) -> bool:
    """Whether this is import_module(...) or __import__(...)."""
    if not (isinstance(node, ast.Call) and node.args):
        return False
    called = node.func.attr if isinstance(node.func, ast.Attribute) else None
    called = node.func.id if isinstance(node.func, ast.Name) else called
    return called in {"import_module", "__import__"}


# ---------------------------------------------------------------------------------- the rules


def unplaced(modules: dict[str, Module]) -> list[str]:
    """Modules that no layer knows."""
    return [m.name for m in modules.values() if m.top and m.top not in LAYERS]


def upward_imports(modules: dict[str, Module]) -> list[str]:
    """Imports from a layer below, or from the package's own front door."""
    found = []
    for module in modules.values():
        if not module.top:  # fairprog/__init__.py re-exports from everywhere
            continue
        for item in imports(module, modules):
            if item.target.split(".")[0] != "fairprog":
                continue
            where = f"{module.name}:{item.line} imports {item.target}"
            to = top(item.target)
            if not to:
                found.append(f"{where}: name the module that defines it")
            elif LAYERS.get(to, -1) > LAYERS.get(module.top, -1):
                found.append(f"{where}: which lies below it")
    return found


def back_doors(modules: dict[str, Module]) -> list[str]:
    """Imports by a computed name, which no other rule sees, away from the doors."""
    return [
        f"{module.name}:{node.lineno} imports by a computed name"
        for module in modules.values()
        if module.name not in (*DOORS, *BY_NAME)
        for node in ast.walk(module.tree)
        if imports_by_call(node) and not isinstance(node.args[0], ast.Constant)
    ]


def circles(modules: dict[str, Module]) -> list[list[str]]:
    """Modules that import each other, directly or by way of others: the closed walks, merged.

    Each module is asked where its imports lead; those that lead back to it are in its circle.
    """
    edges = {
        name: {item.target for item in imports(module, modules)} & set(modules) - {"fairprog"}
        for name, module in modules.items()
        if module.top
    }

    def reached(name: str) -> set[str]:
        seen: set[str] = set()
        rest = [name]
        while rest:
            new = edges[rest.pop()] - seen
            seen |= new
            rest += new
        return seen

    leads = {name: reached(name) for name in edges}
    found = {tuple(sorted(b for b in leads[a] if a in leads[b])) for a in leads if a in leads[a]}
    return sorted(map(list, found))


def classes_in_kernels(modules: dict[str, Module]) -> list[str]:
    return [
        f"{module.name}:{node.lineno} class {node.name}"
        for module in modules.values()
        if module.top == NO_CLASSES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    ]


def strangers(modules: dict[str, Module]) -> list[str]:
    """Imports of a library outside the one module (or package) that is its home."""
    found = []
    for module in modules.values():
        for item in imports(module, modules):
            library = item.target.split(".")[0]
            home = HOMES.get(library)
            if home and module.name != home and not module.name.startswith(home + "."):
                found.append(f"{module.name}:{item.line} imports {library}")
    return found


# ------------------------------------------------------------------------------------ the tests


@pytest.fixture(scope="module")
def house() -> dict[str, Module]:
    return read(PACKAGE)


def test_there_is_a_house(house):
    assert len(house) >= 10
    inner = [
        item
        for module in house.values()
        for item in imports(module, house)
        if item.target.startswith("fairprog.")
    ]
    assert len(inner) >= 20
    assert {"errors", "labels", "tables", "kernels", "programs"} <= {m.top for m in house.values()}
    for library, home in HOMES.items():
        there = {m.name for m in house.values() if m.name == home or m.name.startswith(home + ".")}
        assert any(
            item.target.split(".")[0] == library
            for name in there
            for item in imports(house[name], house)
        ), f"{home} does not import {library}: is the rule about it still about anything?"


def test_every_module_has_a_layer_and_every_layer_a_module(house):
    assert unplaced(house) == []
    assert set(LAYERS) == {module.top for module in house.values()} - {""}


def test_nobody_imports_from_below(house):
    assert upward_imports(house) == []


def test_no_circles(house):
    assert circles(house) == []


def test_nobody_imports_by_a_computed_name_but_the_doors(house):
    assert back_doors(house) == []


@pytest.mark.parametrize("door", DOORS)
def test_doors_lead_where_they_say(door):
    homes = import_module(door).HOMES
    assert len(homes) >= 4
    for name, home in homes.items():
        assert LAYERS[top(home)] > LAYERS[top(door)]
        assert callable(getattr(import_module(home), name)), f"{home} has no {name}"


def test_every_picture_is_of_a_result():
    results = {c.__name__: c for c in every_subclass(pictures.Drawn)}
    for table in (pictures.PICTURES, pictures.REPORTS):
        assert set(table) <= set(results)
        names = [name for entry in table.values() for name in np.atleast_1d(entry) if name]
        assert set(names) <= set(pictures.HOMES)


def every_subclass(cls: type) -> Iterator[type]:
    """All classes that derive from a class."""
    for child in cls.__subclasses__():
        yield child
        yield from every_subclass(child)


def test_kernels_are_functions(house):
    assert classes_in_kernels(house) == []


def test_cvxpy_and_matplotlib_stay_at_home(house):
    assert strangers(house) == []


# --------------------------------------------- the same rules must find fault where there is one


def build(folder: Path, files: dict[str, str]) -> dict[str, Module]:
    """A small package whose files hold the given source (every package gets its __init__)."""
    for name, source in {"__init__.py": "", **files}.items():
        path = folder / "fairprog" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return read(folder / "fairprog")


def faults(modules: dict[str, Module]) -> list[str]:
    rules = (unplaced, upward_imports, circles, back_doors, classes_in_kernels, strangers)
    return [fault for rule in rules for fault in rule(modules)]


def test_control_a_sound_house_passes(tmp_path):
    modules = build(
        tmp_path,
        {
            "__init__.py": "from fairprog.cli import main\nfrom fairprog import errors",
            "errors.py": "class DataError(Exception): ...",
            "tables/__init__.py": "from .notions import Parity",
            "tables/notions.py": "from ..errors import DataError\nfrom . import outcome",
            "tables/outcome.py": "import numpy as np",
            "kernels/__init__.py": "",
            "kernels/newton.py": "import numpy as np\ndef step(): ...",
            "pictures.py": "import importlib\nimportlib.import_module(HOMES[name])",
            "solution.py": "def plot():\n    from fairprog.pictures import picture",
            "programs/__init__.py": "",
            "programs/compile.py": "import cvxpy as cp",
            "cli.py": "from fairprog import __version__\nfrom fairprog.programs import compile",
            "plotting.py": "import matplotlib.pyplot as plt\nfrom fairprog import solution",
        },
    )
    assert len(modules) == 13
    assert faults(modules) == []


UPWARD = {
    "absolute": "from fairprog.cli import main",
    "plain": "import fairprog.cli",
    "relative": "from .cli import main",
    "by package": "from fairprog import cli",
    "relative by package": "from . import cli",
    "in a function": "def f():\n    from fairprog.cli import main",
    "in a method": "class A:\n    def f(self):\n        import fairprog.cli",
    "for types": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import fairprog.cli",
    "by name": "import importlib\nimportlib.import_module('fairprog.cli')",
    "a picture": "def plot():\n    from fairprog import plotting",
    "the front door": "from fairprog import main",
}


@pytest.mark.parametrize("source", UPWARD.values(), ids=UPWARD.keys())
def test_control_upward_imports_are_found(tmp_path, source):
    modules = build(tmp_path, {"errors.py": source, "cli.py": "", "plotting.py": ""})
    assert len(upward_imports(modules)) == 1
    assert upward_imports(modules)[0].startswith("fairprog.errors:")


def test_control_upward_imports_of_a_subpackage_are_found(tmp_path):
    modules = build(
        tmp_path,
        {
            "kernels/__init__.py": "from ..programs import compile",
            "kernels/newton.py": "from ..programs.compile import assemble",
            "programs/__init__.py": "",
            "programs/compile.py": "from ..kernels import newton",
        },
    )
    assert [fault.split(":")[0] for fault in upward_imports(modules)] == [
        "fairprog.kernels",
        "fairprog.kernels.newton",
    ]


@pytest.mark.parametrize(
    "back",
    [
        "import fairprog.tables.a",
        "def x():\n    import fairprog.tables.a",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from fairprog.tables.a import A",
        "import importlib\nimportlib.import_module('fairprog.tables.a')",
    ],
)
def test_control_circles_are_found(tmp_path, back):
    files = {
        "tables/__init__.py": "",
        "tables/a.py": "from fairprog.tables import b",
        "tables/b.py": "from .c import x",
        "tables/c.py": back,
        "tables/d.py": "from fairprog.tables import a",
    }
    inside = [f"fairprog.tables.{name}" for name in "abc"]
    assert circles(build(tmp_path / "closed", files)) == [inside]
    files["tables/c.py"] = ""
    assert circles(build(tmp_path / "open", files)) == []


def test_control_a_circle_through_an_init_is_found(tmp_path):
    files = {"tables/__init__.py": "from .a import x", "tables/a.py": "from . import y"}
    assert len(circles(build(tmp_path, files))) == 1


def test_control_a_back_door_is_found(tmp_path):
    source = "from importlib import import_module\ndef f(name):\n    import_module(name)"
    modules = build(tmp_path, {"solution.py": source, "pictures.py": source})
    assert back_doors(modules) == ["fairprog.solution:3 imports by a computed name"]


def test_control_a_class_in_kernels_is_found(tmp_path):
    source = "def f():\n    class Hidden: ..."
    modules = build(tmp_path, {"kernels/__init__.py": "", "kernels/newton.py": source})
    assert classes_in_kernels(modules) == ["fairprog.kernels.newton:2 class Hidden"]


@pytest.mark.parametrize("library", HOMES)
@pytest.mark.parametrize(
    "source",
    [
        "import {}",
        "import {}.sub as s",
        "from {} import x",
        "def f():\n    import {}",
        "import importlib\nimportlib.import_module('{}')",
    ],
)
def test_control_a_library_away_from_home_is_found(tmp_path, library, source):
    source = source.format(library)
    modules = build(tmp_path, {"tables/__init__.py": "", "tables/notions.py": source})
    assert len(strangers(modules)) == 1
    assert strangers(modules)[0].startswith("fairprog.tables.notions:")
    home = HOMES[library].removeprefix("fairprog.").replace(".", "/") + ".py"
    assert strangers(build(tmp_path / "home", {home: source})) == []


def test_control_a_module_without_a_layer_is_found(tmp_path):
    assert unplaced(build(tmp_path, {"utils.py": ""})) == ["fairprog.utils"]
