"""Templates are data: `repr` and JSON rebuild them, and what is none is refused."""

import json

import numpy as np
import pytest

import fairprog as fp
from tests.outcome_tables import ANY_K

TEMPLATES = [
    *(kind() for kind in [*ANY_K, fp.PredictiveEquality]),
    *(kind(difference_bound=0.02) for kind in ANY_K),
    fp.EqualizedOdds(ratio_bound=0.8),
    fp.EqualOpportunity(positive="hired"),
    fp.EqualOpportunity(positive=("a", 1), difference_bound=1.0),
    fp.DemographicParity(positive=0),
    fp.Parity("P(yhat=1 | y=1)"),
    fp.Parity("P(yhat!='x')", ratio_bound=0.5),
    fp.ErrorRate(),
    fp.CostSensitiveRisk({"fp": 1, "fn": 5}),
    fp.CostSensitiveRisk(np.arange(9.0).reshape(3, 3) / 7),
    fp.Translation(),
    fp.Scaling(),
    fp.Diagonal(),
    fp.Monotone(),
    fp.Monotone("identity"),
    fp.Monotone([[2.0, 0.1], [0.1, 1 / 3]]),
    fp.Whitened(),
    fp.Whitened(class_="high"),
    fp.Whitened(0),
]


@pytest.mark.parametrize("template", TEMPLATES, ids=repr)
def test_repr_and_json_rebuild_a_template(template):
    assert eval(repr(template), vars(fp)) == template
    text = json.dumps(template.to_dict(), allow_nan=False)
    again = fp.template_from_dict(json.loads(text))
    assert again == template
    assert type(again) is type(template)
    assert hash(again) == hash(template)
    with pytest.raises(AttributeError):
        template.difference_bound = 0.5


def test_templates_differ_where_their_data_or_class_differ():
    assert len(set(TEMPLATES)) == len(TEMPLATES)
    assert fp.DemographicParity() != fp.EqualOpportunity()


def test_numbers_out_of_numpy_make_the_same_template():
    for bound in np.linspace(0.01, 0.03, 3):
        notion = fp.EqualizedOdds(difference_bound=bound, positive=np.int64(1))
        assert eval(repr(notion), vars(fp)) == notion
        assert fp.template_from_dict(json.loads(json.dumps(notion.to_dict()))) == notion


def test_dictionaries_that_are_no_template():
    with pytest.raises(fp.ModelError, match="Unknown template 'Nothing'; known are"):
        fp.template_from_dict({"template": "Nothing"})
    with pytest.raises(fp.ModelError, match="Unknown template None"):
        fp.template_from_dict({})
    with pytest.raises(fp.ModelError, match=r"DemographicParity.*colour"):
        fp.template_from_dict({"template": "DemographicParity", "colour": "red"})
    with pytest.raises(fp.ModelError, match="cannot be written as JSON"):
        fp.EqualOpportunity(positive=frozenset("a")).to_dict()
