"""The benchmarks: what they compare agrees, and what they write is whole. Times are not tested."""

import time

import numpy as np
import pytest

import fairprog as fp
from experiments import benchmark, benchmark_newton, benchmark_peers, benchmark_scores, timing
from experiments.claims import Unavailable
from tests.instances import multivariate


def test_benchmarks_are_registered_and_their_parts_agree():
    assert {"scores_100_000_rows", "scores_5_000_000_rows"} <= set(timing.BENCHMARKS)
    score, group = benchmark_scores.scored_rows(400)
    sol = benchmark_scores.sorted_solution(score, group, fp.EqualOpportunity())
    for bounds in (False, True):
        value = benchmark_scores.equal_opportunity_lp(score, group, "HIGHS", bounds)
        assert abs(sol.risk - value) < 1e-8
    with pytest.raises(SystemExit):
        benchmark.main(["nothing"])


def test_a_table_is_written(tmp_path, monkeypatch):
    rows = [("a ratio", 2.0, "", ">= 1")]
    monkeypatch.setattr(benchmark, "BENCHMARKS", {"tiny": lambda: rows})
    benchmark.main(["--out", str(tmp_path)])
    text = (tmp_path / "benchmark.csv").read_text(encoding="utf-8")
    assert text.splitlines()[1] == "tiny,a ratio,2.0,,>= 1,met"
    assert [p.name for p in tmp_path.iterdir()] == ["benchmark.csv"]


def test_a_page_names_the_machine_and_says_what_was_met(tmp_path, monkeypatch):
    rows = [("a time", 3.0, "s", "<= 2"), ("a figure", 1.0, "", ""), ("none", np.nan, "s", "<= 1")]
    monkeypatch.setattr(benchmark, "BENCHMARKS", {"tiny": lambda: rows})
    benchmark.main(["--out", str(tmp_path), "--page", str(tmp_path / "page.rst")])
    text = (tmp_path / "page.rst").read_text(encoding="utf-8")
    assert "cores" in text and "numpy" in text and "     - missed" in text
    assert "``tiny``\n   Not profiled." in text and "time of this run" in text
    assert benchmark.met(2.0, "<= 2") == "met" and benchmark.met(0.5, ">= 0.8") == "missed"
    assert benchmark.met(np.nan, "<= 2") == benchmark.met(1.0, "") == ""


def test_a_benchmark_that_cannot_run_here_says_what_it_needs(tmp_path, monkeypatch, capsys):
    def needs_more():
        raise Unavailable("it needs a larger machine")

    rows = [("a ratio", 2.0, "", "")]
    monkeypatch.setattr(benchmark, "BENCHMARKS", {"tiny": lambda: rows, "vast": needs_more})
    monkeypatch.setattr(benchmark, "LONG", {"vast"})
    benchmark.main(["--out", str(tmp_path)])
    assert "vast" not in capsys.readouterr().out
    benchmark.main(["--out", str(tmp_path), "--full"])
    assert "not measured: it needs a larger machine" in capsys.readouterr().out


def test_peers_that_are_not_installed_are_named(monkeypatch):
    few = {"FairClassifier": ("", benchmark_peers.fair_classifier), "theirs": ("no_such", None)}
    monkeypatch.setattr(benchmark_peers, "NAMED", few)
    monkeypatch.setattr(benchmark_peers, "SIZES", (500,))
    named = [what for what, *_ in timing.BENCHMARKS["peers_on_scores"]()]
    assert named[:2] == ["500 rows: FairClassifier, fit", "500 rows: FairClassifier, transform"]
    assert named[2:] == ["theirs: not installed (pip install no_such)"]


def test_what_grows_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "CURVES", {})
    for d in (2.0, 4.0, 8.0):
        timing.point("features", "ours", d, d**3)
    monkeypatch.setattr(benchmark, "BENCHMARKS", {"tiny": list})
    benchmark.main(["--out", str(tmp_path)])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["benchmark.csv", "benchmark.png"]
    (ax,) = timing.draw().axes
    assert ax.get_xlabel() == "features"
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert timing.growth([2.0, 4.0, 8.0], [8.0, 64.0, 512.0]) == pytest.approx(3.0)


def test_times_are_taken_in_turns_and_memory_at_its_peak():
    order = []
    quick, slow = timing.turns(
        2, lambda: order.append(0), lambda: time.sleep(order.append(1) or 0.01)
    )
    assert order == [0, 1, 0, 1]
    assert quick < 0.01 <= slow
    assert 8e6 < timing.peak_memory(lambda: np.ones(10**6)) < 9e6


def test_the_program_by_hand_has_our_answer():
    D = multivariate(np.random.default_rng(0), 3, 2)
    sol = benchmark_newton.one_group(D)()
    _, matrix, offset = benchmark_newton.by_hand(D, "CLARABEL")
    assert np.allclose(matrix, sol.maps["b"].matrix, atol=1e-4)
    assert benchmark_newton.divergence(D, matrix, offset) == pytest.approx(sol.kl, abs=1e-6)
    off = benchmark_newton.divergence(D, 1.1 * matrix, offset)
    assert off > sol.kl + 1e-3


def test_a_solve_is_measured_in_decompositions_and_moments():
    rows = benchmark_newton.against_eigh(multivariate(np.random.default_rng(1), 5, 2), "tiny", 1)
    found = {what: value for what, value, _, _ in rows}
    assert found["tiny: the same in eigh"] > 0
    assert found["tiny: Newton decrement (KKT residual)"] < 1e-8
