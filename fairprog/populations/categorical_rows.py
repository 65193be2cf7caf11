"""Rows of a finite population: scored, counted, drawn."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprog.door import Rows, counted, refuse_reordered
from fairprog.errors import DataError, FairprogWarning, ModelError
from fairprog.groups import are_crossed, attribute_names, group_labels
from fairprog.labels import (
    Array,
    as_labels,
    check_count,
    check_random_state,
    check_weights,
    encode,
    label_array,
    label_order,
    label_vector,
    plain,
)
from fairprog.populations.categorical_support import CategoricalSupport
from fairprog.populations.joint_scores import check_joint, joint_support
from fairprog.populations.score_bins import are_labels, check_posterior, encode_groups, score_bins
from fairprog.populations.support import Support, effective_rows


class CategoricalRows(CategoricalSupport):
    """Where a finite population comes from, and rows drawn from it."""

    @classmethod
    def from_scores(
        cls,
        proba: ArrayLike,
        *,
        sensitive_features: ArrayLike | None = None,
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

        Where the group is not known: ``proba[n, i, a]`` = P(Y=i, A=a | x), of shape (n, K, G) and
        without ``sensitive_features``. Every row is an atom that may be of any group, and
        ``FairClassifier(..., uses_group=False)`` decides by x alone. Right for scores calibrated
        for label and group together, say of a model fitted to their crossed labels.

        Parameters
        ----------
        proba : array_like, shape (n,), (n, K) or (n, K, G)
            P(Y = last class) of each row, the posterior of every class, or of label and group.
        sensitive_features : array_like, shape (n,) or (n, k), or a data frame, optional
            Group of each row; several columns are crossed. Not with (n, K, G), else required.
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
            For `y` without `bins`, or what else is given with scores of label and group.

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
        refuse_reordered(
            proba=proba, y=y, sensitive_features=sensitive_features, sample_weight=sample_weight
        )
        if np.ndim(proba) == 3:
            beside = {"sensitive_features": sensitive_features, "y": y, "bins": bins}
            return cls._of_joint_scores(proba, beside, sample_weight, classes, groups)
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
        if are_crossed(sensitive_features):
            crossed = group_labels(sensitive_features, n)
            group, group_names = encode_groups(crossed, groups, n)
        else:
            given_groups: Any = sensitive_features
            group, group_names = encode_groups(given_groups, groups, n)
        attributes = attribute_names(sensitive_features)
        if sample_weight is None:
            weight: Array = np.broadcast_to(np.float64(1.0 / n), (n,))
            given: Array = np.broadcast_to(1.0, (n,))
            count: Array = np.ones(1)
        else:
            weight = check_weights(sample_weight, n)
            keep = weight > 0
            score, group, weight = score[keep], group[keep], weight[keep]
            y = None if y is None else label_vector(y, "y", n)[keep]
            given, count = weight, counted(weight)
            weight, n = weight / weight.sum(), len(weight)
        if bins is None:
            support = Support(np.arange(n), group, weight, score)
            out = cls._from_support(support, n, None, class_labels, group_names)
            out.effective_rows, out.scores_given = effective_rows(weight), True
            out.attributes = attributes
            return out
        atom, values, bins_of = score_bins(score, bins, weight, count)
        joint = np.zeros((len(values), K, len(group_names)))
        label = None if y is None else encode(y, class_labels, "y", n)
        if label is None:
            columns = np.stack([1.0 - score, score], 1) if score.ndim == 1 else score
            for i, column in enumerate(columns.T):
                np.add.at(joint[:, i], (atom, group), weight * column)
        else:
            np.add.at(joint, (atom, label, group), weight)
        out = cls(joint, values=values, classes=class_labels, groups=group_names)
        if label is not None:
            rows = Rows(label, group.astype(np.intp), given, class_labels, group_names)
            out = out.with_rows(rows.cells, rows.mass)
        out.effective_rows, out.scores_given = effective_rows(weight), y is None
        out.score_bins, out.attributes = bins_of, attributes
        return out

    @classmethod
    def _of_joint_scores(
        cls,
        proba: ArrayLike,
        beside: dict[str, Any],
        sample_weight: ArrayLike | None,
        classes: Sequence[Any] | None,
        groups: Sequence[Any] | None,
    ) -> Self:
        for name, value in beside.items():
            if value is not None:
                raise ModelError(
                    f"`{name}` is not used where `proba` has shape (n, K, G): that says P(Y, A | "
                    "x) of every row. Leave it out, or pass P(Y | x, a) of shape (n, K).",
                    argument=name,
                )
        joint = check_joint(proba)
        n, K, G = joint.shape
        swapped = [len(v) == size for v, size in ((groups, K), (classes, G)) if v is not None]
        if K != G and swapped and all(swapped):
            raise DataError(
                f"`proba` has shape (n, {K}, {G}), so {K} classes and {G} groups: classes come "
                "before groups. Pass proba.transpose(0, 2, 1).",
                argument="proba",
            )
        weight = check_weights(sample_weight, n)
        joint, weight = joint[weight > 0], weight[weight > 0] / weight.sum()
        labels = as_labels(classes, K, "classes"), as_labels(groups, G, "groups")
        out = cls._from_support(joint_support(joint, weight), len(weight), None, *labels)
        out.effective_rows, out.scores_given = effective_rows(weight), True
        out.group_known = False
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
        rows = Rows.check(
            y,
            sensitive_features,
            sample_weight,
            len(features),
            classes=classes,
            groups=groups,
            cross=are_crossed(sensitive_features),
            X=X,
        )
        if features.ndim == 1 or features.shape[1] == 1:
            column = rows.of(label_vector(X, "X"))
            values: Any = label_array(label_order(None, column, "X"))
            atom = encode(column, tuple(plain(v) for v in values), "X")
        else:
            for values in features.T:
                label_vector(values, "X")  # nothing is missing
            if features.dtype == object:
                kinds = sorted({type(plain(v)).__name__ for v in features.ravel()})
                if kinds != ["str"]:
                    raise DataError(
                        f"`X` mixes columns of {', '.join(kinds)}; several columns must be of one "
                        "kind. Pass X.astype(str).",
                        argument="X",
                    )
                features = features.astype(str)
            values, atom = np.unique(rows.of(features), axis=0, return_inverse=True)
        joint = np.zeros((len(values), *rows.shape))
        np.add.at(joint, (atom.ravel(), rows.y, rows.a), rows.weight)
        joint /= rows.weight.sum()
        out = cls(joint, values=values, classes=rows.classes, groups=rows.groups)
        out = out.with_rows(rows.cells, rows.mass)
        out.effective_rows = effective_rows(rows.weight)
        out.attributes = attribute_names(sensitive_features)
        return out

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
        rng, n, s = check_random_state(random_state), check_count(n, "n"), self.support
        row = rng.choice(len(s.atom), size=n, p=s.weight / s.weight.sum())
        chance = np.cumsum(s.posterior[row], axis=1)
        i = (rng.random(n)[:, None] * chance[:, -1:] > chance).sum(axis=1)
        classes, groups = label_array(self.classes), label_array(self.groups)
        return self.values[s.atom[row]], classes[i], groups[s.group[row]]

    def resampled(self, size: int, rng: np.random.Generator) -> Self:
        """Return the population of `size` rows drawn from this one, counted again.

        Posteriors that were given as scores stay what they are: a sample of rows changes the
        weights alone (were labels drawn and counted, every row would know its own).

        Raises
        ------
        DataError
            If a hundred samples leave a class of some group empty.
        """
        s = self.support
        labels: dict[str, Any] = {
            "values": self._values,
            "classes": self.classes,
            "groups": self.groups,
        }
        for _ in range(100):
            if self.scores_given:
                unit = np.arange(len(s.atom)) if self.group_known else s.atom  # what is drawn
                whole = np.bincount(unit, s.weight)
                count = rng.multinomial(size, whole / whole.sum())[unit]
                kept, share = count > 0, count / size * (s.weight / whole[unit])
                drawn = Support(s.atom[kept], s.group[kept], share[kept], s.score[kept])
                mass = np.zeros((self.n_groups, self.n_classes))
                np.add.at(mass, drawn.group, drawn.posterior * drawn.weight[:, None])
                if np.all(mass > 0):
                    out = self._from_support(drawn, self.n_atoms, **labels)
                    out.attributes, out.group_known = self.attributes, self.group_known
                    return out
                continue
            joint = rng.multinomial(size, self.joint.ravel() / self.joint.sum())
            joint = joint.reshape(self.joint.shape)
            if np.all(joint.sum(axis=0) > 0):
                out = type(self)(joint / size, **labels)
                out.attributes = self.attributes
                return out
        raise DataError(
            f"Samples of {size} rows leave a class of some group empty: too few for bands.",
            argument="sample_size",
        )
