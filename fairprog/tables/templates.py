"""What notions and risks have in common: frozen user data, two faces, JSON.

A template never holds a CVXPY object. Its symbolic face ``express(view)`` only adds, scales and
compares entries of ``view.Z``; which solver variables stand behind them is the program's matter.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np

from fairprog.errors import ModelError
from fairprog.labels import Array

Sense = Literal["==", "<=", "abs<=", "minimize"]


@dataclass(frozen=True)
class Term:
    """One piece of a program: ``expression sense bound``, under an address.

    ``sense`` is ``"=="``, ``"<="``, ``"abs<="`` (``|expression| <= bound``) or ``"minimize"``
    (bound ignored). Expression and bound may be vectors of one length; the bound may be what
    ``view.parameter`` returned. ``slope`` belongs to equalities that stand for a bound of 0:
    relaxed by eps they would read ``|expression| <= slope eps``. ``unit`` is what expression and
    bound were divided by, so that they are of order one.

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.Term(1.0, "<=", 2.0, "mine[a]").address
    'mine[a]'
    """

    expression: Any
    sense: Sense
    bound: Any
    address: str
    slope: Any = None
    unit: float = 1.0

    def divided(self, unit: float) -> Term:
        """Return the term with everything in it divided by a positive number."""
        if self.sense == "minimize":
            return replace(self, expression=self.expression / unit)
        return replace(
            self,
            expression=self.expression / unit,
            bound=self.bound / unit,
            slope=None if self.slope is None else self.slope / unit,
            unit=self.unit * unit,
        )


class TableView(Protocol):
    """What a template sees of a program over outcome tables.

    ``Z[a, i, j]`` are affine expressions, ``mass[a, i]`` = P(A=a, Y=i) are numbers;
    ``attributes`` names what the groups cross, where that is known.
    ``level(name)`` is a free scalar (or vector), the same one whenever the same name is asked
    for; ``parameter(name, value)`` is the number `value`, or a parameter that stands for it, so
    that a program can be solved again with another (nonnegative if `value` is, unless it is
    `signed`); ``redundant`` says whether equalities that follow from others are wanted;
    ``functions`` holds the convex functions of the modelling library under CVXPY's names.

    Templates about single individuals also see the support of the population, pairs
    m = (x, a): ``h[m, j]`` = P(Yhat=j | x, a) is affine; ``weight[m]`` = P(X=x, A=a),
    ``posterior[m, i]`` = P(Y=i | x, a) and the positions ``atom[m]``, ``group[m]`` are numbers.
    An :class:`AtomTable` offers the same names as numbers.
    """

    Z: Any
    mass: Array
    classes: tuple[Hashable, ...]
    groups: tuple[Hashable, ...]
    attributes: tuple[str, ...]
    redundant: bool
    functions: Any
    h: Any
    weight: Array
    posterior: Array
    atom: Any
    group: Any

    def level(self, name: str, size: int | None = None) -> Any:
        """Return the free scalar (or vector) of that name."""

    def parameter(self, name: str, value: float, signed: bool = False) -> Any:
        """Return the number, or the parameter that stands for it."""


def _to_json(value: Any) -> Any:
    if isinstance(value, Template):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_to_json(v) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ModelError(f"{value!r} cannot be written as JSON; use text or numbers as labels.")


def _from_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return template_from_dict(value)
    return tuple(_from_json(v) for v in value) if isinstance(value, list) else value


LONG = 1000  # rows of data: more are counted in a `repr`, as numpy does


@dataclass(frozen=True, repr=False)
class Template:
    """Base of notions, risks and transports: frozen data whose `repr` rebuilds it."""

    _registry: ClassVar[dict[str, type[Template]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Template._registry[cls.__name__] = cls

    def __repr__(self) -> str:
        parts, positional = [], True
        for f in sorted(fields(self), key=lambda f: bool(f.kw_only)):
            value = getattr(self, f.name)
            if value == f.default:
                positional = False  # what follows needs its name
            else:
                named = f.kw_only or not positional
                long = isinstance(value, tuple) and len(value) > LONG
                text = f"<{len(value)} rows>" if long else repr(value)
                parts.append(f"{f.name}={text}" if named else text)
        return f"{type(self).__name__}({', '.join(parts)})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data that :func:`template_from_dict` turns back into an equal one."""
        data = {f.name: _to_json(getattr(self, f.name)) for f in fields(self)}
        return {"template": type(self).__name__, **data}


@dataclass(frozen=True, repr=False)
class Constraint(Template):
    """A template a program must satisfy: ``express(view)`` and ``violation(table)``.

    ``bound_field`` names the number that is relaxed by a frontier and priced by a solution; None
    where there is none.

    Examples
    --------
    >>> import fairprog as fp
    >>> bound = fp.RiskBound(fp.ErrorRate(), .2)
    >>> isinstance(bound, fp.Constraint), bound.bound_field, bound.with_bound(.1)
    (True, 'upper', RiskBound(ErrorRate(), 0.1))
    """

    name: ClassVar[str] = "constraint"

    @property
    def bound_field(self) -> str | None:
        """Name of the field that holds the bound."""
        return None

    @property
    def bound(self) -> float | None:
        """The bound itself."""
        return None if self.bound_field is None else float(getattr(self, self.bound_field))

    @property
    def upward(self) -> bool:
        """Whether a larger bound asks for more, so that a price is a derivative upwards."""
        return False

    @property
    def key(self) -> str:
        """What programs call it, in ``price`` and in clashes."""
        return self.name

    def unit(self, classes: tuple[Hashable, ...]) -> float:
        """Return the unit of `violation`: 1 for probabilities."""
        return 1.0

    def with_bound(self, bound: float) -> Self:
        """Return the same template with another bound."""
        if self.bound_field is None:
            raise ModelError(f"{self!r} has no bound.", argument="bounds")
        return replace(self, **{self.bound_field: bound})

    def express(self, view: TableView) -> list[Term]:
        """Return the terms of the program."""
        raise ModelError(f"{type(self).__name__} defines no terms; subclass it and add them.")

    def violation(self, table: Any) -> float:
        """Return by how much a table misses the template (0 or less: it does not)."""
        raise ModelError(f"{type(self).__name__} cannot be evaluated; define `violation`.")


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
