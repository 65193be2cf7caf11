"""The experiment on a real language model: its texts, tables and claims, without the model."""

import numpy as np
import pytest

from experiments import runner, smollm2
from experiments import smollm2_biographies as lives
from experiments import smollm2_next_words as words
from experiments.claims import Unavailable
from experiments.instruct_texts import (
    GENRES,
    JOBS,
    VERDICTS,
    biographies,
    film_prompts,
    film_reviews,
)


def test_texts_are_seeded_and_prompts_are_disjoint():
    texts, jobs, genders = biographies(200, 1)
    assert texts == biographies(200, 1)[0] and texts != biographies(200, 2)[0]
    assert set(jobs) <= set(JOBS) and set(genders) == {"M", "F"}
    for g in GENRES:
        ahead, judged = film_prompts(g, "calibrate"), film_prompts(g, "evaluate")
        assert len(set(ahead)) == len(set(judged)) == 32 and not set(ahead) & set(judged)
    reviews, y, genre = film_reviews(100, 3)
    assert len(reviews) == 100 and set(y) == set(VERDICTS) and set(genre) == set(GENRES)
    assert not set(smollm2.SEEDS) & {
        0,
        10,
        11,
        12,
        *range(20, 25),
    }  # seeds that were looked at before


def moved(gap):
    """Effects of which the reference has the target and the other genre less by a gap."""
    one = dict.fromkeys((*words.FIGURES, "length"), 0.1) | {"perplexity_ratio": 1.2}
    pair = {"comedy": one | {"log_odds": 1.5}, "horror": one | {"log_odds": 1.5 - gap}}
    return pair


def found(ours):
    B = {}
    for seed in smollm2.SEEDS:
        for k, desired in enumerate(("praise", "pan")):
            gaps = dict.fromkeys(words.METHODS, 0.2 + 0.01 * k) | {words.CHEAPER: ours}
            B[seed, desired] = {"reference": "comedy"} | {m: moved(g) for m, g in gaps.items()}
    rng = np.random.default_rng(0)
    A = {
        (draw, name): {"accuracy": 0.8, "gaps": (0.1 * rng.normal(size=8)).tolist(), "floor": 0.05}
        for draw in smollm2.DRAWS
        for name in lives.steps((0.0, 0.5))
    }
    figures = {"rows": 1.0, "left": 1.0, "moved": 9.0, "0": 100.0, "0.25": 110.0, "0.5": 120.0}
    return {"D": {"auto": figures | {"1": 140.0}}, "B": B, "A": A, "C": {}}


@pytest.mark.parametrize(("ours", "holds"), [(0.02, True), (0.19, False)])
def test_tables_picture_and_claims(tmp_path, ours, holds):
    measured = found(ours)
    smollm2.write(measured, tmp_path)
    D, B, own, *others = smollm2.claims_of(measured)
    assert D.holds and "1.40 times" in D.measured
    assert B.holds is holds and "5 seeds" in B.measured and own.holds
    assert len(others) == 2 and all(c.holds or c.note for c in others)
    assert len((tmp_path / "next_words.csv").read_text().splitlines()) == 1 + 10 * 7 * 2
    assert (tmp_path / "smollm2.png").stat().st_size > 5000


def test_it_asks_for_a_model(tmp_path):
    with pytest.raises(Unavailable, match="--model"):
        smollm2.run(tmp_path, quick=True)
    assert "smollm2" in runner.names() and "smollm2" not in runner.chosen_names(None)
    assert "smollm2" not in runner.chosen_names(["language"])


def test_the_model_reaches_the_experiment(tmp_path, monkeypatch):
    given = []

    def run(out, quick, **options):
        given.append(options)
        return []

    monkeypatch.setattr(smollm2, "run", run)
    for folder in ("one", "one", "other"):
        assert runner.run(["smollm2"], tmp_path, True, {"model": folder, "batch": 8}) == 0
    assert given == [{"model": "one", "batch": 8}, {"model": "other", "batch": 8}]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_perplexity_on_a_model_of_its_own(tmp_path):
    pytest.importorskip("torch", reason="torch is not installed: make test-torch")
    pytest.importorskip("transformers", reason="it needs transformers")
    from experiments.language_model import new_model
    from experiments.measured import Measured

    speaker = new_model(biographies(60, 5)[0], 0)
    out = smollm2.measure(speaker, Measured(tmp_path), quick=True, parts="D")
    assert out["D"]["auto"]["0"] > 1.0 and out["D"]["all"]["left"] == 0.0
    again = smollm2.measure(None, Measured(tmp_path), quick=True, parts="D")  # nothing is run
    assert again == out
