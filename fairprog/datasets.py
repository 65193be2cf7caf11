"""Tables to try things on: made-up ones, and readers of public files that are on your disk.

Nothing here is downloaded, and no data travel with the package. Every function returns a data
frame with one label column and one or more sensitive columns; its docstring says which.
"""

from __future__ import annotations

from collections.abc import Collection
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fairprog.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["fetch_adult", "fetch_compas", "fetch_law_school", "load_applicants", "load_lender"]

ADULT_COLUMNS = [
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education_num",
    "marital_status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital_gain",
    "capital_loss",
    "hours_per_week",
    "native_country",
    "income",
]


def load_applicants(n: int = 12_000, *, random_state: int = 7) -> pd.DataFrame:
    """Applicants whose test reads lower and noisier in one group; made up.

    Whether an applicant turns out well (``good``, 45 % in both groups) does not depend on the
    group. The test score of group b is 0.9 times what they would have scored in group a, minus 3,
    plus noise; their experience is shorter by a fifth. One map of group b undoes nearly all of it.

    Parameters
    ----------
    n : int
        Number of rows.
    random_state : int
        Seed of the draws: the same seed gives the same rows.

    Returns
    -------
    DataFrame, n rows
        Columns ``score`` (points), ``log_years`` (log of years of experience), ``group`` (the
        sensitive column, "a" or "b", 60 to 40) and ``good`` (the label, 0 or 1).

    Raises
    ------
    DataError
        If `n` is not a positive whole number.

    Examples
    --------
    >>> import fairprog as fp
    >>> table = fp.datasets.load_applicants()
    >>> print(table.groupby("group")["score"].mean().round(1).to_dict())
    {'a': 63.8, 'b': 54.8}
    """
    import pandas as pd

    n = _count(n)
    rng = np.random.default_rng(random_state)
    group = rng.choice(["a", "b"], p=[0.6, 0.4], size=n)
    good = rng.random(n) < 0.45
    score = 60 + 9 * good + rng.normal(scale=7, size=n)
    score = np.where(group == "b", 0.9 * score - 3 + rng.normal(scale=2.0, size=n), score)
    log_years = 1.1 + 0.35 * good + rng.normal(scale=0.4, size=n) - 0.22 * (group == "b")
    columns = {"score": score, "log_years": log_years, "group": group, "good": good.astype(int)}
    return pd.DataFrame(columns)


def load_lender(n: int = 8_000, *, random_state: int = 0) -> pd.DataFrame:
    """Loans of a lender whose two features understate the same ability in women; made up.

    A hidden skill decides with chance whether a loan is repaid. Income is log-normal in it, years
    at work are whole numbers, and both read lower for women at the same skill; the sector says
    nothing. Base rates differ: 55 % of the men's loans are repaid and 45 % of the women's.

    Parameters
    ----------
    n : int
        Number of rows.
    random_state : int
        Seed of the draws: the same seed gives the same rows.

    Returns
    -------
    DataFrame, n rows
        Columns ``income`` (thousands), ``years`` (whole years at work), ``sector`` (0 to 3),
        ``sex`` (the sensitive column, "men" or "women", 60 to 40) and ``repaid`` (the label).

    Raises
    ------
    DataError
        If `n` is not a positive whole number.

    Examples
    --------
    >>> import fairprog as fp
    >>> table = fp.datasets.load_lender()
    >>> print(table.groupby("sex")[["income", "repaid"]].mean().round(2).to_dict("index"))
    {'men': {'income': 28.66, 'repaid': 0.54}, 'women': {'income': 20.29, 'repaid': 0.45}}
    """
    import pandas as pd

    n = _count(n)
    rng = np.random.default_rng(random_state)
    sex = rng.choice(["men", "women"], n, p=[0.6, 0.4])
    repaid = (rng.random(n) < np.where(sex == "women", 0.45, 0.55)).astype(int)
    skill = rng.standard_normal(n) + 1.2 * repaid
    income = np.exp(0.4 * np.where(sex == "women", 0.8 * skill - 0.6, skill) + 3)
    years = np.floor((6 + 2 * rng.standard_normal(n) + 2 * repaid - 2 * (sex == "women")).clip(0))
    sector = rng.integers(4, size=n)
    columns = {"income": income, "years": years, "sector": sector, "sex": sex, "repaid": repaid}
    return pd.DataFrame(columns)


