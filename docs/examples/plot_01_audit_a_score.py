"""
Audit a score
=============

How unequal can any threshold on a score get, who is worse off, and how sure is that?
"""

# %%
# A score, and rows it has not seen
# ---------------------------------
# Loans of a made-up lender. For women both features understate the same ability. A model is
# trained on half of the rows; the other half is there to judge it.

from sklearn.ensemble import HistGradientBoostingClassifier

import fairprog as fp

table = fp.datasets.load_lender()
features = ["income", "years", "sector"]
train, test = table[:4000], table[4000:]

model = HistGradientBoostingClassifier(max_iter=60, random_state=0)
model.fit(train[features], train["repaid"])
score = model.predict_proba(test[features])[:, 1]

# %%
# The verdict
# -----------
# The gap at the worst threshold is compared with what chance alone gives in as many rows.

found = fp.audit(test["repaid"], score, sensitive_features=test["sex"])
print(found.verdict)

# %%
# Every threshold
# ---------------
# The band holds at all thresholds at once. Below the dotted line a gap is what chance leaves.

found.plot()

# %%
# Where, and for whom
# -------------------

worst = found.worst_threshold("equal opportunity")
print(worst)

# %%
# Metrics by group at the threshold 0.5, each with the ends of its interval:

columns = ["rows", "true positive rate", "true positive rate, low", "true positive rate, high"]
print(found.by_group()[columns].round(3).to_string())

# %%
# The next step
# -------------
# The audit says which tool fits; :ref:`the next example
# <sphx_glr_gallery_plot_02_steer_a_classifier.py>` takes it.

print(found.recommendation)
