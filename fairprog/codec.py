"""Save and load: JSON (or npz, for large arrays), never pickle; files are written atomically."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fairprog.errors import DataError, FairprogError, ModelError
from fairprog.fields import read, refuse
from fairprog.labels import printable

FORMAT = 1
NAMES = (ValueError, RuntimeError, TypeError)  # of a NUL, of links in a loop, of no path at all
HIDDEN = ".fairprog-"  # where files are written before they are moved into place
ROOM = 2**30  # bytes that the arrays of any file may take
STALE = 86400.0  # seconds after which such a folder is what a killed process has left
# where the loader of a kind is registered, for modules that are imported only where they are used
HOMES = {
    "concept_steering": "fairprog.estimators",
    "ideal_steering": "fairprog.estimators",
    "score_steering": "fairprog.estimators",
    "moments": "fairprog.populations",
    "score_counts": "fairprog.populations",
    "table_steering": "fairprog.cli.tabular",
    "table_step": "fairprog.cli.tabular",
}
_together: ContextVar[Any] = ContextVar("together", default=None)
_LOADERS: dict[str, Callable[[dict[str, Any]], Any]] = {}


def register(kind: str, loader: Callable[[dict[str, Any]], Any]) -> None:
    """Say which function rebuilds what `save` wrote under `kind`."""
    _LOADERS[kind] = loader


@contextlib.contextmanager
def naming(
    path: str | os.PathLike[str],
    what: str,
    argument: str = "path",
    also: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Turn what the system says about a path, or about its stand-in, into one DataError."""
    if not isinstance(path, (str, os.PathLike)):
        raise DataError(
            f"`{argument}` must be the name of a file; found {path!r}.", argument=argument
        )
    known: tuple[type[Exception], ...] = (OSError, *also)
    try:
        yield
    except FairprogError:
        raise
    except known as error:
        said = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{str(path)!r} cannot be {what}: {said}.", argument=argument) from error


def check_folder(path: str | os.PathLike[str], argument: str = "path") -> None:
    """Raise DataError where no file can be written: no folder, or one that nobody may write to.

    Also where a folder, a device or a pipe is there.
    """
    with naming(path, "written", argument, NAMES):
        target = Path(path)
        with contextlib.suppress(FileNotFoundError):
            target.stat()  # says so where links lead in a circle
        inside = target.resolve().parent
        for bad, words in (
            (not target.parent.is_dir() or not inside.is_dir(), "its folder does not exist"),
            (target.is_dir(), "it is a folder; a file is needed"),
            (
                is_stream(target),
                "it is a device, a pipe or where this process prints; files are written whole or "
                "not at all, so the name of a file is needed",
            ),
            (not os.access(inside, os.W_OK | os.X_OK), "its folder is read-only"),
        ):
            if bad:
                raise DataError(f"{str(path)!r} cannot be written: {words}.", argument=argument)


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
    with naming(path, "written", argument, NAMES):
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
    with together() as (stack, ready):
        check_folder(path)
        target = Path(path).resolve()
        _sweep(target.parent)
        with naming(path, "written"):
            folder = tempfile.TemporaryDirectory(dir=target.parent, prefix=HIDDEN)
            temporary = Path(stack.enter_context(folder)) / target.name
            write(temporary)
            if target.exists():
                shutil.copymode(target, temporary)
        ready.append((path, temporary, target))


@contextlib.contextmanager
def together() -> Iterator[Any]:
    """Move the files that are written inside into place at its end: all of them, or none."""
    outer = _together.get()
    if outer is not None:
        yield outer
        return
    with contextlib.ExitStack() as stack:
        ready: list[tuple[Any, Path, Path]] = []
        token = _together.set((stack, ready))
        try:
            yield stack, ready
        finally:
            _together.reset(token)
        for path, temporary, target in ready:
            with naming(path, "written"):
                os.replace(temporary, target)


