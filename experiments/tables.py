"""Real data sets as tables: numeric features, one label column, one sensitive column.

`folder` is the folder of the data sets, which holds ``compas/`` and ``adult/``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from fairprog.datasets import ADULT_COLUMNS, fetch_compas

__all__ = ["adult", "adult_rows", "compas"]


def compas(folder: Path) -> pd.DataFrame:
    """Return ProPublica's two-year file: African-American and Caucasian, all 6,150 rows.

    Columns: age, log_priors, log_juvenile (all juvenile counts together), felony, race, and
    no_recid = 1 where there was no recidivism within two years. Counts n enter as log(1 + n).
    """
    return fetch_compas(Path(folder) / "compas")


def adult_rows(folder: Path) -> pd.DataFrame:
    """Read the 48,842 rows of Adult, training and test rows of the publication together."""
    parts = [
        pd.read_csv(
            Path(folder) / "adult" / name,
            names=ADULT_COLUMNS,
            skiprows=skip,
            skipinitialspace=True,
            na_values="?",
        )
        for name, skip in (("adult.data.gz", 0), ("adult.test.gz", 1))
    ]
    return pd.concat(parts, ignore_index=True)


def adult(folder: Path) -> pd.DataFrame:
    """Return UCI Adult, training and test file together: 48,842 rows.

    Columns: age, education_num, log_capital_gain, log_capital_loss, hours_per_week, sex, and
    income (1: more than 50K). Left out are `relationship`, which nearly tells the sex, the
    survey weight, and the categorical columns: no normal law fits a 0/1 column, and an affine map
    may overshoot there (with marital status as a sixth feature the held-out equal-opportunity gap
    goes from +0.18 to -0.17). Amounts v enter as log(1 + v).
    """
    raw = adult_rows(folder)
    return pd.DataFrame(
        {
            "age": raw["age"],
            "education_num": raw["education_num"],
            "log_capital_gain": np.log1p(raw["capital_gain"]),
            "log_capital_loss": np.log1p(raw["capital_loss"]),
            "hours_per_week": raw["hours_per_week"],
            "sex": raw["sex"],
            "income": raw["income"].str.rstrip(".").eq(">50K").astype(int),
        }
    )
