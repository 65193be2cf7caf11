"""
A fair classifier at a cost
===========================

One cost is known and will not change: the best classifier under a fairness bound, what the bound
costs, and how it does on new rows.
"""

# %%
# Scores as a population
# ----------------------
# A model's probabilities on held-out rows of a made-up lender, binned and counted with the labels:
# the counts correct what the scores say too much or too little.

import numpy as np
from sklearn.linear_model import LogisticRegression

import fairprog as fp

table = fp.datasets.load_lender()
features = ["income", "years"]
train, held, new = table[:2500], table[2500:5000], table[5000:]
model = LogisticRegression(max_iter=1000).fit(train[features], train["repaid"])

score = model.predict_proba(held[features])[:, 1]
population = fp.Categorical.from_scores(
    score, y=held["repaid"], sensitive_features=held["sex"], bins=20
)

# %%
# The program
# -----------
# A loan that is not repaid costs one and a half times what a good customer turned away does. True
# positive rates of men and women may differ by two points.

risk = fp.CostSensitiveRisk({"fp": 1.5, "fn": 1.0})
bound = fp.EqualOpportunity(difference_bound=0.02)
program = fp.FairClassifier(population, risk, [bound])
fair, free = program.solve(), fp.FairClassifier(population, risk).solve()
print(f"cost per loan: free {free.risk:.4f}, fair {fair.risk:.4f}")
print(f"gap: free {bound.gap(free.table):.3f}, fair {bound.gap(fair.table):.3f}")
print(f"a point more of gap would save {fair.price['equal_opportunity'] / 100:.5f} per loan")

# %%
# What it decides
# ---------------

fair.plot()

# %%
# What any bound costs
# --------------------
# The slope of the curve is the price.

program.frontier(np.linspace(0.0, 0.3, 13)).plot()

# %%
# On new rows
# -----------
# The promise is about the population of the held-out scores. New rows check it.

s = model.predict_proba(new[features])[:, 1]
for name, sol in {"free": free, "fair": fair}.items():
    chance = sol.classifier.predict_proba_from_scores(s, sensitive_features=new["sex"])[:, 1]
    decided = (chance > np.random.default_rng(0).random(len(s))).astype(int)
    outcome = fp.OutcomeTable.from_predictions(
        new["repaid"], decided, sensitive_features=new["sex"]
    )
    print(f"{name}: cost {risk.evaluate(outcome):.4f}, gap {bound.gap(outcome):.3f}")