def _sweep(folder: Path) -> None:
    """Remove what a process that was killed while it wrote has left in a folder."""
    old = time.time() - STALE
    for left in folder.glob(f"{HIDDEN}*"):
        with contextlib.suppress(OSError):  # somebody else may sweep, or still write
            if left.stat().st_mtime < old:
                shutil.rmtree(left)


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
        if all(isinstance(k, str) and not k.startswith("__") for k in value):
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
        return arrays(value["__stored__"])
    if "__tuple__" in value:
        return tuple(_unpack(v, arrays) for v in value["__tuple__"])
    if "__items__" in value:
        return {_unpack(k, arrays): _unpack(v, arrays) for k, v in value["__items__"]}
    return {k: _unpack(v, arrays) for k, v in value.items()}


class Saved:
    """What has files: it says its kind, and gives itself as plain data by `to_dict`."""

    _kind: ClassVar[str]
    to_dict: Callable[[], dict[str, Any]]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a .json or .npz file, atomically; read it by ``fp.load``.

        Raises
        ------
        ModelError
            For another suffix, labels JSON cannot hold, or a custom constraint that cannot be
            imported by its qualified name.
        """
        save(path, self._kind, self.to_dict())


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


class _Arrays:
    """The arrays of a .npz file that its header refers to, read when they are asked for.

    Together they may take 1 GiB, or 64 times the file where that is more: only matrices that are
    mostly zeros are packed more tightly, and beside each of them stands one that is not.
    """

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self.archive, self.room = archive, max(ROOM, 64 * size)

    def __call__(self, key: str) -> Any:
        entry = self.archive.getinfo(f"{key}.npy")
        self.room -= entry.file_size
        if self.room < 0:
            raise ValueError("its arrays claim far more memory than the file is long")
        with self.archive.open(entry) as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)


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
        If there is no such file, or it is not one of ours, or of a newer format, or a field of it
        is not what it should be.

    Notes
    -----
    Nothing in a file is code: there is no pickle in it, and names of conditions stay names. Every
    field is checked against groups, shapes, types and ranges; the numbers themselves are taken
    as they are, so that a file is as good as who gives it.

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
    with contextlib.ExitStack() as stack:
        with naming(path, "read", also=NAMES):
            if not Path(path).is_file():
                found = "it is no file" if Path(path).exists() else "there is no such file"
                raise DataError(f"{str(path)!r} cannot be read: {found}.", argument="path")
            stream = stack.enter_context(open(path, "rb"))
        try:
            arrays, text = None, b""
            if Path(path).suffix == ".npz":
                archive = stack.enter_context(zipfile.ZipFile(stream))
                arrays = _Arrays(archive, os.fstat(stream.fileno()).st_size)
                text = str(arrays("header")).encode()
            header = json.loads((text or stream.read()).decode("utf-8"), parse_constant=_constant)
            return _loaded(header, arrays)
        except Exception as error:  # whatever a loader makes of what somebody has written
            ours = isinstance(error, FairprogError)
            cause = error if ours else refuse(f"{type(error).__name__}: {error!s:.200}")
            said = printable(" ".join(str(cause).split()))
            raise DataError(f"{str(path)!r} cannot be read. {said}", argument="path") from error


def _constant(name: str) -> float:
    """Return an infinite number; NaN is none."""
    if name == "NaN":
        raise ValueError("NaN is no number")
    return float(name)


def _loaded(header: Any, arrays: Callable[[str], Any] | None) -> Any:
    head = read(header, "header", {"fairprog": int, "kind": str, "data": Mapping})
    kind, version = head["kind"].strip(), head["fairprog"]
    if kind not in _LOADERS and kind in HOMES:
        import_module(HOMES[kind])
    if version > FORMAT or kind not in _LOADERS:
        raise DataError(
            f"The file holds a {kind!r:.60} of format {version}; this version reads "
            f"{sorted({*_LOADERS, *HOMES})} up to format {FORMAT}.",
            argument="path",
        )
    return _LOADERS[kind](_unpack(head["data"], arrays))
