"""The answer of `FairClassifier`: the classifier, what fairness costs, and the proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from fairprog.codec import Saved, register
from fairprog.errors import DataError
from fairprog.fields import array, either, least, read, refuse
from fairprog.labels import Array, printable
from fairprog.pictures import Reported
from fairprog.populations import Categorical, population_from_dict
from fairprog.solution.certificate import Checked
from fairprog.solution.classifier import RandomizedClassifier
from fairprog.solution.solution import PRICES
from fairprog.tables import Constraint, Notion, OutcomeTable, Risk, template_from_dict

TOLERANCE = 1e-6


@dataclass(frozen=True)
class ClassifierCertificate(Checked):
    """Residuals recomputed in numpy from the answer.

    What is a risk is relative to the risk's unit: the largest difference between two costs of a
    class for an expected cost (what a class pays whatever is predicted decides nothing), the
    largest absolute cost for risks of groups and tails, its square for a variance, the largest
    weighted unit for a sum, 1 for other risks. What is a probability is absolute.

    Attributes
    ----------
    violation : float
        Worst violation of a template by the outcome table of the returned classifier.
    risk_gap : float
        Between the risk of the returned classifier and the optimum of the program.
    primal_residual, dual_residual : float
        Infeasibility of the primal and dual points of the program in standard form.
    slackness : float
        Largest product of multiplier and slack, and by how much the classifier misses the smallest
        adjusted cost over all classifiers.
    duality_gap : float
        Between the primal and the dual value.
    globally_optimal : bool
        False where a level was searched: the answer is the best of the levels tried.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"))
    >>> sol = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualOpportunity()]).solve()
    >>> sol.certificate.ok, sol.certificate.duality_gap < 1e-9
    (True, True)
    """

    violation: float
    risk_gap: float
    primal_residual: float
    dual_residual: float
    slackness: float
    duality_gap: float
    globally_optimal: bool = True

    def checks(self) -> list[tuple[str, float, float]]:
        """Return (name, residual, tolerance), 1e-6, of everything that ``ok`` asks for."""
        residuals = {f.name: getattr(self, f.name) for f in fields(self)}
        del residuals["globally_optimal"]
        return [(name, value, TOLERANCE) for name, value in residuals.items()]


@dataclass(frozen=True, eq=False)
class ClassifierSolution(Reported, Saved):
    """The optimal fair classifier, proven; returned by ``FairClassifier.solve()``.

    Source: theory.md section 8.

    Attributes
    ----------
    risk : float
        Of the returned classifier, evaluated by the risk's own numpy face.
    table : OutcomeTable
        Z[a, i, j] = P(A=a, Y=i, Yhat=j). An AtomTable, which knows the individuals, unless more
        than 20,000 scores were sorted; then ``population.table(classifier.h)`` is one.
    classifier : RandomizedClassifier
    price : dict name -> float
        What tightening the bound by one unit costs: minus d risk / d bound (plus, for a ratio
        bound). The smallest valid price, all at once: 0 where fairness is free.
    price_interval : dict name -> (float, float)
        Lowest and highest valid price, minus the one-sided derivatives of the risk; for linear
        programs. At bound 0 every larger price is valid too: the upper end is infinite.
    duals : dict address -> Array
        Multipliers in CVXPY's sign.
    sensitivity : dict address -> Array
        Signed: d risk / d delta when that constraint's target is shifted by delta.
    certificate : ClassifierCertificate
    settings : dict
        ``risk``, ``constraints`` by name, ``uses_group``.
    solver : str
    seconds : float

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"))
    >>> sol = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualOpportunity()]).solve()
    >>> fp.EqualOpportunity().gap(sol.table) < 1e-9, sol.price["equal_opportunity"] > 0
    (True, True)
    >>> "What fairness costs" in sol.to_html()
    True
    """

    _kind: ClassVar[str] = "classifier_solution"

    risk: float
    table: OutcomeTable
    classifier: RandomizedClassifier
    price: Mapping[str, float]
    price_interval: Mapping[str, tuple[float, float]]
    duals: Mapping[str, Array]
    sensitivity: Mapping[str, Array]
    certificate: ClassifierCertificate
    settings: Mapping[str, Any]
    solver: str
    seconds: float = field(default=0.0, compare=False)

    def __post_init__(self) -> None:
        for name in ("price", "price_interval", "duals", "sensitivity", "settings"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by the fields."""
        values = (getattr(self, f.name) for f in fields(self))
        return type(self), tuple(dict(v) if isinstance(v, Mapping) else v for v in values)

    def summary(self) -> str:
        """Return a report in plain text: risk, gaps, prices, thresholds, certificate.

        Examples
        --------
        >>> import fairprog as fp
        >>> D = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"))
        >>> sol = fp.FairClassifier(D, fp.ErrorRate(), [fp.DemographicParity()]).solve()
        >>> print(sol.summary().splitlines()[0])
        Fair classifier (group-aware) on 4 atoms, 2 groups: error_rate = 0.225
        """
        rule = self.classifier
        kind = "group-aware" if rule.uses_group else "group-blind"
        D, cert = rule.population, self.certificate
        lines = [
            f"Fair classifier ({kind}) on {D.n_atoms} atoms, {D.n_groups} groups: "
            f"{self.settings['risk'].name} = {self.risk:.6g}",
            f"  accuracy {self.table.accuracy:.4f}   ({self.solver}, {self.seconds:.2g} s)",
        ]
        for key, template in self.settings["constraints"].items():
            line = f"  {key:28}"
            if isinstance(template, Notion) and not np.isnan(template.evaluate(self.table)).any():
                line += f" gap {template.gap(self.table):.4f}"
            if isinstance(template, Constraint) and template.bound is not None:
                line += f"   bound {template.bound:g}"
            if key in self.price:
                line += f"   price {self.price[key]:.4g}"
            if key in self.price_interval:
                low, high = self.price_interval[key]
                line += f" in [{low:.4g}, {high:.4g}]"
            lines.append(line)
        top = sorted(self.sensitivity.items(), key=lambda item: -float(np.abs(item[1]).max()))
        if top and float(np.abs(top[0][1]).max()) > 1e-9:
            lines.append("  most costly constraints (d risk / d target)")
            width = max(30, *(len(where) for where, _ in top[:4]))
            for where, value in top[:4]:
                flat = np.ravel(value)
                lines.append(f"    {where:{width}} {flat[np.argmax(np.abs(flat))]:10.4f}")
        if rule.thresholds is not None:
            parts = ", ".join(f"{g}: {t:.4f}" for g, t in rule.thresholds.items())
            lines.append(f"  thresholds on P(Y={D.classes[-1]} | x, a): {parts}")
        lines.append(
            f"  certificate: {'ok' if cert.ok else 'NOT ok'}, "
            f"{'global' if cert.globally_optimal else 'best of the levels searched'}; "
            f"duality gap {cert.duality_gap:.1e}, violation {max(cert.violation, 0.0):.1e}"
        )
        return printable("\n".join(lines), (*D.classes, *D.groups))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data (arrays, labels, text) that :meth:`from_dict` reads back."""
        constraints = {
            key: c.to_dict() if isinstance(c, Constraint) else _name(c)
            for key, c in self.settings["constraints"].items()
        }
        rule = self.classifier
        return {
            "risk": self.risk,
            "population": rule.population.to_dict(),
            "h": rule.h,
            "costs": rule.costs,
            "divergence_weight": rule.divergence_weight,
            "uses_group": rule.uses_group,
            "price": dict(self.price),
            "price_interval": dict(self.price_interval),
            "duals": dict(self.duals),
            "sensitivity": dict(self.sensitivity),
            "certificate": vars(self.certificate),
            "settings": {
                **self.settings,
                "risk": self.settings["risk"].to_dict(),
                "constraints": constraints,
            },
            "solver": self.solver,
            "seconds": self.seconds,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ClassifierSolution:
        """Rebuild a solution from :meth:`to_dict`; custom constraints stay names."""
        data = read(data, "classifier", FIELDS)
        population = population_from_dict(data.pop("population"))
        if not isinstance(population, Categorical):
            raise DataError("The file holds a population of another family.", argument="path")
        m, K, G = len(population.support.weight), population.n_classes, population.n_groups
        rule = {name: data.pop(name) for name in RULE}
        shapes = {"h": array(m, K), "costs": either(None, array(G, K, K)), "uses_group": bool}
        shapes |= {"divergence_weight": either(None, least(1e-300))}
        h = read(rule, "classifier", shapes)["h"]
        if h.min() < -1e-6 or np.abs(h.sum(axis=1) - 1.0).max() > 1e-6:
            raise refuse("`classifier.h` holds no laws of the prediction")
        settings = read(data["settings"], "settings", SETTINGS)
        settings["risk"] = template_from_dict(settings["risk"])
        settings["constraints"] = {
            key: c if isinstance(c, str) else template_from_dict(c)
            for key, c in settings["constraints"].items()
        }
        kinds = {"risk": Risk, "constraints": {str: either(str, Constraint)}, "uses_group": bool}
        read(settings, "settings", kinds)
        residuals = read(data["certificate"], "certificate", CERTIFICATE)
        data |= {"settings": settings, "certificate": ClassifierCertificate(**residuals)}
        classifier = RandomizedClassifier(population, **rule)
        return cls(table=population.table(h), classifier=classifier, **data)

    def __repr__(self) -> str:
        return (
            f"ClassifierSolution({self.settings['risk'].name}={self.risk:.6g}, "
            f"solver={self.solver!r})"
        )


def _name(condition: Any) -> str:
    return condition if isinstance(condition, str) else str(condition.qualified_name())


FIELDS = PRICES | {
    "risk": float,
    "population certificate settings": Mapping,
    "h uses_group costs divergence_weight?": lambda v: True,
}
RULE = ("h", "uses_group", "costs", "divergence_weight")
SETTINGS = {"risk": Mapping, "constraints": {str: either(str, Mapping)}, "uses_group": bool}
CERTIFICATE = {f.name: float for f in fields(ClassifierCertificate)} | {"globally_optimal": bool}
register("classifier_solution", ClassifierSolution.from_dict)
