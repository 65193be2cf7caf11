"""The answer as it is read: its summary, the parts of its price, its certificate."""

import re

import numpy as np
import pytest

import fairprog as fp
from tests.instances import multivariate, univariate
from tests.solutions import SOLUTIONS, assert_same_bits


@pytest.mark.parametrize("name", SOLUTIONS)
def test_summary(name):
    sol = SOLUTIONS[name]
    text = sol.summary()
    assert f"{sol.kl:.6g} nats" in text
    assert "KL divergence" in text
    assert "price" in text
    for condition, price in sol.price.items():
        assert condition in text
        assert f"{price:.4f}" in text
    assert "certificate: ok" in text
    assert ("global" if sol.certificate.globally_optimal else "LOCAL") in text
    assert sol.solver in text
    assert max(len(line) for line in text.splitlines()) < 90


@pytest.mark.parametrize("transport", [fp.Monotone(), fp.Diagonal(), fp.Translation()])
def test_the_most_costly_conditions_do_not_depend_on_units(transport):
    """A feature times 1000 reorders the norms of sensitivities, not the parts of the price."""
    D = multivariate(np.random.default_rng(5), 3, 3, 2)
    units = np.array([1000.0, 1.0, 0.02])
    E = fp.Normal(
        D.prior,
        D.mean * units,
        cov=D.cov * np.outer(units, units),
        classes=D.classes,
        groups=D.groups,
    )
    one, other = (fp.NearestIdeal(P, [D.groups[1]], transport).solve() for P in (D, E))
    parts = one.price_by_condition
    assert list(parts) == list(one.sensitivity)
    assert sum(parts.values()) == pytest.approx(one.price["consensus"], rel=1e-12)
    assert other.price_by_condition == pytest.approx(parts, rel=1e-6)

    def ranked(sol):
        return re.findall(r"^ {4}((?:linear|offset)\S+) +(\S+)$", sol.summary(), re.MULTILINE)

    assert len(ranked(one)) == min(4, len(parts))
    assert ranked(one) == ranked(other)
    assert [float(v) for _, v in ranked(one)] == pytest.approx(
        sorted(parts.values(), reverse=True)[:4], abs=1e-4
    )
    norms = [{w: np.linalg.norm(v) for w, v in s.sensitivity.items()} for s in (one, other)]
    assert any(not np.isclose(norms[0][w], norms[1][w], rtol=0.01) for w in parts)


@pytest.mark.parametrize("family", [fp.Normal, fp.Laplace])
def test_parts_of_the_price_of_one_feature(family):
    prior = [[0.3, 0.2], [0.3, 0.2]]
    loc, spread = np.array([[0.0, 1.0], [2.0, 2.0]]), np.array([[1.0, 1.0], [1.0, 2.0]])
    name = "std" if family is fp.Normal else "scale"
    one, other = (
        fp.NearestIdeal(family(prior, k * loc, **{name: k * spread}), steer=[1]).solve()
        for k in (1.0, 1000.0)
    )
    assert sum(one.price_by_condition.values()) == pytest.approx(one.price["consensus"])
    assert other.price_by_condition == pytest.approx(one.price_by_condition, rel=1e-5)
    assert all(type(v) is float for v in one.price_by_condition.values())
    assert fp.Solution.from_dict(one.to_dict()).price_by_condition == one.price_by_condition


def test_summary_of_many_features_and_long_names():
    D = multivariate(np.random.default_rng(8), 6, 2, 3)
    E = fp.Normal(
        D.prior,
        D.mean,
        cov=D.cov,
        classes=["not recommended for promotion", "recommended for promotion"],
        groups=["employees hired before 1990", "employees hired since 1990", "contractors"],
    )
    metric = fp.Monotone(np.eye(6) + np.arange(36).reshape(6, 6) * 0)
    sol = fp.NearestIdeal(E, steer=E.groups[1:], transport=metric).solve()
    assert max(len(line) for line in sol.summary().splitlines()) < 90


def test_repr_says_what_it_is():
    assert "global optimum" in repr(SOLUTIONS["univariate"])
    rng = np.random.default_rng(9)
    descent = fp.NearestIdeal(univariate(rng)).solve(solver="newton")
    assert "local optimum" in repr(descent)
    assert "LOCAL optimum" in descent.summary()


def test_solutions_are_frozen():
    sol = SOLUTIONS["univariate"]
    for owner, name in [
        (sol, "kl"),
        (sol, "population"),
        (sol, "anything"),
        (sol.certificate, "kkt_residual"),
        (sol.bounds, "kl"),
        (sol.affine["b"], "matrix"),
    ]:
        with pytest.raises(AttributeError):
            setattr(owner, name, 0.0)
    with pytest.raises(AttributeError):
        del sol.kl
    with pytest.raises(ValueError, match="read-only"):
        sol.affine["b"].matrix[0, 0] = 2.0


def test_certificate_fails_beyond_each_tolerance():
    good = SOLUTIONS["univariate"].certificate
    assert good.ok
    fields = vars(good)
    for name, limit in [
        ("kkt_residual", 1e-4),
        ("ideality_residual", 1e-8),
        ("feasibility_residual", 1e-6),
        ("conic_gap", 1e-6),
        ("parameter_gap", 1e-4),
    ]:
        assert fp.Certificate(**(fields | {name: 0.99 * limit})).ok
        for bad in (1.01 * limit, np.inf, np.nan):
            assert not fp.Certificate(**(fields | {name: bad})).ok
    relaxed = fields | {"ideality_residual": 0.3, "requires_ideality": False}
    assert fp.Certificate(**relaxed).ok
    assert fp.Certificate(**(fields | {"conic_gap": None, "parameter_gap": None})).ok


def test_same_program_same_bits():
    D = multivariate(np.random.default_rng(10), 3)
    for steer in (["b"], "all"):
        here, there = (fp.NearestIdeal(D, steer=steer).solve() for _ in range(2))
        assert here.kl == there.kl
        assert_same_bits(here.affine, there.affine)
        assert_same_bits(here.duals, there.duals)


def test_kept_base_rates_are_not_called_ideal():
    P = fp.Normal([[0.4, 0.1], [0.2, 0.3]], [[0.0, 1.0], [2.0, 2.0]], std=[[1, 1], [1, 2]])
    kept = fp.NearestIdeal(P, steer=[1], base_rates="keep").solve()
    assert "Nearest ideal population" not in kept.summary()
    assert "base rates kept" in kept.summary()
    relaxed = fp.NearestIdeal(P, steer=[1], map_bound=0.1).solve()
    assert "within map_bound = 0.1 of ideal" in relaxed.summary()


def test_a_summary_is_aligned_whatever_the_names_of_groups():
    D = fp.Normal(
        [[0.3, 0.2], [0.3, 0.2]],
        [[0.0, 1.0], [2.0, 2.0]],
        std=[[1.0, 1.0], [1.0, 2.0]],
        groups=["African-American", "Caucasian"],
    )
    lines = fp.NearestIdeal(D).solve().summary().splitlines()
    ends = {len(line) for line in lines if line.startswith(("    linear[", "    offset["))}
    assert len(ends) == 1
