"""What notions and risks have in common: frozen user data, two faces, JSON.

A template never holds a CVXPY object. Its symbolic face ``express(view)`` only adds, scales and
compares entries of ``view.Z``; which solver variables stand behind them is the program's matter.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from fairprog.errors import ModelError
from fairprog.labels import Array

__all__ = ["Sense", "TableView", "Template", "Term", "template_from_dict"]

Sense = Literal["==", "<=", "abs<=", "minimize"]


@dataclass(frozen=True)
class Term:
    """One scalar piece of a program: ``expression sense bound``, under an address.

    ``sense`` is ``"=="``, ``"<="``, ``"abs<="`` (|expression| <= bound) or ``"minimize"``
    (bound ignored).
    """

    expression: Any
    sense: Sense
    bound: float
    address: str


class TableView(Protocol):
    """What a template sees of a program over outcome tables.

    ``Z[a, i, j]`` are affine expressions, ``mass[a, i]`` = P(A=a, Y=i) are numbers, and
    ``level(name)`` is a free scalar, the same one whenever the same name is asked for.
    """

    Z: Any
    mass: Array
    classes: tuple[Hashable, ...]
    groups: tuple[Hashable, ...]

    def level(self, name: str) -> Any:
        """Return the free scalar of that name."""


def _to_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_to_json(v) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ModelError(f"{value!r} cannot be written as JSON; use text or numbers as labels.")


def _from_json(value: Any) -> Any:
    return tuple(_from_json(v) for v in value) if isinstance(value, list) else value


@dataclass(frozen=True, repr=False)
class Template:
    """Base of notions, risks and transports: frozen data whose `repr` rebuilds it."""

    _registry: ClassVar[dict[str, type[Template]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Template._registry[cls.__name__] = cls

    def __repr__(self) -> str:
        parts = []
        for f in sorted(fields(self), key=lambda f: bool(f.kw_only)):
            value = getattr(self, f.name)
            if value != f.default:
                parts.append(f"{f.name}={value!r}" if f.kw_only else repr(value))
        return f"{type(self).__name__}({', '.join(parts)})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data that :func:`template_from_dict` turns back into an equal one."""
        data = {f.name: _to_json(getattr(self, f.name)) for f in fields(self)}
        return {"template": type(self).__name__, **data}


def template_from_dict(data: Mapping[str, Any]) -> Template:
    """Rebuild a template from ``Template.to_dict()``.

    Raises
    ------
    ModelError
        If the template's class is not known (a user's own class must be imported first).

    Examples
    --------
    >>> import fairprog as fp
    >>> notion = fp.EqualizedOdds(difference_bound=0.02)
    >>> fp.template_from_dict(notion.to_dict()) == notion
    True
    """
    name = data.get("template")
    if name not in Template._registry:
        raise ModelError(
            f"Unknown template {name!r}; known are {sorted(Template._registry)}. "
            "Import the module that defines it first."
        )
    values = {key: _from_json(value) for key, value in data.items() if key != "template"}
    unknown = set(values) - {f.name for f in fields(Template._registry[name])}
    if unknown:
        raise ModelError(f"{name} has no field {sorted(unknown)}.")
    return Template._registry[name](**values)
