"""People with posteriors and groups, and the fair linear program written out for them."""

import numpy as np
from scipy.optimize import linprog


def scored(n=400, K=2, seed=0):
    """Return posteriors and groups, the second of which is scored higher."""
    rng = np.random.default_rng(seed)
    a = rng.choice(["f", "m"], n)
    p = rng.dirichlet(np.ones(K), n)
    p[a == "m", -1] += 0.3
    return p / p.sum(axis=1, keepdims=True), a


def written_out(p, a, conditions, uses_group=True, joint=None):
    """Minimise the error over h: conditions are (outcomes, inside, low, high) by group level."""
    n, K = p.shape[:2]
    w = [p * (a == g)[:, None] / n for g in sorted(set(a))] if joint is None else joint
    cost = sum(w).sum(axis=1, keepdims=True) - sum(w)
    A, b = [], []
    for outcomes, inside, low, high in conditions:
        for wa in w:
            row = np.zeros((n, K))
            for i, j in outcomes:
                row[:, j] += wa[:, i]
            row = row.ravel() / wa[:, inside].sum()
            A += [row, -row]
            b += [high, -low]
    one = np.kron(np.eye(n), np.ones(K))
    found = linprog(cost.ravel(), A_ub=np.array(A), b_ub=b, A_eq=one, b_eq=np.ones(n))
    assert found.status == 0
    return found.fun


def preferred(seed, n=200, K=3, G=3):
    """Return a reference, and what people of several groups prefer."""
    rng = np.random.default_rng(seed)
    prompts = rng.dirichlet(2 * np.ones(K), n)
    joint = rng.dirichlet(np.ones(K * G), n).reshape(n, K, G) * np.exp(rng.normal(size=(1, K, G)))
    return prompts, joint / joint.sum(axis=(1, 2), keepdims=True)
