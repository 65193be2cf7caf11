"""How first_version.zip was written: by version 0.1.0, before its modules were rebuilt.

``python -m tests.first_version`` in a checkout of that version writes one file of every kind, and
answers.json: what these files must still answer.
"""

import json
import os
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np

import fairprog as fp

FILES = Path(__file__).with_suffix(".zip")
RNG = np.random.default_rng(7)
PRIOR = np.array([[0.3, 0.2], [0.2, 0.3]])
MEAN, STD = np.array([[0.0, 1.0], [2.0, 2.5]]), np.array([[1.0, 1.2], [1.0, 2.0]])
MEANS = RNG.normal(size=(2, 2, 3)) + np.array([0.0, 2.0])[:, None, None]
COV = np.stack([np.stack([A @ A.T + np.eye(3) for A in B]) for B in RNG.normal(size=(2, 2, 3, 3))])
LABELS = {"classes": ["no", "yes"], "groups": ["a", "b"]}
SCORES = np.round(RNG.random(40), 3)
WHO = np.tile(["a", "b"], 20)
ROWS = RNG.normal(size=(5, 3)) + 1.0
GROUPS = np.array(["a", "b", "b", "a", "b"])
JOINT = RNG.dirichlet(np.ones(16)).reshape(4, 2, 2)


def populations():
    diagonal = np.diagonal(COV, axis1=2, axis2=3)
    D = fp.Normal(PRIOR, MEAN, std=STD, **LABELS)
    yield "normal", D, {}
    yield "normal-bound", D, {"map_bound": 0.1}
    yield "normal-all", D, {"steer": "all"}
    yield "normal-any", D, {"transport": fp.Affine(), "orientation": "any"}
    yield "pieces", D, {"transport": fp.PiecewiseLinear(6)}
    named = fp.Normal(PRIOR, MEANS, cov=COV, feature_names=["u", "v", "w"], **LABELS)
    yield "full", named, {}
    yield "full-affine", named, {"transport": fp.Affine()}
    yield "full-keep", named, {"base_rates": "keep", "transport": fp.Whitened("yes")}
    yield "tied", fp.Normal(PRIOR, MEANS, cov=COV[0], covariance="tied", **LABELS), {}
    yield "diagonal", fp.Normal(PRIOR, MEANS, cov=diagonal, covariance="diagonal", **LABELS), {}
    yield (
        "lognormal",
        fp.LogNormal(PRIOR, MEAN, std=STD, **LABELS),
        {
            "base_rates": [0.4, 0.6],
            "steer": "all",
        },
    )
    yield "laplace", fp.Laplace(PRIOR, MEAN, STD, **LABELS), {}
    yield "logistic", fp.Logistic(PRIOR, MEAN, STD, **LABELS), {}
    yield "gumbel", fp.Gumbel(PRIOR, MEAN, STD, **LABELS), {}
    yield "gumbel-min", fp.GumbelMin(PRIOR, MEAN, STD, **LABELS), {}
    yield "shifted-exponential", fp.ShiftedExponential(PRIOR, MEAN, STD, **LABELS), {}
    yield "weibull", fp.Weibull(PRIOR, STD, MEAN + 1.0, **LABELS), {}
    shape = np.array([[1.5, 1.5], [3.0, 3.0]])
    yield "gamma", fp.Gamma(PRIOR, shape, MEAN + 1.0, **LABELS), {"steer": "all"}
    yield "exponential", fp.Exponential(PRIOR, MEAN + 1.0, **LABELS), {}
    base = fp.Logistic(PRIOR, MEAN, STD, **LABELS)
    for bijection in (
        fp.Log(),
        fp.Logit(),
        fp.Power(0.5),
        fp.YeoJohnson([0.7]),
        fp.QuantileNormal([[0.0], [1.0], [3.0]], [[-1.0], [0.5], [2.0]]),
    ):
        yield f"transformed-{type(bijection).__name__}", fp.Transformed(base, bijection), {}
    yield "categorical", fp.Categorical(JOINT, values=list("uvwx"), **LABELS), {}
    counted = fp.Categorical.from_scores(SCORES, sensitive_features=WHO, bins=4)
    yield "scores", counted, {"steer": "all"}


def solutions():
    for name, D, options in populations():
        D_steer = options.get("steer", [D.groups[1]])
        yield name, fp.NearestIdeal(D, **(options | {"steer": D_steer})).solve()


