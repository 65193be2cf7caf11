"""Training losses are the notions themselves, over soft tables."""

import numpy as np
import pytest

import fairprog as fp

pytest.importorskip("torch", reason="torch is not installed: make test-torch")

import torch

from fairprog.torch import notion_loss

NOTIONS = [
    fp.DemographicParity(),
    fp.EqualOpportunity(difference_bound=0.1),
    fp.EqualizedOdds(ratio_bound=0.8),
    fp.AccuracyParity(),
    fp.Parity("P(yhat=y | y!=0)"),
    fp.TruePositiveRateParity(),
]


def rows(K, n=300, seed=0):
    rng = np.random.default_rng(seed)
    logits = torch.tensor(rng.normal(size=(n, K)), dtype=torch.float64, requires_grad=True)
    return logits, rng.integers(K, size=n), rng.choice(["f", "m", "x"], n)


def soft_table(logits, y, a, K):
    proba = torch.softmax(logits, dim=1).detach().numpy()
    Z = np.zeros((3, K, K))
    np.add.at(Z, (np.searchsorted(["f", "m", "x"], a), y), proba)
    return fp.OutcomeTable(Z / len(y), groups=["f", "m", "x"])


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("notion", NOTIONS, ids=repr)
def test_on_all_rows_it_is_the_gap(notion, K):
    logits, y, a = rows(K)
    table = soft_table(logits, y, a, K)
    rates = notion.evaluate(table)
    wanted = {
        "max": notion.gap(table),
        "squared": rates.var(axis=1).mean(),
        "absolute": np.abs(rates - rates.mean(axis=1, keepdims=True)).mean(),
    }
    for kind, value in wanted.items():
        loss = notion_loss(notion, kind, classes=range(K), groups=["f", "m", "x"])
        assert loss(logits, y, a).item() == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("kind", ["max", "squared", "absolute"])
def test_gradients_are_those_of_finite_differences(kind):
    logits, y, a = rows(3, 40)
    loss = notion_loss(fp.EqualizedOdds(), kind, classes=range(3), groups=["f", "m", "x"])
    assert torch.autograd.gradcheck(lambda z: loss(z, y, a), logits)


@pytest.mark.parametrize(
    "risk",
    [
        fp.GroupRiskVariance(),
        fp.WorstGroupRisk(),
        fp.ErrorRate() + 0.1 * fp.RenyiInformation(),
    ],
    ids=repr,
)
def test_risks_are_losses_too(risk):
    logits, y, a = rows(3)
    loss = notion_loss(risk, classes=range(3), groups=["f", "m", "x"])
    assert loss(logits, y, a).item() == pytest.approx(risk.evaluate(soft_table(logits, y, a, 3)))


def test_what_a_batch_lacks_is_left_out():
    logits, y, a = rows(2, 40)
    loss = notion_loss(fp.EqualizedOdds(), classes=[0, 1], groups=["f", "m", "x", "none of it"])
    kept = (a == "f") | ((a == "m") & (y == 0))
    value = loss(logits[kept], y[kept], a[kept])
    p = torch.softmax(logits, dim=1)[:, 1].detach().numpy()
    assert value.item() == pytest.approx(
        abs(p[(a == "f") & (y == 0)].mean() - p[(a == "m") & (y == 0)].mean())
    )
    value.backward()
    assert torch.isfinite(logits.grad).all()
    alone = loss(logits[:1], y[:1], a[:1])
    alone.backward()
    assert alone.item() == 0.0


@pytest.mark.parametrize(
    "risk", [fp.GroupRiskVariance(), fp.WorstGroupRisk(), fp.RenyiInformation()], ids=repr
)
def test_a_batch_without_a_class_has_a_finite_risk(risk):
    logits, y, a = rows(2, 60)
    kept = (a != "m") | (y == 0)
    loss = notion_loss(risk, classes=[0, 1], groups=["f", "m", "x"])
    value = loss(logits[kept], y[kept], a[kept])
    table = soft_table(logits[kept], y[kept], a[kept], 2)
    assert value.item() == pytest.approx(risk.evaluate(table))
    value.backward()
    assert torch.isfinite(logits.grad).all()


