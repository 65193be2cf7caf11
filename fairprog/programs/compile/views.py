"""What a custom condition sees: labelled parameters of every cell."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from fairprog.errors import ModelError
from fairprog.labels import index_of
from fairprog.populations import Population
from fairprog.programs.geometries.parameters import Parameters


class ParameterError(ModelError, AttributeError):
    """A condition asks for a parameter that the family does not have."""


class Labelled:
    """Values indexed ``[class label, group label]``."""

    def __init__(
        self,
        name: str,
        value: Callable[[int, int], Any],
        classes: Sequence[Hashable],
        groups: Sequence[Hashable],
    ) -> None:
        self._name, self._value = name, value
        self._classes, self._groups = classes, groups

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, tuple) or len(key) != 2:
            raise ModelError(f"`{self._name}` is indexed [class, group]; found {key!r}.")
        i = index_of(self._classes, key[0], f"{self._name}[class]")
        a = index_of(self._groups, key[1], f"{self._name}[group]")
        return self._value(i, a)


class CellView:
    """The parameters of every cell, indexed ``[class, group]`` (expressions or numbers)."""

    def __init__(self, D: Population, values: dict[str, Callable[[int, int], Any]]) -> None:
        self.classes, self.groups = D.classes, D.groups
        self._values = {
            name: Labelled(name, value, D.classes, D.groups) for name, value in values.items()
        }

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("_values", {})
        if name not in values:
            raise ParameterError(
                f"A condition asks for `view.{name}`; of these populations there are "
                f"{', '.join(f'`view.{known}`' for known in sorted(values))}.",
                argument="constraints",
            )
        return values[name]


def steered_view(cp: Any, geometry: Parameters, cells: Sequence[Any]) -> CellView:
    """Return the steered parameters as expressions; numbers for the groups that stay."""
    by_group = {cell.group: cell for cell in cells}

    def of(name: str) -> Callable[[int, int], Any]:
        def value(i: int, a: int) -> Any:
            cell = by_group.get(geometry.D.groups[a])
            if cell is None:
                return geometry.parameter(name, i, a)
            return cell.problem.view(cp, name, i, cell.own[i])

        return value

    return CellView(geometry.D, {name: of(name) for name in geometry.view_names})


def original_view(geometry: Parameters) -> CellView:
    """Return the original parameters as numbers."""

    def of(name: str) -> Callable[[int, int], Any]:
        return lambda i, a: geometry.parameter(name, i, a)

    return CellView(geometry.D, {name: of(name) for name in geometry.original_names})