def moments():
    X, y = RNG.normal(size=(60, 3)), np.tile(["no", "yes", "yes"], 20)
    for covariance in ("full", "tied", "diagonal"):
        kept = fp.Moments(covariance).partial_fit(X, y, sensitive_features=np.tile(WHO, 2)[:60])
        kept.source = "rows of a test"
        yield f"moments-{covariance}", kept


def steps():
    D = fp.Normal(PRIOR, MEANS, cov=COV, **LABELS)
    X, y, a = D.sample(300, random_state=0)
    who = {"sensitive_features": a}
    yield "ideal-steering", fp.IdealSteering(snap=None).fit(X, y, **who)
    yield "score-steering", fp.ScoreSteering(space="identity").fit(X[:, 0], y, **who)
    yield (
        "score-steering-normal",
        fp.ScoreSteering("normal", space="identity").fit(X[:, 0], y, **who),
    )
    yield "concept-steering", fp.ConceptSteering(n_probes=5).fit(X, y, **who)
    yield "quantile-map", fp.QuantileMap.fit(X[:, 0], y, **who)


def classifiers():
    D = fp.Categorical.from_scores(SCORES, sensitive_features=WHO)
    notion = fp.EqualizedOdds(difference_bound=0.05)
    yield "classifier", fp.FairClassifier(D, None, [notion]).solve()
    counted = fp.Categorical.from_scores(SCORES, sensitive_features=WHO, bins=5)
    risk = fp.CostSensitiveRisk([[0, 1], [2, 0]]) + 0.1 * fp.RenyiInformation()
    yield (
        "classifier-bins",
        fp.FairClassifier(
            counted, risk, [fp.RiskBound(fp.ErrorRate(), 0.4)], uses_group=False
        ).solve(),
    )


def answers(kept):
    """Return figures that a file must still give."""
    if isinstance(kept, fp.Solution):
        D, E = kept.original, kept.population
        out = {"kl": kept.kl, "divergence": E.kl(D), "prior": E.prior.tolist()}
        if kept.moves_rows:
            rows = np.abs(ROWS[:, : D.n_features]) / 4.0
            moved = kept.align(rows, sensitive_features=GROUPS)
            out["aligned"] = np.asarray(moved).tolist()
            out["error"] = D.evaluate().error
        return out
    if isinstance(kept, fp.ClassifierSolution):
        return {"risk": kept.risk, "table": kept.table.Z.tolist(), "price": dict(kept.price)}
    if isinstance(kept, fp.Moments):
        D = kept.population(shrinkage=0.5 if kept.covariance == "full" else 0.0)
        return {"rows": kept.n_rows, "mean": D.mean.tolist(), "std": D.std.tolist()}
    if isinstance(kept, fp.ConceptSteering):
        return {"effects": kept.effect_curve([0.5, 1.0]).to_numpy().tolist()}
    column = ROWS if isinstance(kept, fp.IdealSteering) else ROWS[:, 0]
    return {"moved": np.asarray(kept.transform(column, sensitive_features=GROUPS)).tolist()}


def table(folder):
    """Write the model of a steered table, as the command line does."""
    from fairprog.cli import main

    D = fp.Normal(PRIOR, MEANS, cov=COV, **LABELS)
    X, y, a = D.sample(200, random_state=1)
    rows = [f"{u:.4f},{v:.4f},{i},{g}" for (u, v, _), i, g in zip(X, y, a, strict=True)]
    (folder / "data.csv").write_text("\n".join(["u,v,label,who", *rows]) + "\n")
    told = ["--label", "label", "--sensitive", "who", "--splits", "2"]
    model = ["--model", str(folder / "table.json")]
    assert main(["steer", str(folder / "data.csv"), *told, *model]) == 0
    (folder / "data.csv").unlink()


def write(folder):
    """Write every file, and the answers."""
    found = {}
    for kinds in (solutions, moments, steps, classifiers):
        for name, kept in kinds():
            kept.save(folder / f"{name}.json")
            found[name] = answers(kept)
    table(folder)
    found["table"] = answers(fp.load(folder / "table.json").solution)
    (folder / "answers.json").write_text(json.dumps(found, sort_keys=True))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(Path(name))
        with zipfile.ZipFile(FILES, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in sorted(Path(name).iterdir()):
                archive.write(path, path.name)
    print(FILES, os.path.getsize(FILES))
