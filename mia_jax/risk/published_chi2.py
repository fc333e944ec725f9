"""The published test of groups, on record rows: to repeat a table, not to believe it.

Studies compare who owns the 1 % of records with the highest AUC with who owns all
records, by a chi-square test of goodness of fit. Its rows are taken as independent, yet
the records of one patient share that patient's masks, and leak or scatter together.
With ten records a patient it rejects where nothing leaks; use `groups.table`.
"""

import numpy as np
import pandas as pd
from absl import logging
from scipy import stats

from mia_jax import validate

COLUMNS = ("value", "observed", "expected", "residual", "relative_change")
_WARNING = (
    "chi-square on record rows: %d records of %d patients are taken as independent "
    "(pseudo-replication); p-values are too small, groups.table counts patients"
)


def test(
    value_of_record: np.ndarray,
    auc_of_record: np.ndarray,
    patient_of_record: np.ndarray,
    top_share: float = 0.01,
    num_tests: int = 1,
) -> tuple[pd.DataFrame, float, float]:
    """Chi-square of the groups among the top records; warns of pseudo-replication.

    The cut is a quantile over all records; records of unknown group ("unknown", None)
    are dropped after it.

    Args:
      value_of_record: [records] str, the group of each record's patient.
      auc_of_record: [records] float.
      patient_of_record: [records] int; only counted, for the warning.
      top_share: of the records; those at or above the quantile are the top.
      num_tests: Bonferroni factor.

    Returns:
      table with `COLUMNS`, a row per value, residuals (o - e) / sqrt(e); chi-square
      with values - 1 degrees of freedom; p-value times `num_tests`, at most 1.

    Raises:
      InputError: fewer than two known values, or no known record in the top.
    """
    values = pd.Series(value_of_record, dtype=object).fillna("unknown").to_numpy(str)
    auc = np.asarray(auc_of_record, np.float64)
    logging.warning(_WARNING, len(values), len(np.unique(patient_of_record)))
    is_top = auc >= np.quantile(auc, 1 - top_share)
    is_known = values != "unknown"
    known, code = np.unique(values[is_known], return_inverse=True)
    observed = np.bincount(code[is_top[is_known]], minlength=len(known))
    validate.require(
        len(known) > 1 and observed.sum() > 0,
        f"{len(known)} known values, {observed.sum()} known records in the top",
        "a comparison needs two values and a record",
        "choose another attribute or a larger top_share",
    )
    return _result(known, observed, np.bincount(code) / is_known.sum(), num_tests)


def _result(known, observed, share, num_tests: int):
    chi2, p_value = goodness_of_fit(observed, share * observed.sum(), num_tests)
    expected = share * observed.sum()
    columns = (
        *(known, observed, expected, (observed - expected) / np.sqrt(expected)),
        observed / expected - 1,
    )
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True))), chi2, p_value


def goodness_of_fit(
    observed: np.ndarray, expected: np.ndarray, num_tests: int = 1
) -> tuple[float, float]:
    """Chi-square sum (o - e)^2 / e and its p-value times the number of tests."""
    expected = np.asarray(expected, np.float64)
    chi2 = float(((np.asarray(observed) - expected) ** 2 / expected).sum())
    return chi2, float(min(1.0, num_tests * stats.chi2.sf(chi2, len(expected) - 1)))
