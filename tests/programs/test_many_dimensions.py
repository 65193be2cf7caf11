"""Hundreds of dimensions: what few dimensions give, in bounded memory and threads."""

import tracemalloc

import numpy as np
import pytest

import fairprog as fp
from experiments.embeddings import embedding_population
from fairprog.kernels.multivariate import newton_cg
from fairprog.programs.geometries.frame import Frame
from fairprog.programs.geometries.normal import NormalGeometry
from tests.instances import CONVEX, multivariate
from tests.steered_cells import arguments


def test_one_class_has_nothing_to_agree_on():
    D = embedding_population(70, 1)
    sol = fp.NearestIdeal(D, steer=["b"], transport=fp.Monotone("identity")).solve()
    assert sol.kl == pytest.approx(0.0, abs=1e-11)
    assert sol.price["consensus"] == 0.0
    assert sol.certificate.kkt_residual < 1e-9


@pytest.mark.parametrize("transport", [*CONVEX, fp.Affine()], ids=repr)
def test_large_programs_give_what_small_ones_give(transport, monkeypatch):
    """The path of many dimensions, taken in few: same KL, maps, multipliers and prices."""
    D = multivariate(np.random.default_rng(3), 7, K=3, G=2)
    small = fp.NearestIdeal(D, steer=["b"], transport=transport).solve(solver="newton")
    monkeypatch.setattr("fairprog.populations.normal_cells.LARGE", 3)
    for module in ("frame", "whitening", "normal"):
        monkeypatch.setattr(f"fairprog.programs.geometries.{module}.LARGE", 3)
    monkeypatch.setattr(NormalGeometry, "kept_features", 3)
    monkeypatch.setattr("fairprog.kernels.multivariate.best_map.LARGE", 3)
    monkeypatch.setattr("fairprog.kernels.multivariate.best_map.DENSE", 3)
    monkeypatch.setattr("fairprog.programs.geometries.frame.DENSE", 3)
    monkeypatch.setattr("fairprog.programs.geometries.whitening.DENSE", 3)
    large = fp.NearestIdeal(D, steer=["b"], transport=transport).solve(solver="newton")
    assert large.certificate.ok
    assert large.certificate.kkt_residual < 1e-7
    assert large.kl == pytest.approx(small.kl, abs=1e-10)
    assert large.price["consensus"] == pytest.approx(small.price["consensus"], rel=1e-6)
    assert np.allclose(large.maps["b"].matrix, small.maps["b"].matrix, atol=1e-6)
    assert np.allclose(large.population.cov, small.population.cov, atol=1e-6)
    assert list(large.duals) == list(small.duals)
    for where, value in small.duals.items():
        assert np.allclose(large.duals[where], value, atol=1e-6)
        assert np.allclose(large.sensitivity[where], -value, atol=1e-6)


def test_wrong_maps_in_many_dimensions_are_noticed(monkeypatch):
    D = embedding_population(70, 3, 1)
    solved = Frame.best
    program = fp.NearestIdeal(D, steer=["b"])
    assert program.solve().certificate.kkt_residual < 1e-6
    monkeypatch.setattr(Frame, "best", lambda f, c: (1.01 * solved(f, c)[0], solved(f, c)[1]))
    with pytest.raises(fp.SolverError, match="fails its certificate"):
        program.solve()
    monkeypatch.setattr(Frame, "best", lambda f, c: (solved(f, c)[0], solved(f, c)[1] + 0.01))
    with pytest.raises(fp.SolverError, match="fails its certificate"):
        program.solve()


@pytest.mark.parametrize("separation", [None, 16.0])
def test_embeddings(separation):
    D = embedding_population(96, 5, 2, separation=separation)
    sol = fp.NearestIdeal(D, steer=["b"]).solve()
    assert sol.solver == "newton"
    assert sol.certificate.ok
    assert sol.certificate.kkt_residual < 1e-7
    args = arguments(D)
    *_, steps, residual = newton_cg.newton_cg(*args)
    assert steps <= 8
    assert residual < 1e-8
    total = sum(sol.sensitivity[f"offset[b,{c}]"] for c in D.classes)
    assert np.abs(total).max() < 1e-6
    assert sum(np.abs(sol.sensitivity[f"offset[b,{c}]"]).max() for c in D.classes) > 1e-3


