"""A notion as a training loss: its own template, over the soft outcome table of a mini-batch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from types import SimpleNamespace
from typing import Any

import torch

from fairprog.errors import ModelError
from fairprog.labels import encode
from fairprog.tables import Notion, Risk

KINDS = ("max", "squared", "absolute")
FUNCTIONS = SimpleNamespace(
    square=torch.square,
    hstack=torch.stack,
    quad_over_lin=lambda x, y: torch.sum(x**2) / y,
)


class SoftTable:
    """The `TableView` of a batch: Z[a, i, j] = mean over rows of 1[A=a, Y=i] P(Yhat=j)."""

    redundant = True  # every event has its rate
    functions = FUNCTIONS
    attributes: tuple[str, ...] = ()

    def __init__(self, proba: Any, y: Any, a: Any, classes: Any, groups: Any) -> None:
        K, G = len(classes), len(groups)
        cell = torch.nn.functional.one_hot(a * K + y, G * K).to(proba.dtype)
        self.Z = (cell.T @ proba / len(proba)).reshape(G, K, K)
        self.mass = self.Z.detach().sum(dim=2).cpu().numpy().astype(float)
        self.mass[self.mass == 0.0] = float("nan")  # its rate is none, and is left out
        self.classes, self.groups = classes, groups

    def level(self, name: str, size: int | None = None) -> float:
        """Return 0: rates are compared with each other, not with a level."""
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
        With rates linear in the table, or a risk such as ``fp.GroupRiskVariance()``.
    kind : {"max", "squared", "absolute"}, default "max"
        Of a notion: largest minus smallest rate, worst over events; or the mean, over events, of
        the groups' mean squared, or absolute, distance from their mean rate.
    classes, groups : sequence of hashables
        All labels there are, classes in the order of the logits.

    Returns
    -------
    function of logits (n, K) or (n,), and labels and groups of the n rows

    Raises
    ------
    ModelError
        For an unknown kind, a notion that is not linear, or on or within attributes.

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
    if isinstance(notion, Notion):
        if notion.splits:
            raise ModelError(
                f"{notion!r} adds up groups: pass the groups of that attribute instead.",
                argument="notion",
            )
        notion.events(tuple(classes))  # refuses rates that are not linear
        notion = notion.with_bound(1.0 if notion.upward else 0.0)
    elif not isinstance(notion, Risk):
        raise ModelError(f"`notion` must be a notion or a risk; found {notion!r}.")

    def loss(logits: Any, y: Any, sensitive_features: Any) -> Any:
        if logits.ndim == 1:
            logits = torch.stack([torch.zeros_like(logits), logits], dim=1)
        n, where = len(logits), {"device": logits.device}
        code, group = (
            torch.as_tensor(encode(v, tuple(labels), name, n), **where)
            for v, labels, name in (
                (y, classes, "y"),
                (sensitive_features, groups, "sensitive_features"),
            )
        )
        present = torch.unique(group)
        group = torch.searchsorted(present, group)
        seen = tuple(groups[int(k)] for k in present)
        view: Any = SoftTable(torch.softmax(logits, dim=1), code, group, tuple(classes), seen)
        terms = notion.express(view)
        if isinstance(notion, Risk):
            return torch.stack([t.expression for t in terms if t.sense == "minimize"]).sum()
        every = [t.expression for t in terms][:: 2 if notion.upward else 1]  # ratios: both sides
        events = [every[k : k + len(seen)] for k in range(0, len(every), len(seen))]
        found = [[rate for rate in event if not torch.isnan(rate)] for event in events]
        far = [_far(torch.stack(rates), kind) for rates in found if len(rates) > 1]
        if not far:
            return logits.sum() * 0.0
        return torch.stack(far).max() if kind == "max" else torch.stack(far).mean()

    return loss


def _far(rates: Any, kind: str) -> Any:
    """Return how far apart the groups' rates of an event are."""
    if kind == "max":
        return rates.max() - rates.min()
    off = rates - rates.mean()
    return off.square().mean() if kind == "squared" else off.abs().mean()
