"""The experiments: what they claim, that they resume, and that they leave nothing half-written."""

import csv
import json
import shutil

import numpy as np
import pytest

import fairprog as fp
from experiments import (
    claims,
    measures,
    runner,
    search_parameters,
    three_stationary_points,
    univariate_table,
)

QUICK = ["thresholds", "three_stationary_points"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    assert runner.run(QUICK, out, quick=True) == 0
    return out


def table_lines(text):
    """The cells of the lines of all tables of CLAIMS.md, without headings and rules."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
    return [c for c in cells if c[0] != "claim" and set(c[0]) != {"-"}]


# ------------------------------------------------------------------------------ what they write


def test_every_claim_holds_or_says_why_not(results):
    rows = table_lines((results / "CLAIMS.md").read_text(encoding="utf-8"))
    assert len(rows) == 10
    for claim, measured, holds in rows:
        assert claim
        assert measured
        assert holds == "yes" or holds.startswith(("yes: ", "no: ")), (claim, holds)
    claimed = [row[0] for row in rows]
    assert sum("below 1e-7 at every threshold" in text for text in claimed) == 4


@pytest.mark.parametrize("name", QUICK)
def test_done_holds_the_claims(results, name):
    done = json.loads((results / name / "done.json").read_text(encoding="utf-8"))
    assert done["fingerprint"]["quick"] is True
    assert done["fingerprint"]["version"] == fp.__version__
    assert [claims.Claim(**c) for c in done["claims"]]


def test_the_tables_are_aligned(results):
    text = (results / "CLAIMS.md").read_text(encoding="utf-8")
    for block in text.split("\n\n"):
        if block.startswith("| "):
            assert len({len(line) for line in block.splitlines()}) == 1


def test_numbers_and_figures_are_there(results):
    files = {p.name for name in QUICK for p in (results / name).iterdir()}
    assert {"thresholds.csv", "case.csv", "random.csv"} <= files
    assert {"thresholds.png", "overview.png", "stationary_points.png"} <= files
    with (results / "thresholds" / "thresholds.csv").open(encoding="utf-8") as stream:
        header, *rows = csv.reader(stream)
    values = np.array(rows, dtype=float)
    assert header[0] == "threshold"
    steered = [k for k, name in enumerate(header) if "steered" in name]
    before = [k for k, name in enumerate(header) if "before" in name]
    assert values[:, steered].max() < 1e-7
    assert values[:, before].max(axis=0).min() > 0.1


def test_nothing_hidden_is_left(results):
    assert [p.name for p in results.iterdir() if p.name.startswith(".")] == []


# --------------------------------------------------------------------------- resuming, crashing


@pytest.fixture
def fake(monkeypatch):
    """Replace the experiments by one whose `run` a test may choose."""

    class Module:
        calls = 0

        @staticmethod
        def work(out, quick):
            (out / "numbers.csv").write_text("1\n")
            return [claims.Claim("a claim", "1.0", True)]

        def run(self, out, quick):
            self.calls += 1
            return self.work(out, quick)

    module = Module()
    monkeypatch.setattr(runner, "_load", lambda name: module)
    return module


def test_what_is_done_is_not_run_again(fake, tmp_path):
    for _ in range(2):
        assert runner.run(["sweeps"], tmp_path, quick=True) == 0
    assert fake.calls == 1
    runner.run(["sweeps"], tmp_path, quick=False)
    assert fake.calls == 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "done.json").unlink(),
        lambda folder: (folder / "done.json").write_text("{"),
        lambda folder: (folder / "done.json").write_text("[]"),
        shutil.rmtree,
    ],
)
def test_what_is_spoilt_is_run_again(fake, tmp_path, spoil):
    runner.run(["sweeps"], tmp_path, quick=True)
    spoil(tmp_path / "sweeps")
    runner.run(["sweeps"], tmp_path, quick=True)
    assert fake.calls == 2
    assert (tmp_path / "sweeps" / "done.json").is_file()


def test_a_changed_source_or_version_is_run_again(fake, tmp_path, monkeypatch):
    runner.run(["sweeps"], tmp_path, quick=True)
    monkeypatch.setattr(runner, "__version__", "9")
    runner.run(["sweeps"], tmp_path, quick=True)
    monkeypatch.setattr(runner, "_sources", lambda name: {name: "other"})
    runner.run(["sweeps"], tmp_path, quick=True)
    assert fake.calls == 3
    monkeypatch.setattr(runner, "__version__", "10")
    assert "made by another version" in runner._report(tmp_path, {}, {})[0]


def test_the_source_includes_what_an_experiment_imports():
    assert {"thresholds", "univariate_table", "claims"} <= set(runner._sources("thresholds"))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_leaves_nothing_half_written(fake, tmp_path, error, capsys):
    good = fake.work
    runner.run(["sweeps"], tmp_path, quick=True)

    def interrupted(out, quick):
        (out / "half.csv").write_text("1,")
        raise error("stop")

    fake.work = interrupted
    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            runner.run(["sweeps", "thresholds"], tmp_path, quick=False)
    else:
        assert runner.run(["sweeps", "thresholds"], tmp_path, quick=False) == 1
        text = (tmp_path / "CLAIMS.md").read_text(encoding="utf-8")
        assert "Did not run to its end: RuntimeError: stop" in text
        assert "RuntimeError: stop" in capsys.readouterr().err
    left = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*"))
    assert left == ["CLAIMS.md", "sweeps", "sweeps/done.json", "sweeps/numbers.csv"]
    fake.work = good
    assert runner.run(["sweeps", "thresholds"], tmp_path, quick=False) == 0


def test_figures_of_an_interrupted_run_stay_as_long_as_the_sources_do(fake, tmp_path, monkeypatch):
    good, found = fake.work, []

    def interrupted(out, quick):
        found.append((out / "measured.jsonl").is_file())
        (out / "measured.jsonl").write_text("[[1], 2]\n", encoding="utf-8")
        (out / "half.csv").write_text("1,")
        raise RuntimeError("stop")

    fake.work = interrupted
    for quick in (True, True, False, False):
        assert runner.run(["sweeps"], tmp_path, quick=quick) == 1
    assert found == [False, True, False, True]  # another mode is another source
    hidden = tmp_path / ".sweeps.part"
    assert sorted(p.name for p in hidden.iterdir()) == ["made_by.json", "measured.jsonl"]
    (hidden / "made_by.json").write_text("{", encoding="utf-8")
    assert runner.run(["sweeps"], tmp_path, quick=False) == 1
    assert found[-1] is False
    fake.work = good
    assert runner.run(["sweeps"], tmp_path, quick=False) == 0
    assert not hidden.exists()
    left = sorted(p.name for p in (tmp_path / "sweeps").iterdir())
    assert left == ["done.json", "measured.jsonl", "numbers.csv"]


def test_the_others_run_when_one_crashes(fake, tmp_path, capsys):
    def crash_once(out, quick):
        if fake.calls == 1:
            raise ValueError("broken")
        return [claims.Claim("a claim", "1.0", True)]

    fake.work = crash_once
    assert runner.run(["sweeps", "thresholds"], tmp_path, quick=True) == 1
    assert (tmp_path / "thresholds" / "done.json").is_file()
    assert "broken" in capsys.readouterr().err


@pytest.mark.parametrize(("note", "code"), [("because", 0), ("", 1)])
def test_a_claim_that_fails_needs_a_reason(fake, tmp_path, note, code):
    fake.work = lambda out, quick: [claims.Claim("a | claim", "1.0", False, note)]
    assert runner.run(["sweeps"], tmp_path, quick=True) == code
    text = (tmp_path / "CLAIMS.md").read_text(encoding="utf-8")
    assert (f"no: {note}" if note else "no: no reason given") in text
    assert r"a \| claim" in text


def test_an_experiment_may_be_unavailable(fake, tmp_path):
    def unavailable(out, quick):
        raise claims.Unavailable("needs the data")

    fake.work = unavailable
    assert runner.run(["sweeps"], tmp_path, quick=True) == 0
    assert "Not run: needs the data" in (tmp_path / "CLAIMS.md").read_text(encoding="utf-8")


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(fp.ModelError, match="univariate_table") as caught:
        runner.run(["thresholds", "tresholds"], tmp_path / "new", quick=True)
    assert "tresholds" in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_every_name_is_an_experiment():
    for name in runner.names():
        assert callable(runner._load(name).run)


# -------------------------------------------------------------------------- the univariate table


def test_the_parameters_reproduce_the_original_row():
    D = univariate_table.population()
    E = D.evaluate()
    found = [E.error, E.gap(fp.DemographicParity()), E.gap(fp.EqualOpportunity())]
    np.testing.assert_allclose(found, univariate_table.REPORTED["original"], atol=5e-3)
    # and b is the disadvantaged one: fewer are selected, also among those who deserve it
    for notion in (fp.DemographicParity(), fp.EqualOpportunity()):
        rates = notion.evaluate(E.table)[-1]
        assert rates[0] > rates[1]


@pytest.mark.slow
def test_the_recorded_parameters_cannot_be_improved():
    here = search_parameters.recorded()
    value, point = search_parameters.refine(here)
    assert point == here
    assert value < 1e-3


def test_control_the_search_moves_from_a_worse_point():
    here = search_parameters.recorded()
    worse = (here[0], here[1] + 2, *here[2:])
    assert min(search_parameters.loss(p) for p in search_parameters.neighbours(worse)) < (
        search_parameters.loss(worse)
    )


def test_both_codings_of_the_loss_agree():
    here = search_parameters.recorded()
    fast = search_parameters._many_losses(np.array(here)[:, None] / 100.0)
    # the fast one takes the best scale ratio from a grid
    assert fast[0] == pytest.approx(search_parameters.loss(here), abs=2e-5)


def test_jensen_shannon_of_separate_and_equal_laws():
    def law(mean):
        return fp.Normal([[0.5, 0.5]], [[0.0, mean]], std=[[1.0, 1.0]])

    assert measures.jensen_shannon(law(0.0), law(0.0)) == pytest.approx(0.0, abs=1e-12)
    # only group 1 differs, and there entirely: half of log 2
    assert measures.jensen_shannon(law(0.0), law(30.0)) == pytest.approx(np.log(2) / 2, abs=1e-9)


def test_jensen_shannon_against_adaptive_quadrature():
    from scipy.integrate import quad
    from scipy.stats import norm

    D = fp.Normal([[0.3, 0.7]], [[0.0, 1.0]], std=[[1.0, 2.0]])
    E = fp.Normal([[0.3, 0.7]], [[0.5, -1.0]], std=[[0.5, 2.5]])

    def integrand(x, a):
        p, q = (P.prior[0, a] * norm.pdf(x, P.mean[0, a], P.std[0, a]) for P in (D, E))
        m = (p + q) / 2
        return (p * np.log(p / m) + q * np.log(q / m)) / 2

    expected = sum(quad(integrand, -15, 15, args=(a,), epsabs=1e-11, limit=200)[0] for a in (0, 1))
    assert measures.jensen_shannon(D, E) == pytest.approx(expected, abs=1e-8)


def test_the_blind_rule_against_samples():
    from scipy.stats import norm

    D = univariate_table.population()
    X, y, a = D.sample(200_000, random_state=0)
    joint = norm.pdf(X[:, :, None], D.mean, D.std) * D.prior  # rows, class, group
    guess = joint.sum(axis=2).argmax(axis=1)
    Z = measures.blind_rule(D).Z
    for g, label in enumerate(D.groups):
        for i in range(2):
            for j in range(2):
                share = np.mean((a == label) & (y == i) & (guess == j))
                assert Z[g, i, j] == pytest.approx(share, abs=5e-3)


# --------------------------------------------------------------------- three stationary points


def test_the_case_is_one_of_the_random_instances_rounded():
    prior, mean, std = (
        np.array(x)
        for x in (
            three_stationary_points.PRIOR,
            three_stationary_points.MEAN,
            three_stationary_points.STD,
        )
    )
    assert prior.sum() == pytest.approx(1.0, abs=1e-12)
    rates = prior / prior.sum(axis=0)
    np.testing.assert_allclose(rates[:, 0], rates[:, 1], atol=1e-12)
    found = three_stationary_points.line_search(prior, mean, std)
    loss, stationary = three_stationary_points.excess(found, prior, mean, std)
    assert len(stationary) == 3
    assert loss > 1.0


@pytest.mark.slow
def test_the_search_finds_the_recorded_case():
    _, (prior, mean, std) = three_stationary_points.find_case(0, 20_000)
    np.testing.assert_allclose(prior, three_stationary_points.PRIOR, atol=0.005)
    np.testing.assert_allclose(mean, three_stationary_points.MEAN, atol=0.005)
    np.testing.assert_allclose(std, three_stationary_points.STD, atol=0.005)


@pytest.mark.slow
@pytest.mark.timeout(480)
def test_all_experiments_in_full(tmp_path):
    assert runner.run(None, tmp_path, quick=False) == 0
    text = (tmp_path / "CLAIMS.md").read_text(encoding="utf-8")
    assert all(f"## {name}\n" in text for name in runner.chosen_names(None))
