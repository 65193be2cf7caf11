"""Arrays by address, computed when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from fairprog.labels import Array


class ComputedArrays(Mapping[str, Array]):
    """A read-only mapping whose arrays are computed at every access and not kept.

    For multipliers in hundreds of dimensions, which together are larger than the population.

    Parameters
    ----------
    functions : mapping of address to function
    factor : float
        Multiplies every array.
    """

    def __init__(self, functions: Mapping[str, Callable[[], Array]], factor: float = 1.0) -> None:
        self._functions, self._factor = dict(functions), factor

    def __getitem__(self, where: str) -> Array:
        out: Array = self._factor * self._functions[where]()
        out.setflags(write=False)
        return out

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} addresses)"
