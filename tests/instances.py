"""Populations the tests share, most of them random, and what is made of them."""

import numpy as np
from scipy.stats import multivariate_normal

import fairprog as fp
from fairprog.comparison import Comparison
from fairprog.comparison.measures import FIGURES
from fairprog.comparison.methods import NOTHING

CONVEX = [
    fp.Translation(),
    fp.Scaling(),
    fp.Diagonal(),
    fp.Monotone(),
    fp.Monotone("identity"),
    fp.Whitened(),
]

NOTIONS = {
    "demographic_parity": fp.DemographicParity,
    "equal_opportunity": fp.EqualOpportunity,
    "predictive_equality": fp.PredictiveEquality,
    "equalized_odds": fp.EqualizedOdds,
    "accuracy_parity": fp.AccuracyParity,
}

README = fp.Normal(
    [[0.3, 0.2], [0.3, 0.2]],
    [[0.0, 1.0], [2.0, 2.0]],
    std=[[1.0, 1.0], [1.0, 2.0]],
    groups=["men", "women"],
)
UNIVARIATE = fp.Normal(README.prior, README.mean, std=README.std, groups="ab")


def univariate(rng, K=2, G=2, base_rates="any"):
    """Return a univariate normal population, spreads within a factor of about 8."""
    if base_rates == "equal":
        prior = np.outer(rng.dirichlet(np.full(K, 4.0)), rng.dirichlet(np.full(G, 4.0)))
    else:
        prior = rng.dirichlet(np.full(K * G, 4.0)).reshape(K, G)
    mean = rng.normal(scale=2.0, size=(K, G))
    std = np.exp(rng.uniform(-1.0, 1.0, size=(K, G)))
    return fp.Normal(prior, mean, std=std, groups="abcdef"[:G])


def multivariate(rng, d, K=2, G=2, prior=None):
    """Return a multivariate normal population with Wishart-like covariances."""
    q = rng.dirichlet(np.full(K * G, 5.0)).reshape(K, G) if prior is None else prior
    X = rng.normal(size=(K, G, d, 2 * d + 2))
    cov = X @ np.swapaxes(X, -1, -2) / (2 * d + 2)
    return fp.Normal(q, rng.normal(size=(K, G, d)), cov=cov, groups="abcdef"[:G])


def transformed(D, A, b):
    """Return the population of A x + b."""
    return fp.Normal(
        D.prior,
        D.location @ A.T + b,
        cov=A @ D.cov @ A.T,
        classes=D.classes,
        groups=D.groups,
    )


def random_matrix(rng, d):
    """Return a matrix of condition number at most about 30."""
    U, _, V = np.linalg.svd(rng.normal(size=(d, d)))
    return U @ np.diag(np.exp(rng.uniform(-1.5, 1.5, size=d))) @ V


def problems(program):
    """The convex problem of every group that moves, as the solvers see them."""
    return program._geometry.problems()


def random_categorical(rng, X=8, K=2, G=2, zeros=False):
    """Return a law on X atoms, some of them without mass where `zeros`."""
    joint = rng.dirichlet(np.full(X * K * G, 0.6)).reshape(X, K, G)
    if zeros:
        joint[rng.random((X, K, G)) < 0.3] = 0.0
        joint[0] += 1e-3  # every class keeps mass in every group
    return fp.Categorical(joint / joint.sum(), groups="abcd"[:G])


def ideal_categorical(rng, X=8, K=2, G=2):
    """Return an ideal law on X atoms: the same laws of X given the class in all groups."""
    laws = rng.dirichlet(np.ones(X), size=K)
    rho, p = rng.dirichlet(np.full(K, 3.0)), rng.dirichlet(np.full(G, 3.0))
    return fp.Categorical(np.einsum("i,ix,a->xia", rho, laws, p))


def made_comparison(**figures):
    """A comparison of made-up figures: every method's are (score, worst gap, lots, group AUC)."""
    own = {}
    for name, (score, worst, lot, auc) in {NOTHING: (0.9, 0.4, 0.0, 0.6), **figures}.items():
        line = dict.fromkeys(FIGURES, 0.0) | {
            "score": score, "worst gap": worst, "worst gap, Y=1": worst, "worst gap, Y=0": worst,
            "chance": 0.05, "randomised": lot, "group AUC": auc,
        }  # fmt: skip
        own[name] = np.tile(list(line.values()), (3, 1))
    rows = np.arange(3)
    found = Comparison(
        own, dict.fromkeys(own), fp.EqualizedOdds(), "accuracy", (0, 1), ("a", "b"),
        np.full((2, 2), 50), {}, [(rows, rows)] * 3, lambda rows, cv: found,
    )  # fmt: skip
    return found


def relabelled(D, i, a):
    """Return the same population with its axes permuted; labels travel along."""
    cells = np.ix_(i, a)
    spread = {"std": D.std[cells]} if D.is_univariate else {"cov": D.cov[cells]}
    classes, groups = [D.classes[k] for k in i], [D.groups[k] for k in a]
    return type(D)(D.prior[cells], D.mean[cells], **spread, classes=classes, groups=groups)


def moved(D, maps):
    """Return the population of T_a(X), one affine map (A, b) per group."""
    mean, cov = D.location.copy(), D.cov.copy()
    for a, (A, b) in enumerate(maps):
        mean[:, a], cov[:, a] = mean[:, a] @ A.T + b, A @ cov[:, a] @ A.T
    cov = (cov + np.swapaxes(cov, -1, -2)) / 2
    return fp.Normal(D.prior, mean, cov=cov, classes=D.classes, groups=D.groups)


def posterior(R, X, a):
    """Return P(Y=i | X=x, A=a) under the population R, shape (n, K)."""
    logs = np.stack(
        [
            np.log(R.prior[i, a]) + multivariate_normal(R.location[i, a], R.cov[i, a]).logpdf(X)
            for i in range(R.n_classes)
        ],
        axis=-1,
    )
    out = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return out / out.sum(axis=-1, keepdims=True)


def log_normal(rng, d=1):
    """Return a log-normal population."""
    D = univariate(rng) if d == 1 else multivariate(rng, d)
    spread = {"std": D.std} if d == 1 else {"cov": 0.1 * D.cov}
    return fp.LogNormal(D.prior, D.mean, **spread, groups=D.groups)


def random_map(rng, n=5):
    """Return a piecewise-linear map with n knots."""
    knots, values = (np.cumsum(rng.uniform(0.1, 1.5, size=n)) - 2.0 for _ in range(2))
    return fp.PiecewiseLinearMap(knots, values, *rng.uniform(0.3, 2.0, size=2))


def pooled(D):
    """Return the pooled covariance of all cells."""
    return np.einsum("ia,iajk->jk", D.prior, D.cov)