def test_loading_keeps_what_large_solutions_compute(tmp_path):
    D = embedding_population(66, 2, 4)
    sol = fp.NearestIdeal(D, steer=["b"]).solve()
    sol.save(tmp_path / "large.npz")
    again = fp.load(tmp_path / "large.npz")
    assert again.kl == sol.kl
    assert np.array_equal(again.duals["linear[b,1]"], sol.duals["linear[b,1]"])
    assert "66" not in repr(sol.duals)
    with pytest.raises(ValueError, match="read-only"):
        sol.duals["linear[b,1]"][...] = 0
    with pytest.raises(KeyError):
        sol.duals["linear[b,7]"]


def test_null_directions_in_many_dimensions():
    D = embedding_population(70, 3, 5)
    wide = np.zeros((3, 2, 73, 73))
    wide[..., :70, :70] = D.cov
    mean = np.concatenate([D.location, np.full((3, 2, 3), 7.0)], axis=-1)
    E = fp.Normal(D.prior, mean, cov=wide, groups=D.groups)
    assert E.null_dimension == 3
    with pytest.warns(fp.FairprogWarning, match="constant in every cell"):
        program = fp.NearestIdeal(E, steer=["b"])
    sol, plain = program.solve(), fp.NearestIdeal(D, steer=["b"]).solve()
    assert sol.certificate.ok
    assert sol.kl == pytest.approx(plain.kl, abs=1e-9)
    assert sol.population.support_cov.shape == (3, 2, 70, 70)
    assert np.allclose(sol.population.cov[..., :70, :70], plain.population.cov, atol=1e-7)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(73, 73)))
    with pytest.warns(fp.FairprogWarning, match="constant in every cell"):
        turned = fp.NearestIdeal(
            fp.Normal(D.prior, mean @ turn.T, cov=turn @ wide @ turn.T, groups=D.groups),
            steer=["b"],
        ).solve()
    assert turned.kl == pytest.approx(plain.kl, abs=1e-6)


def test_memory_of_a_solve():
    """At most the moments: prices are found while no steered population takes half of that."""
    d, K = 256, 7
    program = fp.NearestIdeal(embedding_population(d, K, 1), steer=["b"])
    tracemalloc.start()
    try:
        sol = program.solve()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sol.certificate.ok
    assert peak <= 2 * K * d * d * 8


def test_tied_covariances():
    """The same answer as with every class's copy, from one matrix per group."""
    D = embedding_population(70, 4, 6, covariance="tied")
    assert D.covariance == "tied"
    assert D.cov.strides[0] == 0
    full = fp.Normal(D.prior, D.location, cov=np.array(D.cov), groups=D.groups)
    sol, other = (fp.NearestIdeal(P, steer=["b"]).solve() for P in (D, full))
    assert sol.certificate.ok
    assert sol.kl == pytest.approx(other.kl, abs=1e-9)
    assert sol.population.covariance == "tied"
    assert sol.population.cov.strides[0] == 0
    assert np.allclose(sol.population.cov, other.population.cov, atol=1e-7)
    for where in ("linear[b,2]", "offset[b,0]"):
        assert np.allclose(sol.duals[where], other.duals[where], atol=1e-5)
    few = multivariate(np.random.default_rng(1), 3, K=3)
    tied = fp.Normal(few.prior, few.location, cov=few.cov[0], covariance="tied", groups=few.groups)
    plain = fp.Normal(few.prior, few.location, cov=np.array(tied.cov), groups=few.groups)
    for transport in [*CONVEX, fp.Affine()]:
        here, there = (
            fp.NearestIdeal(P, steer=["b"], transport=transport).solve() for P in (tied, plain)
        )
        assert here.kl == pytest.approx(there.kl, abs=1e-10)
        assert here.population.covariance == "tied"
    again = fp.NearestIdeal(tied, steer=["b"], map_bound=0.1).solve()
    assert again.certificate.ok


