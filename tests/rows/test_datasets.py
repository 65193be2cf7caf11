"""Tables to try things on: the same for the same seed, as described, never downloaded."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fairprog as fp

DATA = os.environ.get("FAIRPROG_DATA")
needs_data = pytest.mark.skipif(
    not DATA or not Path(DATA).is_dir(), reason="it needs FAIRPROG_DATA, the folder of the data"
)


@pytest.mark.parametrize("load", [fp.datasets.load_applicants, fp.datasets.load_lender])
def test_a_made_up_table_is_the_same_for_the_same_seed(load):
    pd.testing.assert_frame_equal(load(300), load(300))
    assert not load(300).equals(load(300, random_state=1))
    assert len(load(np.int64(5))) == 5


@pytest.mark.parametrize("n", [0, -3, 2.5, True, "10"])
def test_a_number_of_rows_is_checked(n):
    with pytest.raises(fp.DataError, match="`n` must be a positive whole number"):
        fp.datasets.load_lender(n)


def test_applicants_do_equally_well_in_both_groups_and_read_lower_in_one():
    table = fp.datasets.load_applicants(60_000)
    means = table.groupby("group")[["good", "score", "log_years"]].mean()
    assert abs(means.loc["a", "good"] - means.loc["b", "good"]) < 0.01
    assert (means.loc["b", ["score", "log_years"]] < means.loc["a", ["score", "log_years"]]).all()


def test_loans_have_the_base_rates_that_are_said():
    rates = fp.datasets.load_lender(60_000).groupby("sex")["repaid"].mean()
    assert abs(rates["men"] - 0.55) < 0.01 and abs(rates["women"] - 0.45) < 0.01


def test_another_file_by_that_name_is_refused(tmp_path):
    (tmp_path / "law_school_clean.csv").write_text("a,b\n1,2\n")
    with pytest.raises(fp.DataError, match="0 of the 3 columns"):
        fp.datasets.fetch_law_school(tmp_path)
    (tmp_path / "adult.data").write_text("1,2\n")
    with pytest.raises(fp.DataError, match="2 of the 15 columns"):
        fp.datasets.fetch_adult(tmp_path)


@needs_data
@pytest.mark.parametrize(
    "name, folder, rows, label, rates",
    [
        ("adult", "adult", 48_842, ("sex", "income"), {"Female": 0.1093, "Male": 0.3038}),
        (
            "compas",
            "compas",
            6_150,
            ("race", "no_recid"),
            {"African-American": 1 - 0.5143, "Caucasian": 1 - 0.3936},
        ),
        ("law_school", "law", 20_798, ("race", "pass_bar"), {"Non-White": 0.723, "White": 0.9213}),
    ],
)
def test_public_tables_have_the_rows_and_rates_that_are_published(
    name, folder, rows, label, rates
):
    table = getattr(fp.datasets, f"fetch_{name}")(Path(DATA) / folder)
    assert len(table) == rows
    sensitive, y = label
    found = table.groupby(sensitive)[y].mean()
    for group, rate in rates.items():
        assert found[group] == pytest.approx(rate, abs=1e-4)
