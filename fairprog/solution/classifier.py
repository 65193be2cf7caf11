"""A randomised classifier on a finite population, and its rule for scores never seen."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.door import refuse_reordered
from fairprog.errors import DataError, ModelError
from fairprog.groups import are_crossed, attributes_in_order, group_labels
from fairprog.labels import Array, Indices, encode, label_array, plain
from fairprog.lots import drawn, keys_for, lots, row_keys, shared_too_widely
from fairprog.populations import Categorical
from fairprog.populations.joint_scores import check_joint
from fairprog.populations.score_bins import check_posterior
from fairprog.solution.new_scores import TIE, cheapest, tilted


@dataclass(frozen=True, eq=False)
class RandomizedClassifier:
    """P(Yhat=j | x, a), as decided by :class:`FairClassifier`.

    Attributes
    ----------
    population : Categorical
        What it was decided on.
    h : Array, shape (m, K)
        P(Yhat=j | x, a) for every pair of ``population.support``.
    uses_group : bool
        Whether it looks at the group.
    costs : Array, shape (G, K, K), or None
        Adjusted costs: the classifier predicts argmin_j sum_i eta_i costs[a, i, j], one that does
        not see the group argmin_j sum_ia P(Y=i, A=a | x) costs[a, i, j], ties randomised. They
        are the cost matrix, less what a class pays whatever is predicted, plus
        the prices of the notions. None where a template speaks about single individuals, so that
        no such rule exists.
    divergence_weight : float or None
        Of the KL :class:`Divergence` in the risk, where its optimum was found as a tilt: it is
        reference_j exp(-cost_j / divergence_weight), normalised, with those sums as cost_j.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"))
    >>> rule = fp.FairClassifier(D, fp.WorstGroupRisk()).solve().classifier
    >>> type(rule).__name__, rule.h.shape
    ('RandomizedClassifier', (4, 2))
    """

    population: Categorical
    h: Array
    uses_group: bool
    costs: Array | None = None
    divergence_weight: float | None = None

    # -- on the atoms --

    @cached_property
    def _position(self) -> dict[Any, int]:
        values = self.population.values
        if values.ndim == 2:
            return {tuple(row.tolist()): k for k, row in enumerate(values)}
        return {plain(v): k for k, v in enumerate(values)}

    def _atoms(self, X: ArrayLike) -> Indices:
        rows = np.asarray(X)
        if self.population.values.ndim == 2:
            keys: list[Any] = [tuple(row.tolist()) for row in np.atleast_2d(rows)]
        else:
            keys = [plain(v) for v in rows.reshape(len(rows), -1)[:, 0]]
        atoms = np.array([self._position.get(key, -1) for key in keys], dtype=np.intp)
        unknown = np.flatnonzero(atoms < 0)
        if unknown.size:
            raise DataError(
                f"`X` holds {keys[unknown[0]]!r} in row {unknown[0]}, which is no atom of the "
                f"population ({unknown.size} such rows). For scores of new rows use "
                "`predict_proba_from_scores`.",
                argument="X",
            )
        return atoms

    def predict_proba(self, X: ArrayLike, *, sensitive_features: ArrayLike | None = None) -> Array:
        """Return P(Yhat=j | x, a) of rows whose features are atoms of the population.

        Parameters
        ----------
        X : array_like, shape (n,) or (n, d)
            Values of the population (``population.values``).
        sensitive_features : array_like, shape (n,), optional
            Groups; required where the classifier uses them.

        Returns
        -------
        Array, shape (n, K)

        Raises
        ------
        DataError
            For values or groups without mass, or missing groups.
        """
        refuse_reordered(X=X, sensitive_features=sensitive_features)
        D, s = self.population, self.population.support
        atom = self._atoms(X)
        if not self.uses_group:
            first = np.full(D.n_atoms, -1)
            first[s.atom[::-1]] = np.arange(len(s.atom))[::-1]
            row = first[atom]
        else:
            group = self._codes(sensitive_features, len(atom))
            table = np.full((D.n_atoms, D.n_groups), -1)
            table[s.atom, s.group] = np.arange(len(s.atom))
            row = table[atom, group]
        empty = np.flatnonzero(row < 0)
        if empty.size:
            raise DataError(
                f"Row {empty[0]} of `X` has no mass in its group, so nothing was decided for it.",
                argument="X",
            )
        return self.h[row]

    def predict(
        self,
        X: ArrayLike,
        *,
        sensitive_features: ArrayLike | None = None,
        random_state: int | np.random.Generator | None = None,
        key: ArrayLike | None = None,
    ) -> NDArray[Any]:
        """Draw predictions from :meth:`predict_proba`, every row's by its own lot.

        Parameters
        ----------
        X, sensitive_features
            As for :meth:`predict_proba`.
        random_state : int or numpy Generator, optional
            Seed of the lots; default 0.
        key : array_like, shape (n,), optional
            Identifiers of the rows: numbers or text. A row's lot depends on its key and the seed
            only: the same alone, in a batch, in any order. Default: the row of X.

        Warns
        -----
        FairprogWarning
            Where there is no `key` and so many rows are the same that shares are not met.
        """
        refuse_reordered(X=X, sensitive_features=sensitive_features, key=key)
        proba = self.predict_proba(X, sensitive_features=sensitive_features)
        return self._draw(proba, random_state, X, key)

    def _draw(self, proba: Array, random_state: Any, X: Any, key: Any) -> NDArray[Any]:
        if isinstance(random_state, np.random.Generator):
            random_state = random_state.integers(2**63)
        mixed = np.flatnonzero(proba.max(axis=1) < 1.0 - TIE)
        shared = False
        if key is None and mixed.size:
            cell = np.unique(proba[mixed], axis=0, return_inverse=True)[1].ravel()
            shared = shared_too_widely(0 * cell, cell, row_keys(X)[mixed])
        keys = keys_for(X, key, len(proba), None, "Decisions" * shared, mixed.size > 0)
        code = drawn(proba, lots(random_state or 0, "draw predictions", keys))
        return label_array(self.population.classes)[code]

    # -- on any scores --

    def predict_proba_from_scores(
        self,
        proba: ArrayLike,
        *,
        sensitive_features: ArrayLike | None = None,
        reference: ArrayLike | None = None,
    ) -> Array:
        """Apply the classifier to scores that need not be atoms.

        Without the group scores are of label and group, P(Y=i, A=a | x).

        Where the population was counted in bins (``Categorical.from_scores(..., bins=...)``), a
        score falls into its bin and gets what was decided there, for its group: the same
        calibration as that of the population. A bin in which the group had no rows gives way to
        the group's bin with the nearest mean score. Otherwise the scores are read as posteriors,
        calibrated within each group, and get the rule of adjusted costs.

        Parameters
        ----------
        proba : array_like, shape (n,), (n, K) or (n, K, G)
            P(Y = last class), of every class, or of label and group: scores of the kind the
            population was made from.
        sensitive_features : array_like, shape (n,), optional
            Groups; required where the classifier uses them.
        reference : array_like, shape (n,) or (n, K), optional
            What :class:`Divergence` keeps the classifier near, of these rows. Required where it is
            a tilt of a reference, by rows and not by bins; refused elsewhere.

        Returns
        -------
        Array, shape (n, K)
            Without bins one-hot, except on ties, which are randomised as they were on the
            population; tilted references are as random as the reference.

        Raises
        ------
        DataError
            For scores outside [0, 1], another number of classes, missing or unknown groups.
        ModelError
            For populations without bins: a classifier without adjusted costs, or one that does
            not see the group but is given no P(Y, A | x), or a reference that is missing.

        Examples
        --------
        >>> import fairprog as fp
        >>> D = fp.Categorical.from_scores(
        ...     [.2, .3, .8, .9] * 2, y=[0, 0, 0, 1, 0, 1, 1, 1], bins=[.5],
        ...     sensitive_features=list("aaaabbbb"))
        >>> rule = fp.FairClassifier(D, fp.ErrorRate()).solve().classifier
        >>> rule.predict_proba_from_scores([.45, .55], sensitive_features=["b", "b"])[:, 1]
        array([0., 1.])
        """
        binned = self.population.score_bins is not None
        if (reference is None) != (self.divergence_weight is None or binned):
            raise ModelError(
                "This classifier tilts a reference: pass that of these rows as `reference`."
                if reference is None
                else "`reference` is for classifiers that tilt one, row by row (fp.Divergence).",
                argument="reference",
            )
        if np.ndim(proba) == 3:
            return self._by_joint(check_joint(proba), reference)
        score, group = self._scored(proba, sensitive_features)
        if binned:
            return self._by_bins(score, group)
        return self._by_posterior(score, group, reference)

    def predict_from_scores(
        self,
        scores: ArrayLike,
        *,
        sensitive_features: ArrayLike | None = None,
        reference: ArrayLike | None = None,
        random_state: int | np.random.Generator | None = None,
        key: ArrayLike | None = None,
    ) -> NDArray[Any]:
        """Draw class labels from :meth:`predict_proba_from_scores`.

        Parameters
        ----------
        scores, sensitive_features, reference
            As for :meth:`predict_proba_from_scores`.
        random_state, key
            As for :meth:`predict`; without a `key` rows of the same score share a lot.

        Returns
        -------
        array of classes, shape (n,)

        Examples
        --------
        >>> import fairprog as fp
        >>> D = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"),
        ...                                classes=["no", "yes"])
        >>> rule = fp.FairClassifier(D, fp.ErrorRate()).solve().classifier
        >>> rule.predict_from_scores([.3, .7], sensitive_features=["a", "b"]).tolist()
        ['no', 'yes']
        """
        refuse_reordered(scores=scores, sensitive_features=sensitive_features, key=key)
        proba = self.predict_proba_from_scores(
            scores, sensitive_features=sensitive_features, reference=reference
        )
        return self._draw(proba, random_state, scores, key)

    def _scored(
        self, proba: ArrayLike, sensitive_features: ArrayLike | None
    ) -> tuple[Array, Indices]:
        """Return checked scores and group codes (zeros where the groups do not matter)."""
        refuse_reordered(proba=proba, sensitive_features=sensitive_features)
        score, K = check_posterior(proba)
        if self.population.n_classes != K:
            raise DataError(
                f"`proba` has {K} classes; needed are {self.population.n_classes}.",
                argument="proba",
            )
        if not self.uses_group:
            return score, np.zeros(len(score), dtype=np.intp)
        return score, self._codes(sensitive_features, len(score))

    def _codes(self, sensitive_features: Any, n: int) -> Indices:
        """Return the position of every row's group; several columns are crossed."""
        if are_crossed(sensitive_features):
            sensitive_features = attributes_in_order(
                sensitive_features, self.population.attributes
            )
            sensitive_features = group_labels(sensitive_features, n)
        return encode(sensitive_features, self.population.groups, "sensitive_features", n)

    def _by_bins(self, score: Array, group: Indices) -> Array:
        """Return what was decided in the bin of each score."""
        D, s = self.population, self.population.support
        assert D.score_bins is not None
        out = np.empty((len(score), D.n_classes))
        for a in range(D.n_groups) if self.uses_group else [0]:
            rows = np.flatnonzero(group == a)
            pairs = np.flatnonzero((s.group == a) | (not self.uses_group))
            pair_of = np.full(D.n_atoms, -1, dtype=np.intp)
            pair_of[s.atom[pairs]] = pairs
            atom = D.score_bins.atoms(score[rows], D.values, pair_of >= 0)
            out[rows] = self.h[pair_of[atom]]
        return out

    def _by_posterior(self, score: Array, group: Indices, reference: ArrayLike | None) -> Array:
        """Return the predictions with the smallest adjusted cost, ties as on the population."""
        posterior = np.stack([1.0 - score, score], axis=1) if score.ndim == 1 else score
        if self.divergence_weight is not None:
            return tilted(self, posterior, group, reference)
        s = self.population.support
        known = s.posterior, s.group.astype(np.intp)
        return cheapest(self, (posterior, group), known, s.weight, self.h)

    def _by_joint(self, joint: Array, reference: ArrayLike | None) -> Array:
        """Return the same where rows say P(Y=i, A=a | x), for a classifier without the group."""
        D, s = self.population, self.population.support
        if self.uses_group:
            raise ModelError(
                "This classifier looks at the group: solve with `uses_group=False` for one that "
                "decides on scores of label and group, (n, K, G).",
                argument="proba",
            )
        if joint.shape[1:] != (D.n_classes, D.n_groups):
            raise DataError(
                f"`proba` of label and group must have shape (n, {D.n_classes}, {D.n_groups}); "
                f"its shape is {joint.shape}.",
                argument="proba",
            )
        asked, known = np.zeros(len(joint), np.intp), np.zeros(D.n_atoms, np.intp)
        if self.divergence_weight is not None:
            return tilted(self, joint, asked, reference)
        mass = np.asarray(D.mass.sum(axis=1))
        h = np.zeros((len(mass), D.n_classes))
        h[s.atom] = self.h
        laws = D.joint / np.maximum(mass, np.finfo(float).tiny)[:, None, None]
        return cheapest(self, (joint, asked), (laws, known), mass, h)

    @property
    def thresholds(self) -> Mapping[Hashable, float] | None:
        """Group thresholds t: predict the last class iff its posterior exceeds t (binary labels).

        At the threshold itself the prediction is randomised. Below 0: always, above 1: never.
        None where the optimum is no such rule. On a population counted in bins they are
        thresholds of its posteriors, not of the scores it was made from.

        Examples
        --------
        >>> import fairprog as fp
        >>> D = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"))
        >>> fp.FairClassifier(D, fp.ErrorRate()).solve().classifier.thresholds
        {'a': 0.5, 'b': 0.5}
        """
        if self.costs is None or not self.uses_group or self.population.n_classes != 2:
            return None
        if self.divergence_weight is not None:
            return None
        extra = self.costs[:, :, 1] - self.costs[:, :, 0]  # of predicting 1, by true class
        slope = extra[:, 1] - extra[:, 0]
        if np.any(slope >= 0):
            return None
        t = -extra[:, 0] / slope
        s = self.population.support
        far = np.abs(s.score - t[s.group]) > 1e-7
        if np.any(far & (np.abs(self.h[:, 1] - (s.score > t[s.group])) > 1e-6)):
            return None
        return {g: float(v) for g, v in zip(self.population.groups, t, strict=True)}

    def __repr__(self) -> str:
        kind = "group-aware" if self.uses_group else "group-blind"
        mixed = int((self.h.max(axis=1) < 1 - 1e-9).sum())
        return f"RandomizedClassifier({kind}, {len(self.h)} rows, {mixed} randomised)"