def test_all_groups_in_many_dimensions():
    D = embedding_population(24, 3, 7)
    for transport in (fp.Monotone(), fp.Diagonal()):
        sol = fp.NearestIdeal(D, transport=transport).solve()
        assert sol.certificate.ok
        for group in D.groups:
            one = fp.NearestIdeal(D, steer=[group], transport=transport).solve(solver="newton")
            assert sol.kl <= one.kl + 1e-9


def test_all_groups_from_the_start_that_leads(monkeypatch):
    """In many dimensions one start goes all the way: the same optimum, in fewer evaluations."""
    from fairprog.programs.geometries.map_space import MapSpace

    D = embedding_population(24, 3, 7)
    calls = [0]
    cost = MapSpace.cost

    def counted(self, x):
        calls[0] += 1
        return cost(self, x)

    monkeypatch.setattr(MapSpace, "cost", counted)
    every = fp.NearestIdeal(D).solve()
    full, calls[0] = calls[0], 0
    monkeypatch.setattr("fairprog.programs.geometries.whitening.LARGE", 12)
    leading = fp.NearestIdeal(D).solve()
    assert leading.certificate.ok
    assert leading.kl == pytest.approx(every.kl, abs=1e-9)
    assert calls[0] < full / 2


@pytest.mark.parametrize("varying", [60, 66])
def test_a_steered_population_with_null_directions_is_steered_again(varying):
    """Its covariances are restricted to the support when they are asked for."""
    B = multivariate(np.random.default_rng(5), varying)
    mean = np.concatenate([B.mean, np.ones((2, 2, 67 - varying))], axis=2)
    cov = np.zeros((2, 2, 67, 67))
    cov[..., :varying, :varying] = B.cov
    D = fp.Normal(B.prior, mean, cov=cov)
    with pytest.warns(fp.FairprogWarning, match="set aside"):
        # the metric "pooled" would be another one for the steered population
        settings = {"steer": [1], "transport": fp.Monotone("identity")}
        first = fp.NearestIdeal(D, **settings).solve()
        again = fp.NearestIdeal(first.population, **settings).solve()
    assert first.kl > 0.1
    assert again.kl < 1e-10
    assert again.certificate.ok
    assert np.abs(again.maps[1].matrix - first.maps[1].matrix).max() < 1e-4
    assert first.aligned.is_ideal()


def test_large_programs_leave_the_cores_to_one_pool_of_threads(monkeypatch):
    """While a large program is solved numpy's own BLAS is held to one thread; then as before."""
    from threadpoolctl import threadpool_info, threadpool_limits

    from fairprog.kernels.algebra.threads import OF_NUMPY, OF_SCIPY
    from fairprog.programs import prove as module

    def pools():
        return {p["filepath"]: p["num_threads"] for p in threadpool_info()}

    seen = []
    find = module.find_answer

    def spy(*args):
        seen.append(pools())
        return find(*args)

    small, large = (fp.NearestIdeal(embedding_population(d, 2), steer=["b"]) for d in (3, 70))
    small.solve()  # loads what solvers bring along
    monkeypatch.setattr(module, "find_answer", spy)
    with threadpool_limits(limits=2, user_api="blas"):
        before = pools()
        small.solve()
        large.solve()
        assert pools() == before
    assert seen[0] == before
    if not all(any(name in path for path in before) for name in (OF_NUMPY, OF_SCIPY)):
        pytest.skip("numpy and scipy do not come with a BLAS each here")
    for path, threads in seen[1].items():
        assert threads == (1 if OF_NUMPY in path else before[path])
