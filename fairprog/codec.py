"""Save and load: JSON (or npz, for large arrays), never pickle; files are written atomically."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from fairprog.errors import DataError, FairprogError, ModelError

__all__ = [
    "check_folder",
    "check_suffix",
    "is_stream",
    "load",
    "register",
    "save",
    "write_atomically",
    "write_text",
]

FORMAT = 1
# where the loader of a kind is registered, for modules that are imported only where they are used
HOMES = {
    "concept_steering": "fairprog.estimators",
    "ideal_steering": "fairprog.estimators",
    "score_steering": "fairprog.estimators",
    "moments": "fairprog.populations",
    "table_steering": "fairprog.cli.tabular",
}
_LOADERS: dict[str, Callable[[dict[str, Any]], Any]] = {}


def register(kind: str, loader: Callable[[dict[str, Any]], Any]) -> None:
    """Say which function rebuilds what `save` wrote under `kind`."""
    _LOADERS[kind] = loader


def check_folder(path: str | os.PathLike[str], argument: str = "path") -> None:
    """Raise DataError where no file can be written: no folder, or a folder or device is there."""
    target = Path(path)
    if not target.parent.is_dir():
        raise DataError(f"The folder of {str(path)!r} does not exist.", argument=argument)
    if target.is_dir():
        raise DataError(f"{str(path)!r} is a folder; a file is needed.", argument=argument)
    if is_stream(target):
        raise DataError(
            f"{str(path)!r} is a device, a pipe or where this process prints; files are written "
            "whole or not at all, so the name of a file is needed.",
            argument=argument,
        )


def is_stream(path: Path) -> bool:
    """Return whether moving a file there would take the place of something that runs.

    A device, a pipe, or the file that standard output or error of this process goes to, which
    ``/dev/stdout`` leads to.
    """
    if not path.exists():
        return False
    found, streams = path.stat(), []
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # it may be closed
            streams.append(os.fstat(descriptor))
    return not path.is_file() or any(os.path.samestat(found, stream) for stream in streams)


def check_suffix(path: str | os.PathLike[str], argument: str = "path") -> str:
    """Return the suffix of a file `save` can write, or raise ModelError."""
    suffix = Path(path).suffix
    if suffix not in (".json", ".npz"):
        raise ModelError(
            f"`{argument}` must end in .json or .npz; found {str(path)!r}.", argument=argument
        )
    return suffix


def write_atomically(path: str | os.PathLike[str], write: Callable[[Path], None]) -> None:
    """Call ``write(temporary path)`` and move the result into place: all or nothing.

    A link goes on pointing to what it points to; a file keeps its permissions, and a new one has
    those that the process gives to new files.
    """
    check_folder(path)
    target = Path(path).resolve()
    check_folder(target)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as folder:
        temporary = Path(folder) / target.name
        write(temporary)
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write text in UTF-8, all of it or nothing."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_atomically(path, write)


def _pack(value: Any, arrays: dict[str, Any] | None) -> Any:
    """Turn arrays, tuples and labels into JSON; arrays go to `arrays` when that is given."""
    if isinstance(value, np.ndarray):
        if arrays is None:
            return {"__array__": value.tolist()}
        key = f"array{len(arrays)}"
        arrays[key] = value
        return {"__stored__": key}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        if all(isinstance(k, str) for k in value):
            return {k: _pack(v, arrays) for k, v in value.items()}
        return {"__items__": [[_pack(k, arrays), _pack(v, arrays)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {"__tuple__": [_pack(v, arrays) for v in value]}
    if isinstance(value, list):
        return [_pack(v, arrays) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ModelError(
        f"{value!r} cannot be saved as JSON; use text, numbers or tuples of them as labels."
    )


def _unpack(value: Any, arrays: Any) -> Any:
    if isinstance(value, list):
        return [_unpack(v, arrays) for v in value]
    if not isinstance(value, dict):
        return value
    if "__array__" in value:
        return np.array(value["__array__"], dtype=float)
    if "__stored__" in value:
        return np.array(arrays[value["__stored__"]])
    if "__tuple__" in value:
        return tuple(_unpack(v, arrays) for v in value["__tuple__"])
    if "__items__" in value:
        return {_unpack(k, arrays): _unpack(v, arrays) for k, v in value["__items__"]}
    return {k: _unpack(v, arrays) for k, v in value.items()}


def save(path: str | os.PathLike[str], kind: str, data: dict[str, Any]) -> None:
    """Write `data` to a .json or .npz file.

    Raises
    ------
    ModelError
        For another suffix or labels that JSON cannot hold.
    """
    suffix = check_suffix(path)
    arrays: dict[str, Any] | None = {} if suffix == ".npz" else None
    header = {"fairprog": FORMAT, "kind": kind, "data": _pack(data, arrays)}
    text = json.dumps(header, indent=1 if arrays is None else None)

    def write(temporary: Path) -> None:
        if arrays is None:
            temporary.write_text(text + "\n", encoding="utf-8")
        else:
            with temporary.open("wb") as stream:
                np.savez_compressed(stream, header=np.array(text), **arrays)

    write_atomically(path, write)


def _read_npz(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the arrays of a file; ValueError where it is damaged."""
    with open(path, "rb") as stream:
        try:
            with np.load(stream, allow_pickle=False) as stored:
                return {key: stored[key] for key in stored.files}
        except (RuntimeError, OSError) as error:  # flags and offsets of no zip file
            raise ValueError(error) from error


def load(path: str | os.PathLike[str]) -> Any:
    """Read what ``.save(path)`` or ``fairprog steer --model`` wrote.

    Parameters
    ----------
    path : path-like
        A .json or .npz file.

    Returns
    -------
    Solution, ClassifierSolution, QuantileMap, ...
        What was saved; of a model of ``fairprog steer`` a ``TableSteering``, whose ``solution`` is
        the answer and whose ``features`` say how columns become numbers.

    Raises
    ------
    DataError
        If the file is not one of ours, or of a newer format.

    Examples
    --------
    >>> import fairprog as fp, tempfile, pathlib
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
    >>> sol = fp.NearestIdeal(D, steer=[1]).solve()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sol.save(pathlib.Path(folder) / "answer.json")
    ...     again = fp.load(pathlib.Path(folder) / "answer.json")
    >>> again.kl == sol.kl
    True
    """
    try:
        if Path(path).suffix == ".npz":
            arrays = _read_npz(path)
            header = json.loads(str(arrays.pop("header")))
        else:
            arrays, header = {}, json.loads(Path(path).read_text(encoding="utf-8"))
        kind, version = str.strip(header["kind"]), int(header["fairprog"])
        data = header["data"]
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{str(path)!r} is not a file written by fairprog: {error}.", argument="path"
        ) from error
    if kind not in _LOADERS and kind in HOMES:
        import_module(HOMES[kind])
    if version > FORMAT or kind not in _LOADERS:
        raise DataError(
            f"{str(path)!r} holds a {kind!r} of format {version}; this version reads "
            f"{sorted({*_LOADERS, *HOMES})} up to format {FORMAT}.",
            argument="path",
        )
    try:
        return _LOADERS[kind](_unpack(data, arrays))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, FairprogError):
            raise
        raise DataError(
            f"{str(path)!r} is not a file written by fairprog, or damaged: "
            f"{type(error).__name__}: {error}.",
            argument="path",
        ) from error
