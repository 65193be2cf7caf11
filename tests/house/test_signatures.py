"""What a reader sees of a class: its true parameters, and no inner workings among its methods."""

import copy
import inspect
import pickle

import numpy as np
import pytest

import fairprog as fp
from fairprog.populations import Population
from fairprog.tables import Template

CLASSES = {
    name: thing
    for name in fp.__all__
    if isinstance(thing := getattr(fp, name), type) and not issubclass(thing, BaseException)
}
POPULATIONS = [c for c in CLASSES.values() if issubclass(c, Population)]
RISKS = [c for c in CLASSES.values() if issubclass(c, Template)]


def opaque(call):
    """Return the parameters that say nothing: *args, **kwargs."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in inspect.signature(call).parameters.values() if p.kind in kinds]


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_shows_what_it_takes(name):
    assert opaque(CLASSES[name]) == []


def test_there_are_families_and_risks_among_them():
    assert len(POPULATIONS) >= 12 and len(RISKS) >= 15


@pytest.mark.parametrize("family", POPULATIONS, ids=lambda c: c.__name__)
def test_a_fit_shows_what_it_takes(family):
    if not hasattr(family, "fit"):
        assert family is fp.Pushforward  # an answer, never fitted
        return
    named = inspect.signature(family.fit).parameters
    assert {"X", "y", "sensitive_features", "sample_weight", "classes", "groups"} <= set(named)
    assert opaque(family.fit) == (["options"] if family is fp.Transformed else [])


def test_a_normal_population_is_made_as_it_says():
    shown = list(inspect.signature(fp.Normal).parameters.values())
    assert shown == list(inspect.signature(fp.Normal.__init__).parameters.values())[1:]
    assert "cov" in inspect.signature(fp.LogNormal).parameters


HOOKS = (
    "advice",
    "check_conditions",
    "check_family",
    "check_transport",
    "decision_rates",
    "diagonal_types",
    "find",
    "log_odds_nodes",
    "moved",
    "of_moments",
    "rate_starts",
    "same_support",
    "target_prior",
)


@pytest.mark.parametrize("name", CLASSES)
def test_no_hook_is_a_public_method(name):
    assert set(HOOKS) & set(dir(CLASSES[name])) == set()


@pytest.mark.parametrize("covariance", ["full", "tied", "diagonal"])
@pytest.mark.parametrize("family", [fp.Normal, fp.LogNormal])
def test_populations_are_copied_and_pickled_as_what_they_are(family, covariance):
    prior, mean = np.full((2, 2), 0.25), np.arange(8.0).reshape(2, 2, 2)
    variances = 1.0 + mean
    full = variances[..., None] * np.eye(2)
    cov = {"full": full, "tied": full[0], "diagonal": variances}[covariance]
    D = family(prior, mean, cov=cov, covariance=covariance).with_rows(np.full((2, 2), 9))
    for E in (copy.copy(D), copy.deepcopy(D), pickle.loads(pickle.dumps(D))):
        assert type(E) is type(D) and E.covariance == covariance
        np.testing.assert_array_equal(E.cov, D.cov)
        np.testing.assert_array_equal(E.n_rows, D.n_rows)
