"""What fitted steering vectors can do: predict effects, be calibrated, go to files."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit
from sklearn.utils.validation import check_is_fitted

from fairprog.errors import DataError, FairprogWarning, ModelError
from fairprog.estimators.measured_effects import (
    FIELDS,
    ONE_SIDED,
    OWN,
    SHARED,
    Direction,
    calibration_report,
    column,
    next_word_effects_of,
    significant,
)
from fairprog.estimators.step import SavedStep
from fairprog.fields import array, either, least
from fairprog.kernels.statistics.matched_effects import fluent_strengths
from fairprog.labels import Array, check_finite, check_number, index_of, plain
from fairprog.populations import Normal
from fairprog.solution import Solution

UNITS = ("log-odds", "probability")


class SteeringVectors(SavedStep):
    """One steering vector and one probe per group, which a subclass finds by `fit`."""

    steer: Any
    desired: Any
    transport: Any
    groups_: Any
    classes_: Any
    reference_: Hashable
    n_features_in_: int
    shared_vector_: Array
    vectors_: dict[Hashable, Array]
    concept_vectors_: dict[Hashable, Array]
    probes_: dict[Hashable, tuple[Array, float]]
    population_: Normal | None
    solution_: Solution | None
    matched_strength_: float | None
    matched_effect_: float | None
    calibration_: str | None
    source_: dict[str, Any] | None
    _more: ClassVar[dict[str, Any]] = {
        "calibration?": either(None, str),
        "source?": either(None, {str: either(str, int)}),
    }
    _log_odds: dict[Hashable, Array]

    @staticmethod
    def _kept(groups: Sequence[Hashable], d: int) -> dict[str, Any]:
        vectors = dict.fromkeys(groups, array(d))
        return {
            "reference_": frozenset(groups),
            "basis_": array(d, None),
            "shared_vector_": array(d),
            "concept_vectors_": vectors,
            "vectors_": vectors,
            "probes_": dict.fromkeys(groups, (array(d), float)),
            "matched_strength_": either(None, least(0)),
            "matched_effect_": either(None, least(0)),
            "_log_odds": dict.fromkeys(groups, array(None)),
        }

    # -- effects --

    def effect_curve(
        self, strengths: ArrayLike, *, vectors: Any = "steered", unit: str = "log-odds"
    ) -> pd.DataFrame:
        r"""Return the effect the probes predict at each strength, per group.

        In log-odds it is :math:`t\, w_a' v_a`; in probability the mean over the group's fitted
        states of :math:`\sigma(w_a'(h + t v_a) + c_a) - \sigma(w_a'h + c_a)`.

        Parameters
        ----------
        strengths : array_like, shape (n,)
        vectors : {"steered", "own", "shared"} or mapping of group to array_like, shape (d,)
            The steering vectors, the groups' own concept vectors, the shared one, or any others.
        unit : {"log-odds", "probability"}

        Returns
        -------
        DataFrame
            One row per strength, one column per group.

        Raises
        ------
        DataError
            For strengths or vectors that are not finite, or a group without a vector.
        ModelError
            For another unit or name of vectors.
        """
        check_is_fitted(self, "vectors_")
        if unit not in UNITS:
            raise ModelError(
                f"`unit` must be one of {list(UNITS)}; found {unit!r}.", argument="unit"
            )
        t = np.ravel(check_finite(strengths, "strengths"))
        used = self._named(vectors)
        columns = {}
        for g, (w, _) in self.probes_.items():
            added = t * float(w @ used[g])
            if unit == "probability":
                at = self._log_odds[g]
                added = (expit(at[:, None] + added) - expit(at)[:, None]).mean(axis=0)
            columns[g] = added
        return pd.DataFrame(columns, index=pd.Index(t, name="strength"))

    def _named(self, vectors: Any) -> Mapping[Hashable, Array]:
        groups = list(self.probes_)
        if isinstance(vectors, str):
            known = {
                "steered": self.vectors_,
                "own": self.concept_vectors_,
                "shared": dict.fromkeys(groups, self.shared_vector_),
            }
            if vectors not in known:
                raise ModelError(
                    f"`vectors` must be one of {list(known)} or a mapping; found {vectors!r}.",
                    argument="vectors",
                )
            return known[vectors]
        if not hasattr(vectors, "items"):
            raise ModelError(
                f"`vectors` must be a name or map every group to a vector; found "
                f"{type(vectors).__name__}.",
                argument="vectors",
            )
        missing = [g for g in groups if g not in vectors]
        if missing:
            raise DataError(f"`vectors` has none for group {missing[0]!r}.", argument="vectors")
        return {g: check_finite(vectors[g], "vectors", (self.n_features_in_,)) for g in groups}

    def calibrate(
        self,
        strengths: ArrayLike,
        effects: Mapping[Any, Any],
        *,
        shared: Mapping[Any, Any] | None = None,
        scale: str = "log-odds",
        target: float | None = None,
        perplexity_ratio: Mapping[Any, ArrayLike] | None = None,
        perplexity_error: Mapping[Any, ArrayLike] | None = None,
        tolerance: float | None = None,
    ) -> dict[Hashable, float]:
        r"""Rescale the vectors so that effects measured in a model agree between the groups.

        With :math:`t_a(E)` the least strength at which group a shows the effect E, curves being
        linear between (0, 0) and the measured points, and r the group that needs the least, group
        a's vector is multiplied by

        .. math:: k_a = t_a(E) / t_r(E) , \qquad E = \min(\text{target}, \min_a \max_t e_a(t)) .

        At strength `matched_strength_` = :math:`t_r(E)` every group then has the effect
        `matched_effect_` = E, and r is the `reference_`: the measured one, whatever the probes
        said. Strengths at which texts are no longer fluent do not count.

        With effects of the shared vector too (`shared`) there are two directions, each with a
        length for every group. Taken is the one whose E is larger; of two that reach the target,
        the one with the smaller geometric mean of the groups' perplexity ratios at E. Where that
        is the shared one, group a gets :math:`k_a` times `shared_vector_`.

        Parameters
        ----------
        strengths : array_like, shape (n,)
            Positive, increasing.
        effects : mapping of group to array_like, shape (n,), or to n Effects
            What was measured with `vectors_` at these strengths, on other texts than those the
            result will be judged by: effects on generated texts, or those on the next word
            (:func:`fairprog.torch.next_word_effects`), which need no sampling.
        shared : mapping of group to n Effects, optional
            The same of `shared_vector_` in every group: whether it suffices as it is, and which
            direction is taken, is then said by `calibration_`.
        scale : {"log-odds", "probability"}
            Which effects on the next word are equalised; `calibration_` tells both.
        target : float, optional
            Effect at which to match; default the largest that all groups reach.
        perplexity_ratio : mapping of group to array_like, shape (n,), optional
            Perplexity of the steered texts over that of unsteered ones. From the first strength
            at which a group's exceeds 1 + `tolerance`, its effects do not count. Without it a
            vector may be lengthened until the effect is there and the language is not. Effects on
            the next word bring their own, which counts where a `tolerance` is given.
        perplexity_error : mapping of group to array_like, shape (n,), optional
            Standard errors of these ratios: a strength is refused only where its ratio is above
            the limit by more than chance (95 %, one-sided).
        tolerance : float in [0, 1], optional
            Default 0.03 where `perplexity_ratio` is given.

        Returns
        -------
        dict group -> float
            The factors of the direction that is taken; 1 for the reference.

        Raises
        ------
        DataError
            For strengths that do not increase, unknown or missing groups, ratios that are not
            positive, or a group without a positive effect where its texts are fluent; for `shared`
            beside effects of another kind than those on the next word.
        ModelError
            For another scale.

        Warns
        -----
        FairprogWarning
            Where a group does not reach the target: E is then the largest effect all reach. For a
            factor beyond 10 or below 1/10, and an E that is not told from zero. Where the vectors
            have been calibrated before: the effects must be those of the vectors as they are now.

        Examples
        --------
        Group 1 responds half as much as the probes predict, and babbles from strength 4 on.

        >>> import numpy as np, fairprog as fp
        >>> rng = np.random.default_rng(0)
        >>> y, a = rng.integers(0, 2, (2, 1000))
        >>> X = rng.normal(size=(1000, 4)) + 2.0 * y[:, None]
        >>> step = fp.ConceptSteering(n_probes=20).fit(X, y, sensitive_features=a)
        >>> slow = 1 - step.reference_
        >>> measured = {step.reference_: [.1, .2, .4, .5], slow: [.05, .1, .2, .4]}
        >>> fluent = {step.reference_: [1., 1., 1., 1.01], slow: [1., 1., 1.01, 7.]}
        >>> step.calibrate([1., 2., 4., 8.], measured, perplexity_ratio=fluent)[slow]
        2.0
        >>> step.matched_strength_, step.matched_effect_
        (2.0, 0.2)
        """
        check_is_fitted(self, "vectors_")
        if scale not in FIELDS:
            raise ModelError(
                f"`scale` must be one of {list(FIELDS)}; found {scale!r}.", argument="scale"
            )
        t = np.atleast_1d(check_finite(strengths, "strengths"))
        if t.ndim != 1 or not (t.size and t[0] > 0 and (np.diff(t) > 0).all()):
            raise DataError("`strengths` must be positive and increase.", argument="strengths")
        most = np.inf if target is None else check_number(target, "target")
        if not most > 0:
            raise DataError(f"`target` must be positive; found {target!r}.", argument="target")
        limited = tolerance is not None or perplexity_ratio is not None
        limit = _checked(tolerance) if limited else np.inf
        limits = {"perplexity_ratio": perplexity_ratio, "perplexity_error": perplexity_error}
        own = OWN, self.vectors_
        taken, other = self._direction(*own, t, effects, scale, limit, limits), None
        if shared is not None:
            common = SHARED, dict.fromkeys(self.vectors_, self.shared_vector_)
            other = self._direction(*common, t, shared, scale, limit, {})
            if other.effects is None or taken.effects is None:
                raise DataError(
                    "`shared` and `effects` must be effects on the next word, those of "
                    "fairprog.torch.next_word_effects.",
                    argument="shared",
                )
            if other.rank(most) > taken.rank(most):
                taken, other = other, taken
        taken.require(limit)
        if self.matched_strength_ is not None:
            _warn(
                "The vectors have been calibrated before: `effects` must be those of the vectors "
                "as they are now, or the factors are applied twice."
            )
        effect = taken.reach(most)
        if effect < most < np.inf:
            weakest = min(taken.curves, key=lambda g: taken.curves[g].max())
            where = "where its texts are fluent" if limited else "that were measured"
            _warn(
                f"Group {weakest!r} reaches an effect of at most {effect:.3g} at strengths "
                f"{where}, not {most:.3g}: effects are matched at {effect:.3g}."
            )
        for g, found in (taken.effects or {}).items():
            k = int(np.argmax(taken.curves[g] >= effect))
            value, error = taken.curves[g][k], column(found, f"{FIELDS[scale]}_error")[k]
            if not significant(value, error, 0.0):
                _warn(
                    f"The effect on group {g!r}, {value:.3g} ± {error:.2g} in {scale}, "
                    "is not told from zero: its factor is mostly chance. Measure on more prompts."
                )
        needed = {g: taken.strength(g, effect) for g in self.vectors_}
        reference = min(needed, key=lambda g: (needed[g], g != self.reference_))
        factors = {g: needed[g] / needed[reference] for g in self.vectors_}
        for g, factor in factors.items():
            if not 0.1 <= factor <= 10.0:
                _warn(
                    f"The vector of group {g!r} is multiplied by {factor:.3g} to have the effect "
                    f"{effect:.3g}: look whether effects so small are more than noise."
                )
        self.calibration_ = None
        if taken.effects is not None:
            at = scale, effect, needed[reference]
            self.calibration_ = calibration_report(*at, factors, taken, other)
        self.matched_effect_, self.matched_strength_ = effect, needed[reference]
        self.reference_ = reference
        self.vectors_ = {g: factors[g] * v for g, v in taken.vectors.items()}
        return factors

    def _direction(
        self,
        name: str,
        vectors: Mapping[Hashable, Array],
        t: Array,
        given: Any,
        scale: str,
        limit: float,
        limits: Mapping[str, Any],
    ) -> Direction:
        """Return what was measured of a direction, as far as texts are fluent, checked."""
        measured = next_word_effects_of(given)
        if measured is not None:
            given = {g: column(own, FIELDS[scale]) for g, own in measured.items()}
            if limits.get("perplexity_ratio") is None:
                limits = {
                    key: {g: column(own, key) for g, own in measured.items()}
                    for key in ("perplexity_ratio", "perplexity_error")
                }
        curves = self._by_group(given, "effects", t)
        if limit < np.inf:
            ratios = self._by_group(limits["perplexity_ratio"], "perplexity_ratio", t)
            if limits["perplexity_error"] is not None:  # above by chance alone is not refused
                error = self._by_group(limits["perplexity_error"], "perplexity_error", t)
                ratios = {g: ratio - ONE_SIDED * error[g] for g, ratio in ratios.items()}
            curves = {g: e[: fluent_strengths(ratios[g], limit)] for g, e in curves.items()}
        return Direction(name, vectors, t, curves, measured)

    def _by_group(self, given: Any, name: str, strengths: Array) -> dict[Hashable, Array]:
        """Return curves under the groups' own labels, checked."""
        if not hasattr(given, "items"):
            raise DataError(
                f"`{name}` must map every group to an array; found {type(given).__name__}.",
                argument=name,
            )
        groups, curves = tuple(self.vectors_), {}
        for label, values in given.items():
            g = groups[index_of(groups, label, name)]
            curves[g] = check_finite(values, f"{name}[{g!r}]", strengths.shape)
            if name == "perplexity_ratio" and not (curves[g] > 0).all():
                raise DataError(
                    f"`{name}` of group {g!r} must be positive: perplexity of steered texts over "
                    "that of unsteered ones, no difference and no logarithm.",
                    argument=name,
                    cell=(None, g),
                )
        missing = [g for g in groups if g not in curves]
        if missing:
            raise DataError(f"`{name}` has none of group {missing[0]!r}.", argument=name)
        return curves

    # -- files --

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_dict` reads back."""
        data = super().to_dict()
        if not isinstance(self.steer, str):
            data["params"]["steer"] = [plain(g) for g in self.steer]
        data["params"]["desired"] = plain(self.desired)
        return data | {"calibration": self.calibration_, "source": self.source_}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the step from :meth:`to_dict`."""
        out = super().from_dict(data)
        found = None if out.solution_ is None else out.solution_.original
        out.population_ = found if isinstance(found, Normal) else None
        out.calibration_, out.source_ = data.get("calibration"), data.get("source")
        return out


def _checked(tolerance: float | None) -> float:
    """Return by how much a perplexity ratio may exceed one."""
    tolerance = 0.03 if tolerance is None else tolerance
    if check_number(tolerance, "tolerance") > 1.0:
        raise DataError(
            f"`tolerance` must be in [0, 1], as 0.03 for 3 %; found {tolerance!r}.",
            argument="tolerance",
        )
    return tolerance


def _warn(text: str, stacklevel: int = 3) -> None:
    """Warn the caller of `calibrate`."""
    warnings.warn(text, FairprogWarning, stacklevel=stacklevel)