def fetch_adult(folder: str | PathLike[str]) -> pd.DataFrame:
    """Read UCI Adult (census income, 1994) from a folder on your disk.

    Parameters
    ----------
    folder : path
        Holds the files of the publication, ``adult.data`` and ``adult.test``, plain or gzipped.

    Returns
    -------
    DataFrame, 48,842 rows
        The 15 columns of the publication with ``_`` in their names; training and test rows one
        after the other. ``income`` (the label) is 1 above 50,000 dollars; ``sex`` and ``race`` are
        sensitive. Question marks are missing values.

    Raises
    ------
    DataError
        If a file is not there, or has other columns.

    Notes
    -----
    ``relationship`` nearly tells the sex, ``fnlwgt`` is a survey weight, and the threshold of the
    label is arbitrary; see Ding, Hardt, Miller and Schmidt, *Retiring Adult* (2021).

    Examples
    --------
    >>> import fairprog as fp
    >>> try:
    ...     table = fp.datasets.fetch_adult("no such folder")
    ... except fp.DataError as error:
    ...     print(error)
    `folder`: there is neither adult.data nor adult.data.gz in 'no such folder'. The package ...
    """
    import pandas as pd

    parts = []
    for name, skip in (("adult.data", 0), ("adult.test", 1)):
        path = _find(folder, name)
        part = pd.read_csv(path, header=None, skiprows=skip, skipinitialspace=True, na_values="?")
        _columns(part.columns, len(ADULT_COLUMNS), path)
        parts.append(part.set_axis(ADULT_COLUMNS, axis=1))
    table = pd.concat(parts, ignore_index=True)
    table["income"] = table["income"].str.rstrip(".").eq(">50K").astype(int)
    return table


def fetch_compas(folder: str | PathLike[str]) -> pd.DataFrame:
    """Read ProPublica's two-year recidivism file from a folder on your disk.

    Parameters
    ----------
    folder : path
        Holds ``compas-scores-two-years.csv``, plain or gzipped.

    Returns
    -------
    DataFrame, 6,150 rows
        African-American and Caucasian defendants, unfiltered. ``age``, ``log_priors`` and
        ``log_juvenile`` (log(1 + n) of counts), ``felony`` (0 or 1), ``race`` (the sensitive
        column) and ``no_recid`` (the label: 1 without recidivism within two years).

    Raises
    ------
    DataError
        If the file is not there, or lacks a column.

    Notes
    -----
    The two-year construction is known to count too many recidivists (Barenstein 2019).

    Examples
    --------
    >>> import fairprog as fp
    >>> try:
    ...     table = fp.datasets.fetch_compas("no such folder")
    ... except fp.DataError as error:
    ...     print(error)
    `folder`: there is neither compas-scores-two-years.csv nor compas-scores-two-years.csv.gz ...
    """
    import pandas as pd

    path = _find(folder, "compas-scores-two-years.csv")
    juvenile = ["juv_fel_count", "juv_misd_count", "juv_other_count"]
    needed = ["age", "race", "priors_count", "c_charge_degree", "two_year_recid", *juvenile]
    raw = pd.read_csv(path, usecols=lambda name: name in needed)
    _columns([name for name in needed if name in raw], len(needed), path)
    raw = raw[raw["race"].isin(["African-American", "Caucasian"])].reset_index(drop=True)
    return pd.DataFrame(
        {
            "age": raw["age"],
            "log_priors": np.log1p(raw["priors_count"]),
            "log_juvenile": np.log1p(raw[juvenile].sum(axis=1)),
            "felony": (raw["c_charge_degree"] == "F").astype(int),
            "race": raw["race"],
            "no_recid": 1 - raw["two_year_recid"],
        }
    )


def fetch_law_school(folder: str | PathLike[str]) -> pd.DataFrame:
    """Read the cleaned table of the bar passage study from a folder on your disk.

    Parameters
    ----------
    folder : path
        Holds ``law_school_clean.csv``, plain or gzipped, the table of the survey by Le Quy et
        al. (2022).

    Returns
    -------
    DataFrame, 20,798 rows
        Its 12 columns; ``pass_bar`` is the label, ``race`` ("White", "Non-White") and ``male`` (0
        or 1) are sensitive.

    Raises
    ------
    DataError
        If the file is not there, or has other columns.

    Notes
    -----
    ``zfygpa``, ``zgpa`` and the deciles are measured after admission.

    Examples
    --------
    >>> import fairprog as fp
    >>> try:
    ...     table = fp.datasets.fetch_law_school("no such folder")
    ... except fp.DataError as error:
    ...     print(error)
    `folder`: there is neither law_school_clean.csv nor law_school_clean.csv.gz in ...
    """
    import pandas as pd

    path = _find(folder, "law_school_clean.csv")
    table = pd.read_csv(path)
    _columns([name for name in ("pass_bar", "race", "male") if name in table], 3, path)
    return table


def _count(n: object) -> int:
    """Return a number of rows, checked."""
    if isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 1:
        return int(n)
    raise DataError(f"`n` must be a positive whole number of rows; got {n!r}")


def _find(folder: str | PathLike[str], name: str) -> Path:
    """Return the file of that name, plain or gzipped."""
    for path in (Path(folder) / name, Path(folder) / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(
        f"`folder`: there is neither {name} nor {name}.gz in {str(folder)!r}. The package ships "
        "and downloads no data: get the file from its publisher and name the folder it lies in"
    )


def _columns(found: Collection[object], wanted: int, path: Path) -> None:
    """Refuse a file that is another one by that name."""
    if len(found) != wanted:
        raise DataError(
            f"`folder`: {path} is not the file that is expected here: {len(found)} of the "
            f"{wanted} columns that are needed were found"
        )
