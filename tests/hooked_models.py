"""Small models to hang hooks into, a batch for them, and what hooks must do to its rows."""

from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest

import fairprog as fp

torch = pytest.importorskip("torch", reason="torch is not installed: make test-torch")

D = 24
GROUPS = ("a", "b", "c")


def steered():
    rng = np.random.default_rng(0)
    R = rng.normal(size=(2, 3, D, 2 * D))
    cov = R @ R.swapaxes(-1, -2) / (2 * D)
    E = fp.Normal(np.full((2, 3), 1 / 6), rng.normal(size=(2, 3, D)), cov=cov, groups=GROUPS)
    return fp.NearestIdeal(E, steer="all").solve()


def hidden_states():
    rng = np.random.default_rng(1)
    hidden = torch.tensor(rng.normal(size=(9, 5, D)), dtype=torch.float32)
    return hidden, rng.integers(0, 2, 9), np.array(list("abcabcacb"))


class Block(torch.nn.Module):
    """A module that returns what transformer blocks and models do."""

    def __init__(self, form="tensor"):
        super().__init__()
        self.form = form

    def forward(self, hidden):
        if self.form == "tuple":
            return hidden, "cache"
        if self.form == "list":
            return [hidden, "cache"]
        if self.form == "named":
            return Answer(hidden, "cache")
        if self.form == "mapping":
            return {"last_hidden_state": hidden, "cache": "cache"}
        if self.form == "dataclass":
            return Output(hidden, "cache")
        return hidden


Answer = namedtuple("Answer", ["hidden", "cache"])


@dataclass(frozen=True)
class Output:
    last_hidden_state: object
    cache: str


def small_model():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(D, D), torch.nn.GELU(), torch.nn.Dropout(0.5), torch.nn.Linear(D, 3)
    ).eval()


def offline(move, hidden, *labels):
    """What a solution does to the rows of a batch, token by token."""
    rows = hidden.double().numpy().reshape(-1, D)
    tokens = len(rows) // len(hidden)
    return move(rows, *(np.repeat(v, tokens) for v in labels)).reshape(hidden.shape)


def align(sol, hidden, a):
    return offline(lambda X, a: sol.align(X, sensitive_features=a), hidden, a)


def steer(sol, hidden, y, a):
    return offline(lambda X, y, a: sol.steer(X, y, sensitive_features=a), hidden, y, a)
