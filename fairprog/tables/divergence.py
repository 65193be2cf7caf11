"""Distance from a reference rule: to stay near a score, a randomised rule, a preference model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fairprog.errors import DataError, ModelError
from fairprog.labels import Array, Indices, check_finite
from fairprog.tables.atom_table import atoms_of
from fairprog.tables.outcome import OutcomeTable
from fairprog.tables.risks import Risk
from fairprog.tables.templates import TableView, Term

KINDS = ("kl", "chi2")


@dataclass(frozen=True, repr=False)
class Divergence(Risk):
    """E D(h(.|x,a) || reference(.|x,a)): use it as a penalty, or alone as what is minimised.

    KL sum_j h_j log(h_j / pi_j) in nats, or chi-square sum_j (h_j - pi_j)^2 / pi_j. Under linear
    notions the KL optimum is the reference tilted, h_j proportional to pi_j exp(-(c_j + sum_e
    lambda_ej P(e|x,a) / P(e|a)) / weight), which is found by Newton's method on the multipliers.

    Source: Alghamdi, Hsu, Jeong, Wang, Michalak, Asoodeh, Calmon, *Beyond
    Adult and COMPAS: fair multi-class prediction via information projection*, 2022.

    Parameters
    ----------
    reference : array_like, shape (m, K) or (X, K), or (m,) or (X,) for two classes
        A law of the prediction per pair (x, a) of ``population.support`` or per atom; of two
        classes P(Yhat = last class). Or a classifier, whose ``h`` is taken. Positive: give zeros
        a floor first, no rule can leave them at finite divergence.
    kind : {"kl", "chi2"}, default "kl"

    Raises
    ------
    DataError
        For laws that are not positive or do not sum to one (to 1e-6), or do not fit the support.
    ModelError
        For an unknown kind.

    Examples
    --------
    >>> import fairprog as fp
    >>> scores = [.2, .8, .4, .9]
    >>> D = fp.Categorical.from_scores(scores, sensitive_features=list("aabb"))
    >>> near = fp.FairClassifier(D, fp.Divergence(scores), [fp.DemographicParity()]).solve()
    >>> near.solver, near.classifier.h[:, 1].round(3)
    ('tilt', array([0.283, 0.864, 0.296, 0.85 ]))
    """

    reference: Any = ()
    kind: str = "kl"
    name: ClassVar[str] = "divergence"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ModelError(
                f"`kind` must be one of {list(KINDS)}; found {self.kind!r}.", argument="kind"
            )
        pi = check_laws(getattr(self.reference, "h", self.reference))
        object.__setattr__(self, "reference", tuple(map(tuple, pi.tolist())))

    def rows(self, atom: Indices, K: int) -> Array:
        """Return the reference of every pair of a support, shape (m, K)."""
        pi = np.array(self.reference)
        if pi.shape[1] == K and len(pi) == len(atom):
            return pi
        if pi.shape[1] == K and len(pi) == atom.max() + 1:
            return np.asarray(pi[atom])
        raise DataError(
            f"`reference` has shape {pi.shape}; needed is ({len(atom)}, {K}), a law per pair of "
            f"the support, or ({atom.max() + 1}, {K}), one per atom.",
            argument="reference",
        )

    def evaluate(self, table: OutcomeTable) -> float:
        """Return the mean divergence."""
        known = atoms_of(table, self)
        h, pi = known.h, self.rows(known.atom, len(table.classes))
        if self.kind == "kl":
            each = np.where(h > 0, h * np.log(np.where(h > 0, h, 1.0) / pi), 0.0)
        else:
            each = (h - pi) ** 2 / pi
        return float(known.weight @ each.sum(axis=1))

    def express(self, view: TableView) -> list[Term]:
        """Return the one term to minimise."""
        cp, weight = view.functions, np.asarray(view.weight)[:, None]
        pi = self.rows(view.atom, len(view.classes))
        if self.kind == "kl":
            total = cp.sum(cp.multiply(np.broadcast_to(weight, pi.shape), cp.rel_entr(view.h, pi)))
        else:
            total = cp.sum_squares(cp.multiply(np.sqrt(weight / pi), view.h - pi))
        return [Term(total, "minimize", 0.0, self.name)]


def check_laws(reference: Any) -> Array:
    """Return positive laws of the prediction, shape (m, K); one column is P(Yhat = last class).

    Raises
    ------
    DataError
        For NaN, entries that are not positive, or laws that do not sum to one (to 1e-6).
    """
    pi = check_finite(reference, "reference")
    pi = np.stack([1.0 - pi, pi], axis=1) if pi.ndim == 1 else pi
    least = pi.min(initial=1)
    if pi.ndim != 2 or not len(pi) or least <= 0 or abs(pi.sum(axis=1) - 1).max() > 1e-6:
        floor = ""
        if least == 0:
            floor = " Give zeros a floor: numpy.maximum(p, 1e-6), divided by the sums of rows."
        raise DataError(
            "`reference` must hold positive laws of the prediction that sum to one, shape (m, K); "
            f"its shape is {pi.shape}, its smallest entry {least:.3g}.{floor}",
            argument="reference",
        )
    return pi
