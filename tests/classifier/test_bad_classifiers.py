"""What is no program over classifiers is refused, and templates that clash are named."""

import cvxpy as cp
import numpy as np
import pytest

import fairprog as fp
from tests.instances import UNIVARIATE, random_categorical


def test_clashing_templates_are_named():
    D = random_categorical(np.random.default_rng(18), X=10)
    free = fp.FairClassifier(D, fp.ErrorRate()).solve().risk
    fair = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualizedOdds()]).solve().risk
    between = fp.RiskBound(fp.ErrorRate(), 0.5 * (free + fair))
    loose = fp.AccuracyParity(difference_bound=1.0)
    with pytest.raises(fp.InfeasibleError) as error:
        fp.FairClassifier(D, fp.ErrorRate(), [loose, fp.EqualizedOdds(), between]).solve()
    assert error.value.details["conditions"] == ["equalized_odds", "bound_error_rate"]
    assert "accuracy_parity" not in str(error.value)
    enough = fp.RiskBound(fp.ErrorRate(), fair + 1e-6)
    fp.FairClassifier(D, fp.ErrorRate(), [loose, fp.EqualizedOdds(), enough]).solve()


def test_what_is_no_program():
    D = random_categorical(np.random.default_rng(19))
    with pytest.raises(fp.ModelError, match=r"must be Categorical; found Normal.*discretize"):
        fp.FairClassifier(UNIVARIATE)
    with pytest.raises(fp.ModelError, match="must be a risk"):
        fp.FairClassifier(D, fp.EqualOpportunity())
    with pytest.raises(fp.ModelError, match="neither a notion"):
        fp.FairClassifier(D, fp.ErrorRate(), [0.1])
    with pytest.raises(fp.ModelError, match="must be a list"):
        fp.FairClassifier(D, fp.ErrorRate(), fp.EqualOpportunity())
    rows = fp.Categorical.from_scores([0.2, 0.8, 0.4, 0.9], sensitive_features=list("aabb"))
    with pytest.raises(fp.ModelError, match="group-blind classifier is no restriction"):
        fp.FairClassifier(rows, uses_group=False)
    with pytest.raises(fp.ModelError, match="Only one notion may leave its level free"):
        fp.FairClassifier(D, fp.ErrorRate(), [fp.PredictiveParity(), fp.F1Parity()])
    with pytest.raises(fp.ModelError, match="share the address"):
        twice = [fp.DemographicParity(), fp.DemographicParity(difference_bound=0.1)]
        fp.FairClassifier(D, fp.ErrorRate(), twice).solve()
    with pytest.raises(fp.ModelError, match="linear programs only"):
        fp.FairClassifier(D, fp.RobustRisk()).solve(solver="HIGHS")
    with pytest.raises(fp.ModelError, match="does not accept the solver options"):
        fp.FairClassifier(D).solve(colour="red")
    with pytest.raises(fp.ModelError, match="not convex"):

        @fp.constraint
        def concave(view, population):
            return cp.square(view.Z[0, 0, 0]) >= 0.01

        fp.FairClassifier(D, fp.ErrorRate(), [concave]).solve()
