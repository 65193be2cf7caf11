"""A notion as a training loss: its own template, over the soft outcome table of a mini-batch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from fairprog.errors import DataError, ModelError
from fairprog.groups import are_crossed, group_labels
from fairprog.labels import encode
from fairprog.tables import Notion, Risk

KINDS = ("max", "squared", "absolute")
EMPTY = 1e-30  # mass of a cell without rows, whose part of a risk is 0
FUNCTIONS = SimpleNamespace(
    square=torch.square,
    hstack=torch.stack,
    quad_over_lin=lambda x, y: torch.sum(x**2) / y,
)


class SoftTable:
    """The `TableView` of a batch: Z[a, i, j] = mean over rows of 1[A=a, Y=i] P(Yhat=j).

    What else a template asks for (individuals, other functions) is missing: an AttributeError.
    """

    functions = FUNCTIONS
    attributes: tuple[str, ...] = ()

    def __init__(self, proba: Any, y: Any, a: Any, classes: Any, groups: Any) -> None:
        K, G = len(classes), len(groups)
        cell = torch.nn.functional.one_hot(a * K + y, G * K).to(proba.dtype)
        self.Z = (cell.T @ proba / len(proba)).reshape(G, K, K)
        self.mass = self.Z.detach().sum(dim=2).cpu().numpy().astype(float)
        self.mass[self.mass == 0.0] = EMPTY
        self.classes, self.groups = classes, groups

    def level(self, name: str, size: int | None = None) -> float:
        """Return 0: rates are compared with each other, not with a level that is to be found."""
        return 0.0

    def parameter(self, name: str, value: float, signed: bool = False) -> float:
        """Return the number."""
        return value


def notion_loss(
    notion: Any, kind: str = "max", *, classes: Sequence[Hashable], groups: Sequence[Hashable]
) -> Callable[..., Any]:
    """Return ``loss(logits, y, sensitive_features)``, a differentiable penalty for training.

    The notion's template is asked for its rates on the batch's soft outcome table, where a
    prediction counts by its probability: on hard predictions, and on all rows as one batch,
    ``kind="max"`` is ``notion.gap``. Groups and classes that a batch lacks are left out of it.

    Parameters
    ----------
    notion : Notion or Risk
        With rates linear in the table; or an expected cost, ``fp.GroupRiskVariance()``,
        ``fp.RenyiInformation()``, a weighted sum of these, or ``fp.WorstGroupRisk()`` by itself.
    kind : {"max", "squared", "absolute"}, default "max"
        Of a notion: largest minus smallest rate, worst over events; or the mean, over events, of
        the groups' mean squared, or absolute, distance from their mean rate.
    classes, groups : sequence of hashables
        All labels there are, classes in the order of the logits. Several sensitive columns are
        crossed: their groups are tuples.

    Returns
    -------
    function of logits (n, K), or for two classes (n,) or (n, 1), and labels and groups of n rows
        Not of probabilities. Of groups as indicators pass the position: ``onehot.argmax(dim=1)``.

    Raises
    ------
    ModelError
        For an unknown kind, a notion that is not linear, or on or within attributes, and risks
        about individuals or with a level to be found (:class:`CVaR`, :class:`RobustRisk`).

    Examples
    --------
    >>> import torch
    >>> import fairprog as fp
    >>> from fairprog.torch import notion_loss
    >>> loss = notion_loss(fp.DemographicParity(), classes=[0, 1], groups=["f", "m"])
    >>> logits = torch.tensor([0., 9., 0., -9.], requires_grad=True)
    >>> value = loss(logits, [0, 1, 0, 1], ["f", "f", "m", "m"])
    >>> value.backward()
    >>> round(value.item(), 3)
    0.5
    """
    if kind not in KINDS:
        raise ModelError(f"`kind` must be one of {list(KINDS)}; found {kind!r}.", argument="kind")
    events: list[Any] = []
    if isinstance(notion, Notion):
        if notion.splits:
            raise ModelError(
                f"{notion!r} adds up groups: pass the groups of that attribute instead.",
                argument="notion",
            )
        events = notion.events(tuple(classes))  # refuses rates that are not linear
    elif not isinstance(notion, Risk):
        raise ModelError(f"`notion` must be a notion or a risk; found {notion!r}.")

    def loss(logits: Any, y: Any, sensitive_features: Any) -> Any:
        logits = _two_columns(logits)
        n, where = len(logits), {"device": logits.device}
        if logits.ndim != 2 or logits.shape[1] != len(classes):
            raise DataError(
                f"`logits` must have a column for each of {len(classes)} classes (of two, one "
                f"column will do); the shape is {tuple(logits.shape)}.",
                argument="logits",
            )
        code, group = (
            torch.as_tensor(encode(v, tuple(labels), name, n), **where)
            for v, labels, name in (
                (y, classes, "y"),
                (_one_column(sensitive_features, groups, n), groups, "sensitive_features"),
            )
        )
        present = torch.unique(group)
        group = torch.searchsorted(present, group)
        seen = tuple(groups[int(k)] for k in present)
        view = SoftTable(torch.softmax(logits, dim=1), code, group, tuple(classes), seen)
        if isinstance(notion, Risk):
            return _risk(notion, view)
        far = []
        for _, outcomes, inside in events:
            mass = view.mass[:, inside].sum(axis=1)
            some = [k for k in range(len(seen)) if mass[k] * n > 0.5]  # groups with rows
            if len(some) > 1:
                rates = [sum(view.Z[k, i, j] for i, j in outcomes) / mass[k] for k in some]
                far.append(_far(torch.stack(rates), kind))
        if not far:
            return logits.sum() * 0.0
        return torch.stack(far).max() if kind == "max" else torch.stack(far).mean()

    if isinstance(notion, Risk):  # what is no loss is refused here, and not during a training
        K, G = len(classes), len(groups)
        loss(torch.zeros(K * G, K), [c for c in classes for _ in groups], [*groups] * K)
    return loss


def _two_columns(logits: Any) -> Any:
    """Return logits of two classes where those of the last class are given."""
    if logits.ndim == 2 and logits.shape[1] == 1:
        logits = logits[:, 0]
    if logits.ndim == 1:
        logits = torch.stack([torch.zeros_like(logits), logits], dim=1)
    return logits


def _one_column(sensitive_features: Any, groups: Sequence[Hashable], n: int) -> Any:
    """Return the groups, of several columns crossed."""
    if not are_crossed(sensitive_features):
        return sensitive_features
    crossed = all(isinstance(g, tuple) for g in groups)
    if not crossed and np.shape(sensitive_features)[1] == len(groups):
        raise DataError(
            "`sensitive_features` has a column for each group; needed is the group of every row: "
            "pass sensitive_features.argmax(dim=1), with groups=[0, 1, ...].",
            argument="sensitive_features",
        )
    return group_labels(sensitive_features, n)


def _risk(risk: Risk, view: SoftTable) -> Any:
    """Return what is minimised; of a lone level, what it must exceed."""
    try:
        terms = risk.express(view)  # type: ignore[arg-type]
    except AttributeError:
        terms = []
    goal = [t.expression for t in terms if t.sense == "minimize"]
    bounds = [t.expression for t in terms if t.sense != "minimize"]
    if goal and not bounds:
        return torch.stack(goal).sum()
    if len(goal) == 1 and not torch.is_tensor(goal[0]):
        return torch.stack(bounds).max()
    raise ModelError(
        f"{risk!r} is about individuals, or has a level that has to be found: it is no loss of a "
        "batch. WorstGroupRisk is one by itself: add it to other losses, not to other risks.",
        argument="notion",
    )


def _far(rates: Any, kind: str) -> Any:
    """Return how far apart the groups' rates of an event are."""
    if kind == "max":
        return rates.max() - rates.min()
    off = rates - rates.mean()
    return off.square().mean() if kind == "squared" else off.abs().mean()
