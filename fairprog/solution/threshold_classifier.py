"""A randomised classifier on binary scores, kept as one rule per group."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from fairprog.kernels.scores.score_rules import apply_rule
from fairprog.labels import Array
from fairprog.populations import Categorical
from fairprog.solution.classifier import RandomizedClassifier
from fairprog.solution.new_scores import TIE


class ThresholdClassifier(RandomizedClassifier):
    """A group-aware classifier whose decision depends on the score alone.

    Parameters
    ----------
    population : Categorical
        Binary labels; the scores it was decided on.
    rules : Array, shape (G, 5)
        With probability ``rules[a, 0]`` predict the last class above the score ``rules[a, 1]``
        (and at it with probability ``rules[a, 2]``), otherwise below ``rules[a, 3]`` (and at it
        with probability ``rules[a, 4]``).
    reduced : Array, shape (G, 2)
        Adjusted cost of predicting the last class rather than the first, by true class.
    first : Array, shape (2,), optional
        Cost of predicting the first class, by true class.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"))
    >>> rule = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualOpportunity()]).solve().classifier
    >>> {g: round(t, 3) for g, t in rule.thresholds.items()}
    {'a': 0.741, 'b': 0.4}
    >>> rule.predict_proba_from_scores([.7, .95], sensitive_features=["a", "b"])[:, 1]
    array([0., 1.])
    """

    rules: Array

    def __init__(
        self, population: Categorical, rules: Array, reduced: Array, first: Array | None = None
    ) -> None:
        base = np.zeros(2) if first is None else first
        costs = np.stack(np.broadcast_arrays(base, base + reduced), axis=2)
        for name, value in (
            ("population", population),
            ("uses_group", True),
            ("costs", costs),
            ("rules", rules),
        ):
            object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by the arguments of the constructor."""
        assert self.costs is not None
        first = self.costs[0, :, 0]
        return type(self), (self.population, self.rules, self.costs[:, :, 1] - first, first)

    @cached_property
    def h(self) -> Array:
        """P(Yhat=j | x, a) for every pair of ``population.support``, shape (m, 2)."""
        s = self.population.support
        return self._apply(s.score, s.group)

    def _apply(self, score: Array, group: Any) -> Array:
        out = np.zeros((len(score), 2))
        for a, rule in enumerate(self.rules):
            rows = group == a
            out[rows, 1] = apply_rule(rule, score[rows])
        out[:, 0] = 1.0 - out[:, 1]
        return out

    def _by_posterior(self, score: Array, group: Any, reference: Any = None) -> Array:
        """Apply the rules; between the threshold's atom and the next ones adjusted costs decide.

        The rules put the threshold at an atom. Among the atoms nothing lies between it and its
        neighbours, but new scores do.
        """
        out, s = self._apply(score, group), self.population.support
        assert self.costs is not None
        reduced = self.costs[:, :, 1] - self.costs[:, :, 0]
        for a, (share, upper, *_) in enumerate(self.rules):
            if share < 1:
                continue
            own = s.score[s.group == a]
            low = own[own < upper].max(initial=-np.inf)
            high = own[own > upper].min(initial=np.inf)
            near = (group == a) & (score > low) & (score < high) & (score != upper)
            extra = reduced[a, 0] + (reduced[a, 1] - reduced[a, 0]) * score
            decided = near & (np.abs(extra) > TIE * max(1.0, float(np.abs(reduced[a]).max())))
            out[decided, 1] = extra[decided] < 0
        out[:, 0] = 1.0 - out[:, 1]
        return out
