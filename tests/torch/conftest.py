"""A population of hidden states, steered, and a batch of them; torch waits until asked for."""

import pytest


@pytest.fixture(scope="module")
def sol():
    from tests.hooked_models import steered

    return steered()


@pytest.fixture
def batch():
    from tests.hooked_models import hidden_states

    return hidden_states()
