"""``fairprog reproduce``: find the folder of experiments and run it."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fairprog.cli.csv_table import quoted
from fairprog.codec import naming
from fairprog.errors import DataError, ModelError

PACKAGE = "experiments"
HERE = Path(__file__).resolve().parents[1]  # the folder of the package fairprog
PLACES = (HERE / PACKAGE, HERE.parent / PACKAGE)  # in an installed wheel, in a source checkout


def experiments_folder() -> Path:
    """Return the folder of the experiments.

    Raises
    ------
    ModelError
        If this installation has none.
    """
    for folder in PLACES:
        if (folder / "__init__.py").is_file() and (folder / "runner.py").is_file():
            return folder
    raise ModelError(
        "This installation of fairprog has no experiments; they come with the wheel and with the "
        "source checkout."
    )


@contextlib.contextmanager
def load_runner() -> Iterator[Any]:
    """Give the module ``experiments.runner`` for as long as the block lasts.

    The folder is loaded as the package ``experiments``, wherever it is, so that its modules may
    import each other absolutely or relatively. ``sys.path`` stays as it is, and so does another
    package of that name, which is back in its place afterwards.
    """
    folder = experiments_folder()
    other = {name: module for name, module in sys.modules.items() if _ours(name)}
    if PACKAGE in other and folder in _places(other[PACKAGE]):
        yield importlib.import_module(f"{PACKAGE}.runner")
        return
    for name in other:
        del sys.modules[name]
    try:
        spec = importlib.util.spec_from_file_location(
            PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        package = importlib.util.module_from_spec(spec)
        sys.modules[PACKAGE] = package
        spec.loader.exec_module(package)
        yield importlib.import_module(f"{PACKAGE}.runner")
    finally:
        for name in [name for name in sys.modules if _ours(name)]:
            del sys.modules[name]
        sys.modules.update(other)


def _ours(name: str) -> bool:
    return name == PACKAGE or name.startswith(PACKAGE + ".")


def _places(package: Any) -> list[Path]:
    return [Path(place).resolve() for place in getattr(package, "__path__", [])]


def run_reproduce(
    only: list[str] | None, out: Path, quick: bool, show: bool = False, **options: Any
) -> int:
    """Run the experiments, or list their names.

    Parameters
    ----------
    only : list of str or None
        Names of experiments, or "real" for those on real data; None is all others.
    out : Path
        Folder for tables and figures; made where it is not there.
    quick : bool
        Smaller samples and coarser grids.
    show : bool
        Print the names only.
    **options
        Of experiments on a model on disk: model, gguf_file, dtype, batch; None is left out.

    Returns
    -------
    int
        Exit code: that of the runner.

    Raises
    ------
    DataError
        For unknown names.
    """
    with load_runner() as runner:
        names = list(runner.names())
        if show:
            print("\n".join(names))
            return 0
        names += runner.GROUPS
        unknown = [name for name in only or [] if name not in names]
        if unknown:
            raise DataError(
                f"There is no experiment {quoted(unknown)}; there are {quoted(names)}.",
                argument="only",
            )
        with naming(out, "written", "out"):
            given = {name: value for name, value in options.items() if value is not None}
            return int(runner.run(only, out, quick, *([given] if given else [])))
