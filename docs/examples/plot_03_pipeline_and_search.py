"""
A pipeline with categories and a search
=======================================

Steering as one step of a scikit-learn pipeline: numbers are steered, categories pass by, and a
grid search chooses the settings.
"""

# %%
# The table
# ---------
# Three columns: two numbers that read lower for women, and a category. Income is skewed, so the
# pipeline takes its logarithm first.

import numpy as np
import pandas as pd
import sklearn
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

import fairprog as fp

table = fp.datasets.load_lender()
features = ["income", "years", "sector"]
train, test = table[:4000], table[4000:]

# %%
# The pipeline
# ------------
# With metadata routing scikit-learn hands ``sensitive_features`` on to the steps that ask for it.
# The column transformer passes the group to the steered numbers only.

sklearn.set_config(enable_metadata_routing=True)

step = fp.IdealSteering(steer=["women"])
step.set_fit_request(sensitive_features=True).set_transform_request(sensitive_features=True)
numbers = make_pipeline(FunctionTransformer(np.log1p), step)
columns = make_column_transformer(
    (numbers, ["income", "years"]), (OneHotEncoder(), ["sector"]), verbose_feature_names_out=False
)
pipeline = make_pipeline(columns, LogisticRegression(max_iter=1000))

# %%
# The search
# ----------
# Names of settings are those of any pipeline. The search splits the group with the rows.

inside = "columntransformer__pipeline__idealsteering__"
grid = {f"{inside}shrinkage": [0.0, 0.5], "logisticregression__C": [0.1, 1.0]}
search = GridSearchCV(pipeline, grid, cv=3)
search.fit(train[features], train["repaid"], sensitive_features=train["sex"])
print({name.rpartition("__")[2]: value for name, value in search.best_params_.items()})

# %%
# On new rows
# -----------
# Against the same pipeline without the step.

plain = make_pipeline(
    make_column_transformer(
        (FunctionTransformer(np.log1p), ["income", "years"]), (OneHotEncoder(), ["sector"])
    ),
    LogisticRegression(max_iter=1000),
).fit(train[features], train["repaid"])

scores = {
    "plain": plain.predict_proba(test[features])[:, 1],
    "steered": search.best_estimator_.predict_proba(
        test[features], sensitive_features=test["sex"]
    )[:, 1],
}
sklearn.set_config(enable_metadata_routing=False)

found = fp.audit(
    test["repaid"],
    scores["plain"],
    sensitive_features=test["sex"],
    y_score_after=scores["steered"],
)
rows = []
for name, s in scores.items():
    right = ((s > 0.5) == test["repaid"]).mean()
    rows.append({"pipeline": name, "accuracy": right})
frame = pd.DataFrame(rows)
frame["worst gap"] = [found.worst["equalized odds", name].gap for name in found.scores]
print(frame.round(3).to_string(index=False))
found.plot()
