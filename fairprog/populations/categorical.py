"""Finite populations: X takes finitely many values (atoms), so every program over them is finite.

Stored compactly as their support, see `support.py`; dense tables are made where they are asked
for.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.errors import DataError, FairprogWarning, ModelError
from fairprog.kernels.finite import (
    bayes_actions,
    same_posterior_laws,
    tables_at_thresholds,
)
from fairprog.labels import (
    Array,
    as_labels,
    check_count,
    check_finite,
    check_weights,
    encode,
    label_array,
    label_order,
    label_vector,
    plain,
)
from fairprog.populations.base import Population, check_prior
from fairprog.populations.evaluation import Evaluation
from fairprog.populations.scores import (
    ScoreBins,
    are_labels,
    check_posterior,
    encode_groups,
    score_bins,
)
from fairprog.populations.support import (
    Support,
    checked_values,
    effective_rows,
    support_prior,
)
from fairprog.tables import (
    AtomTable,
    CostSensitiveRisk,
    DemographicParity,
    Notion,
    OutcomeTable,
    Risk,
)
from fairprog.tables.risks import cost_matrix

__all__ = ["Categorical", "Support"]


class Categorical(Population):
    """Joint law of a finite X, class and group: ``joint[x, i, a]`` = P(X=x, Y=i, A=a).

    Parameters
    ----------
    joint : array_like, shape (X, K, G)
        Nonnegative, summing to one (to 1e-8); single cells may be zero, but every class must have
        mass in every group.
    values : sequence of X hashables or array_like, shape (X, d), optional
        What the atoms are; default 0, 1, ....
    classes, groups : sequence of hashables, optional
        Labels; default 0, 1, ....

    Attributes
    ----------
    prior : Array, shape (K, G)
        P(Y=i, A=a).
    joint : Array, shape (X, K, G)
    mass : Array, shape (X, G)
        P(X=x, A=a).
    eta : Array, shape (X, K, G)
        Posterior P(Y=i | x, a); the base rates of the group where P(X=x, A=a) = 0.
    support : Support
        The same without the empty pairs, compactly.

    Raises
    ------
    DataError
        For NaN, wrong shapes, negative entries, a sum other than one, a class without mass in a
        group.

    Notes
    -----
    Source: theory.md sections 1 and 8.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical([[[.3, .1], [.1, .1]], [[.1, .1], [.1, .1]]], groups=["a", "b"])
    >>> D.base_rates.round(3)
    array([[0.667, 0.5  ],
           [0.333, 0.5  ]])
    >>> round(D.evaluate().error, 3)
    0.4
    >>> D.is_ideal()
    False
    """

    family: ClassVar[str] = "categorical"

    def __init__(
        self,
        joint: ArrayLike,
        *,
        values: Any = None,
        classes: Iterable[Any] | None = None,
        groups: Iterable[Any] | None = None,
    ) -> None:
        table = check_finite(joint, "joint")
        if table.ndim != 3 or not table.size:
            raise DataError(
                f"`joint` must have shape (X, K, G): atoms, classes, groups; its shape is "
                f"{table.shape}.",
                argument="joint",
            )
        if table.min() < 0:
            at = tuple(int(k) for k in np.argwhere(table < 0)[0])
            raise DataError(
                f"`joint` must be nonnegative; found {table[at]:.6g} at position {at}.",
                argument="joint",
            )
        self.prior, self.classes, self.groups = check_prior(table.sum(axis=0), classes, groups)
        total = table.sum()
        table = table if abs(total - 1.0) <= 1e-12 else table / total
        weight = table.sum(axis=1)  # (X, G)
        atom, group = np.nonzero(weight > 0)
        posterior = table[atom, :, group] / weight[atom, group][:, None]
        score = posterior[:, 1].copy() if self.n_classes == 2 else posterior
        self._support(Support(atom, group, weight[atom, group], score), len(table), values)
        table.setflags(write=False)
        self.__dict__["joint"] = table  # to the bit as given

    def _support(self, support: Support, n_atoms: int, values: Any) -> None:
        self.support = support
        self.n_atoms = n_atoms
        self._values = None if values is None else checked_values(values, n_atoms)
        #: largest change of a table's entry that a discretisation may cause; 0.0 where exact
        self.discretization_error = 0.0
        #: number of rows it was counted from (the effective one of weighted rows), where known
        self.n_rows: int | None = None
        #: the bins of scores that are its atoms, where it was counted in bins
        self.score_bins: ScoreBins | None = None
        #: whether the posteriors are scores that were given, not shares of labels counted
        self.scores_given = False
        for array in (self.prior, support.weight, support.score, support.group, support.atom):
            array.setflags(write=False)

    @classmethod
    def _from_support(
        cls,
        support: Support,
        n_atoms: int,
        values: Any,
        classes: Sequence[Hashable],
        groups: Sequence[Hashable],
    ) -> Self:
        """Build from the support alone (weights sum to one), without a dense table."""
        out = cls.__new__(cls)
        out.prior, out.classes, out.groups = check_prior(
            support_prior(support, len(classes), len(groups)),
            classes,
            groups,
        )
        out._support(support, n_atoms, values)
        return out

    # -- the same law as dense tables --

    @property
    def values(self) -> Any:
        """What the atoms are: (X,) labels or numbers, or (X, d)."""
        return np.arange(self.n_atoms) if self._values is None else self._values

    @cached_property
    def mass(self) -> Array:
        """P(X=x, A=a), shape (X, G)."""
        out = np.zeros((self.n_atoms, self.n_groups))
        out[self.support.atom, self.support.group] = self.support.weight
        out.setflags(write=False)
        return out

    @cached_property
    def eta(self) -> Array:
        """P(Y=i | x, a), shape (X, K, G); base rates where P(X=x, A=a) = 0."""
        out = np.repeat(self.base_rates[None], self.n_atoms, axis=0)
        out[self.support.atom, :, self.support.group] = self.support.posterior
        out.setflags(write=False)
        return out

    @cached_property
    def joint(self) -> Array:
        """P(X=x, Y=i, A=a), shape (X, K, G)."""
        s = self.support
        out = np.zeros((self.n_atoms, self.n_classes, self.n_groups))
        out[s.atom, :, s.group] = s.weight[:, None] * s.posterior
        out.setflags(write=False)
        return out

    @property
    def reveals_group(self) -> bool:
        """Whether every atom belongs to one group, so that X tells the group."""
        return len(self.support.atom) == len(np.unique(self.support.atom))

    # -- where they come from --

    @classmethod
    def from_scores(
        cls,
        proba: ArrayLike,
        *,
        sensitive_features: ArrayLike,
        y: ArrayLike | None = None,
        bins: int | ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        classes: Sequence[Any] | None = None,
        groups: Sequence[Any] | None = None,
    ) -> Self:
        """Take scored rows as a population.

        Three meanings, by what is given:

        * ``bins=None``, no ``y``: every row is an atom with weight 1/n whose posterior IS its
          score. Right for calibrated scores; rows belong to one group, so classifiers over them
          are group-aware. No copy of the scores is made where they are float64.
        * ``bins``, no ``y``: atoms are bins of the score, the same for all groups; the posterior
          of a bin and group is the mean score of its rows.
        * ``bins`` and ``y``: the empirical joint law of bin, label and group: scores calibrated
          by counting, group by group. Do it on rows the score was not fitted on.

        ``y`` without ``bins`` is refused: every row would know its own label.

        Parameters
        ----------
        proba : array_like, shape (n,) or (n, K)
            P(Y = last class) of each row, or the posterior of every class.
        sensitive_features : array_like, shape (n,)
            Group of each row.
        y : array_like, shape (n,), optional
            Labels, to calibrate by counting.
        bins : int or array_like, optional
            Number of quantile bins (of every class's score but the first), or the inner edges
            (binary labels). Only bins that hold rows become atoms; their ``values`` are the mean
            scores. The population remembers its bins: a classifier decided on it puts new scores
            into them.
        sample_weight : array_like, shape (n,), optional
            Nonnegative weights.
        classes, groups : sequence, optional
            Labels in order, classes in that of the columns of `proba`, so that scores are of the
            last one: ``classes=["no", "yes"]``. Default 0, ..., K-1 (or the sorted labels of
            `y`), sorted groups.

        Raises
        ------
        DataError
            For scores outside [0, 1], rows that do not sum to one, a class without mass in a
            group.
        ModelError
            For `y` without `bins`.

        Warns
        -----
        FairprogWarning
            Where every score is 0 or 1: labels rather than probabilities.

        Notes
        -----
        Scores that are read as posteriors must be calibrated within each group: among the rows
        of a group with score s, a share s has the last class.

        Examples
        --------
        >>> import fairprog as fp
        >>> D = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"))
        >>> D.prior
        array([[0.25 , 0.175],
               [0.25 , 0.325]])
        >>> E = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"),
        ...                                bins=[.5])
        >>> E.eta[:, 1, :]
        array([[0.2, 0.4],
               [0.8, 0.9]])
        """
        score, K = check_posterior(proba)
        if are_labels(score):
            warnings.warn(
                "Every score in `proba` is 0 or 1. Probabilities are expected: what "
                "`predict_proba` returns, not `predict`.",
                FairprogWarning,
                stacklevel=2,
            )
        n = len(score)
        if y is not None and bins is None:
            raise ModelError(
                "`y` without `bins` would make every row its own atom that knows its label. Give "
                "`bins` to calibrate the scores by counting, or leave `y` out.",
                argument="y",
            )
        if y is None:
            class_labels = as_labels(classes, K, "classes")
        else:
            class_labels = label_order(classes, label_vector(y, "y", n), "classes")
            if len(class_labels) != K:
                raise DataError(
                    f"`y` has the classes {list(class_labels)} but `proba` scores {K}; give "
                    "`classes` in the order of the columns.",
                    argument="y",
                )
        group, group_labels = encode_groups(sensitive_features, groups, n)
        if sample_weight is None:
            weight: Array = np.broadcast_to(np.float64(1.0 / n), (n,))
        else:
            weight = check_weights(sample_weight, n)
            weight /= weight.sum()
        if bins is None:
            keep = slice(None) if sample_weight is None else weight > 0
            support = Support(np.arange(n)[keep], group[keep], weight[keep], score[keep])
            out = cls._from_support(support, n, None, class_labels, group_labels)
            out.n_rows, out.scores_given = effective_rows(weight), True
            return out
        atom, values, bins_of = score_bins(score, bins, weight)
        joint = np.zeros((len(values), K, len(group_labels)))
        if y is None:
            columns = np.stack([1.0 - score, score], 1) if score.ndim == 1 else score
            for i, column in enumerate(columns.T):
                np.add.at(joint[:, i], (atom, group), weight * column)
        else:
            np.add.at(joint, (atom, encode(y, class_labels, "y", n), group), weight)
        out = cls(joint, values=values, classes=class_labels, groups=group_labels)
        out.n_rows, out.scores_given = effective_rows(weight), y is None
        out.score_bins = bins_of
        return out

    @classmethod
    def fit(
        cls,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sensitive_features: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: Sequence[Any] | None = None,
        groups: Sequence[Any] | None = None,
    ) -> Self:
        """Count: the empirical joint law of the distinct rows of X, class and group.

        Parameters
        ----------
        X : array_like, shape (n,) or (n, d)
            Discrete features: numbers or labels.
        y, sensitive_features : array_like, shape (n,)
        sample_weight : array_like, shape (n,), optional
        classes, groups : sequence, optional
            Label order: given, else sorted.

        Raises
        ------
        DataError
            For missing values, lengths that differ, a class without rows in a group.

        Examples
        --------
        >>> import fairprog as fp
        >>> X, y = ["u", "u", "v", "v"], [0, 1, 0, 1]
        >>> D = fp.Categorical.fit(X * 2, y * 2, sensitive_features=list("aaaabbbb"))
        >>> D.n_atoms, D.values.tolist()
        (2, ['u', 'v'])
        """
        features = np.asarray(X)
        y_vector = label_vector(y, "y", len(features))
        a_vector = label_vector(sensitive_features, "sensitive_features", len(features))
        class_labels = label_order(classes, y_vector, "classes")
        group_labels = label_order(groups, a_vector, "groups")
        i = encode(y_vector, class_labels, "y")
        g = encode(a_vector, group_labels, "sensitive_features")
        if features.ndim == 1 or features.shape[1] == 1:
            column = label_vector(features, "X")
            values: Any = label_array(label_order(None, column, "X"))
            atom = encode(column, tuple(plain(v) for v in values), "X")
        else:
            values, atom = np.unique(features, axis=0, return_inverse=True)
        weight = check_weights(sample_weight, len(features))
        joint = np.zeros((len(values), len(class_labels), len(group_labels)))
        np.add.at(joint, (atom.ravel(), i, g), weight)
        joint /= weight.sum()
        out = cls(joint, values=values, classes=class_labels, groups=group_labels)
        out.n_rows = effective_rows(weight)
        return out

    # -- statistics --

    def sample(
        self, n: int, random_state: int | np.random.Generator | None = None
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Draw n rows.

        Parameters
        ----------
        n : int
        random_state : int or numpy Generator, optional

        Returns
        -------
        X : array of values, shape (n,) or (n, d)
        y, a : arrays of labels, shape (n,)
        """
        rng, n, s = np.random.default_rng(random_state), check_count(n, "n"), self.support
        row = rng.choice(len(s.atom), size=n, p=s.weight / s.weight.sum())
        chance = np.cumsum(s.posterior[row], axis=1)
        i = (rng.random(n)[:, None] * chance[:, -1:] > chance).sum(axis=1)
        classes, groups = label_array(self.classes), label_array(self.groups)
        return self.values[s.atom[row]], classes[i], groups[s.group[row]]

    def kl(self, other: Population) -> float:
        """Return KL(self || other) of the joint laws of (X, Y, A), in nats.

        Infinite where `other` has no mass and self has. Classes and groups are matched by value,
        atoms by position: `values` must be equal.

        Raises
        ------
        ModelError
            If `other` is not categorical, or has other labels or atoms.
        """
        order_i, order_a = self._order_of(other, "other")
        assert isinstance(other, Categorical)
        self._same_atoms(other, "other")
        p, q = self.joint, other.joint[:, order_i][:, :, order_a]
        if np.any((p > 0) & (q == 0)):
            return float("inf")
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.where(p > 0, p * np.log(p / q), 0.0).sum())

    def cell_divergences(self, other: Self) -> Array:
        """Return V_ia = KL(P_ia || P'_ia) in nats, shape (K, G), P' the cells of `other`."""
        order_i, order_a = self._order_of(other, "other")
        self._same_atoms(other, "other")
        p = self.joint / self.prior
        q = other.joint[:, order_i][:, :, order_a] / other.prior[np.ix_(order_i, order_a)]
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(p > 0, p * np.log(p / q), 0.0)
        out: Array = terms.sum(axis=0)
        return out

    def _same_atoms(self, other: Categorical, argument: str) -> None:
        if self.n_atoms != other.n_atoms or not np.array_equal(self.values, other.values):
            raise ModelError(
                f"`{argument}` has other atoms ({other.n_atoms}) than this population "
                f"({self.n_atoms}); their `values` must be equal.",
                argument=argument,
            )

    # -- fairness --

    def table(self, h: ArrayLike) -> AtomTable:
        """Return the outcome table of a randomised classifier, which knows its individuals.

        Parameters
        ----------
        h : array_like, shape (m, K)
            P(Yhat=j | x, a) for every pair of :attr:`support`.

        Returns
        -------
        AtomTable
        """
        s = self.support
        rates = check_finite(h, "h", (len(s.atom), self.n_classes))
        return AtomTable.of(
            s.weight, s.posterior, s.atom, s.group, rates, self.classes, self.groups
        )

    def evaluate(
        self,
        cost: ArrayLike | Risk | None = None,
        rule_of: Categorical | None = None,
        n_samples: int = 0,
        random_state: int | np.random.Generator = 0,
    ) -> Evaluation:
        """Apply a Bayes rule to this population, exactly.

        Parameters
        ----------
        cost : array_like (K, K), mapping with keys 'fp' and 'fn', or Risk, optional
            C[i, j] = cost of predicting j when the truth is i; default 0-1. Ties (to 1e-12) go to
            the first class, in every group.
        rule_of : Categorical, optional
            Use the Bayes rule of that population (same atoms); default self.
        n_samples, random_state
            Not used: nothing is sampled. They are there because every population has them.

        Returns
        -------
        Evaluation
        """
        if isinstance(cost, Risk):
            C = cost.matrix(self.classes)
        else:
            C = cost_matrix(cost, self.n_classes)
        posterior = self.support.posterior
        if rule_of is not None:
            order_i, order_a = self._order_of(rule_of, "rule_of")
            self._same_atoms(rule_of, "rule_of")
            eta = rule_of.eta[:, order_i][:, :, order_a]
            posterior = eta[self.support.atom, :, self.support.group]
        table = self.table(
            np.eye(self.n_classes)[bayes_actions(posterior, C - C.min(axis=1, keepdims=True))]
        )
        return Evaluation(CostSensitiveRisk(C).evaluate(table), table, 0.0)

    def log_odds_cdf(self, thresholds: Array) -> Array:
        """Return P(log odds <= t | i, a), shape (T, 2, G), of two classes.

        Log odds within 1e-11 of a threshold count as equal to it: the posteriors of an ideal
        population agree to rounding only.
        """
        s, t = self.support, np.asarray(thresholds, dtype=float)
        out = np.empty((len(t), 2, self.n_groups))
        with np.errstate(divide="ignore"):
            odds = np.log(s.posterior[:, 1]) - np.log(s.posterior[:, 0])
        for a in range(self.n_groups):
            rows = np.flatnonzero(s.group == a)
            rows = rows[np.argsort(odds[rows], kind="stable")]
            below = np.searchsorted(odds[rows], t + 1e-11 * (1.0 + np.abs(t)), side="right")
            mass = np.cumsum(s.weight[rows, None] * s.posterior[rows], axis=0) / self.prior[:, a]
            out[:, :, a] = np.concatenate([np.zeros((1, 2)), mass])[below]
        return np.minimum(out, 1.0)

    def plot(self, ax: Any = None) -> Any:
        """Draw P(X=x, Y=i | A=a) over the atoms; see :func:`fairprog.plotting.plot_atoms`.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Default: a new figure.

        Returns
        -------
        (figure, axes)
        """
        from fairprog.plotting import plot_atoms

        return plot_atoms(self, ax=ax)

    def ideality_gap(self, notion: Notion | None = None) -> float:
        """Return the worst gap of a notion over all cost matrices (0 iff ideal for it).

        Binary labels: exact, the maximum over all thresholds of the posterior. More classes: the
        worst over a fixed search of cost matrices, a LOWER bound only.

        Parameters
        ----------
        notion : Notion, default DemographicParity()
        """
        notion = DemographicParity() if notion is None else notion
        if not isinstance(notion, Notion):
            raise ModelError(
                f"`notion` must be a notion such as DemographicParity(); found {notion!r}.",
                argument="notion",
            )
        K, s = self.n_classes, self.support
        if K == 1:
            return 0.0
        if K == 2:
            tables = tables_at_thresholds(s.weight, s.score, s.group, self.n_groups)
            return max(notion.gap(OutcomeTable(Z, self.classes, self.groups)) for Z in tables)
        rng, worst = np.random.default_rng(0), 0.0
        for k in range(max(24, 1600 // K**2)):
            C = rng.normal(size=(K, K))
            if k % 2:  # two actions compete, the others are never worth it: half-spaces
                C[:, np.setdiff1d(np.arange(K), rng.choice(K, 2, replace=False))] = 100.0
            worst = max(worst, self.evaluate(C).gap(notion))
        return worst

    def is_ideal(self, atol: float = 1e-8) -> bool:
        """Return whether the law of the posterior is the same in every group.

        That is the definition of ideal for demographic parity, and implies it for equalized odds
        (theory.md, Theorem A).

        Parameters
        ----------
        atol : float
            Posteriors closer than this count as one; total variation allowed between groups.
        """
        s = self.support
        weight = s.weight / self.group_mass[s.group]
        return same_posterior_laws(weight, s.posterior, s.group, self.n_groups, atol) <= atol

    def discretize(self, n: int = 2048, random_state: int = 0) -> Self:
        """Return the population itself: it is finite already."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the constructor's arguments and what it was made from, with the family's name."""
        values = self._values
        out = {
            "population": type(self).__name__,
            "joint": self.joint,
            "values": (
                values
                if values is None or values.dtype.kind in "fiu"
                else tuple(plain(v) for v in values)
            ),
            "classes": self.classes,
            "groups": self.groups,
        }
        bins = self.score_bins
        origin = {
            "n_rows": self.n_rows,
            "scores_given": self.scores_given or None,
            "score_bins": None if bins is None else bins.to_dict(),
        }
        return out | {key: value for key, value in origin.items() if value is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a population from what `to_dict` returned."""
        arguments = dict(data)
        bins, n_rows = arguments.pop("score_bins", None), arguments.pop("n_rows", None)
        given = arguments.pop("scores_given", False)
        out = super().from_dict(arguments)
        out.score_bins = None if bins is None else ScoreBins.from_dict(bins)
        out.n_rows, out.scores_given = n_rows, bool(given)
        return out

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(X={self.n_atoms}, K={self.n_classes}, G={self.n_groups}, "
            f"classes={list(self.classes)}, groups={list(self.groups)})"
        )
