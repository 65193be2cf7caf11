"""
Compare methods on your rows
============================

Does anything help, and what? Every method on one set of splits, with doing nothing and what chance
alone gives.
"""

# %%
# One call
# --------
# Applicants whose test reads lower and noisier in group b (made up). Any scikit-learn classifier
# will do; every method is fitted and judged on the same three splits.

from sklearn.linear_model import LogisticRegression

import fairprog as fp

table = fp.datasets.load_applicants(2000)
X, y, group = table[["score", "log_years"]], table["good"], table["group"]
found = fp.compare(
    LogisticRegression(max_iter=1000), X, y, sensitive_features=group, cv=3, progress=False
)
found.plot()

# %%
# The same as a table; ``to_frame`` has more figures, each with its standard error.

columns = ["score", "score, standard error", "worst gap", "worst gap, standard error", "chance"]
print(found.to_frame()[columns].round(3).to_string())

# %%
# Which one, then?
# ----------------
# The best row of a table flatters itself: the rows that chose it also praise it. ``best`` chooses
# on inner splits and reports what those choices do to the outer ones.

best = found.best(max_loss=0.01, cv=2)
print(best)
model = best.estimator.fit(X, y, sensitive_features=group)
print(model.predict(X[:5], sensitive_features=group[:5]))
