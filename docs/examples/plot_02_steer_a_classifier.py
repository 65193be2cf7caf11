"""
Steer a classifier
==================

Wrap a classifier so that its scores treat the groups alike at every threshold, and measure what
that changes on rows that were never seen.
"""

# %%
# Wrap it
# -------
# ``SteeredClassifier`` fits the model in five folds and moves each fold's scores by one
# increasing map per group. It needs the group when it predicts, and no label.

from sklearn.ensemble import HistGradientBoostingClassifier

import fairprog as fp

table = fp.datasets.load_lender()
features = ["income", "years", "sector"]
train, test = table[:4000], table[4000:]

model = HistGradientBoostingClassifier(max_iter=60, random_state=0)
model.fit(train[features], train["repaid"])
before = model.predict_proba(test[features])[:, 1]

fair = fp.SteeredClassifier(HistGradientBoostingClassifier(max_iter=60, random_state=0))
fair.fit(train[features], train["repaid"], sensitive_features=train["sex"])
after = fair.predict_proba(test[features], sensitive_features=test["sex"])[:, 1]

# %%
# Judge it on new rows
# --------------------
# One audit takes both scores, so that bands and chance are those of the same rows.

found = fp.audit(test["repaid"], before, sensitive_features=test["sex"], y_score_after=after)
print(found.verdict)
found.plot()

# %%
# What it costs, and whom it moves
# --------------------------------
# Accuracy at the threshold 0.5 and the equal opportunity gap there, before and after.

for name, s in {"before": before, "after": after}.items():
    outcome = fp.OutcomeTable.from_predictions(
        test["repaid"], (s > 0.5).astype(int), sensitive_features=test["sex"]
    )
    gap = fp.EqualOpportunity().gap(outcome)
    print(f"{name:7} accuracy {outcome.accuracy:.3f}, equal opportunity gap {gap:.3f}")

# %%
# Here fairness costs no accuracy: the model could not tell that women's features understate.
# And how many decisions at that threshold changed, group by group:

moved = (after > 0.5) != (before > 0.5)
for group in ("men", "women"):
    share = moved[test["sex"] == group].mean()
    print(f"decisions changed, {group}: {share:.1%}")