def test_rates_of_all_rows_need_no_row_of_every_class():
    logits = torch.tensor([0.0, 2.0, 1.0, -1.0])
    p = torch.sigmoid(logits)
    loss = notion_loss(fp.DemographicParity(), classes=[0, 1], groups=["f", "m"])
    value = loss(logits, [0, 0, 0, 1], ["f", "f", "m", "m"])
    assert value.item() == pytest.approx(abs(p[:2].mean() - p[2:].mean()).item())


def test_what_users_of_other_losses_hand_in():
    logits, y, a = rows(2, 40)
    z = logits[:, 1] - logits[:, 0]
    loss = notion_loss(fp.DemographicParity(), classes=[0, 1], groups=["f", "m", "x"])
    assert loss(z[:, None], y, a).item() == pytest.approx(loss(logits, y, a).item())
    with pytest.raises(fp.DataError, match=r"a column for each of 2 classes"):
        loss(torch.zeros(40, 3), y, a)
    indicators = torch.tensor(np.stack([a == g for g in ("f", "m", "x")], axis=1)).float()
    by_code = notion_loss(fp.DemographicParity(), classes=[0, 1], groups=[0, 1, 2])
    with pytest.raises(fp.DataError, match=r"argmax\(dim=1\)"):
        by_code(z, y, indicators)
    assert by_code(z, y, indicators.argmax(dim=1)) == loss(z, y, a)
    b = np.where(y == 0, "n", "s")
    pairs = sorted(set(zip(a.tolist(), b.tolist(), strict=True)))
    crossed = notion_loss(fp.AccuracyParity(), classes=[0, 1], groups=pairs)
    assert crossed(z, y, np.stack([a, b], axis=1)).isfinite()


def test_refusals():
    for risk in (fp.CVaR(), fp.RobustRisk(), fp.ErrorRate() + fp.WorstGroupRisk()):
        with pytest.raises(fp.ModelError, match="no loss of a batch"):
            notion_loss(risk, classes=[0, 1], groups="ab")
    for notion, match in (
        (fp.PredictiveParity(), "not linear"),
        (fp.DemographicParity(on="sex"), "adds up groups"),
        ("dp", "must be a notion"),
    ):
        with pytest.raises(fp.ModelError, match=match):
            notion_loss(notion, classes=[0, 1], groups="ab")
    with pytest.raises(fp.ModelError, match="kind"):
        notion_loss(fp.DemographicParity(), "mean", classes=[0, 1], groups="ab")
    loss = notion_loss(fp.DemographicParity(), classes=[0, 1], groups="ab")
    with pytest.raises(fp.DataError, match="sensitive_features"):
        loss(torch.zeros(2), [0, 1], ["a", "c"])


def test_training_with_it_makes_a_model_fair():
    rng = np.random.default_rng(0)
    n = 2000
    a = rng.choice(["f", "m"], n)
    X = torch.tensor(rng.normal(size=(n, 3)) + (a == "m")[:, None], dtype=torch.float32)
    y = (X.sum(dim=1).numpy() + rng.normal(size=n) > 1).astype(int)

    def gap(strength):
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 1)
        loss = notion_loss(fp.DemographicParity(), "absolute", classes=[0, 1], groups=["f", "m"])
        optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
        for _ in range(150):
            optimiser.zero_grad()
            z = model(X)[:, 0]
            ce = torch.nn.functional.binary_cross_entropy_with_logits(z, torch.tensor(y).float())
            (ce + strength * loss(z, y, a)).backward()
            optimiser.step()
        guess = (model(X)[:, 0] > 0).numpy().astype(int)
        table = fp.OutcomeTable.from_predictions(y, guess, sensitive_features=a)
        return fp.DemographicParity().gap(table)

    assert gap(5.0) < 0.1 < 0.4 < gap(0.0)
