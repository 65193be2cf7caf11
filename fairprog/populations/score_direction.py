"""Whether scores run with the classes, and tell them at all."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence

from fairprog.errors import FairprogWarning
from fairprog.kernels.statistics.ranking import auc
from fairprog.labels import Array, Indices


def warn_of_direction(
    score: Array,
    y: Indices,
    a: Indices,
    weight: Array,
    classes: Sequence[Hashable],
    stacklevel: int,
) -> None:
    """Warn if scores run against two classes, or tell two groups and hardly the classes.

    Parameters
    ----------
    score, weight : Array, shape (n,)
    y, a : Indices, shape (n,)
        Positions of class and group.
    classes : two labels
        The last is the positive one.
    stacklevel : int
        As of :func:`warnings.warn`, seen from the caller.
    """
    told = auc(score, y == 1, weight)
    if told < 0.5:
        warnings.warn(
            f"Scores are lower for class {classes[1]!r}, the last and so the positive one, than "
            f"for {classes[0]!r} (AUC {told:.3f}): pass the score of the last class (1 - score, "
            "or the other column of predict_proba), or name the classes the other way round.",
            FairprogWarning,
            stacklevel=stacklevel + 1,
        )
    elif a.max() == 1 and told < 0.65:
        by_group = auc(score, a == 1, weight)
        by_group = max(by_group, 1.0 - by_group)
        if by_group > told + 0.05:
            warnings.warn(
                f"Scores tell the groups (AUC {by_group:.3f}) better than the classes "
                f"({told:.3f}): were labels and `sensitive_features` swapped?",
                FairprogWarning,
                stacklevel=stacklevel + 1,
            )
