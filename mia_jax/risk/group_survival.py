"""Each group's survival curve, beside what that many patients give where none leaks."""

import numpy as np
import pandas as pd
from scipy import stats

from mia_jax.risk import cells, permutation

COLUMNS = (
    "attribute",
    "value",
    "num_patients",
    "auc",
    "share",
    "null_low",
    "null_high",
)
_LEVEL = 0.99


def table(
    groups: pd.DataFrame,
    auc: np.ndarray,
    null_auc: np.ndarray,
    grid: np.ndarray,
    num_records: np.ndarray | None = None,
    min_cell: int = 10,
) -> pd.DataFrame:
    """Share of a group's patients above each AUC, with a 99 % band of no leak.

    The band is binomial for the size of the group. Its share is that of the null over
    all patients, mixed by the group's numbers of records: a group's own null patients
    would be too few to say.

    Args:
      groups: one row per patient, one column per attribute.
      auc: [patients] measured.
      null_auc: [patients] the same on permuted masks.
      grid: [grid] AUCs.
      num_records: [patients] int; None: one null for all.
      min_cell: groups of fewer patients have no curve.

    Returns:
      `COLUMNS`, a row per value and grid point.
    """
    num_records = np.ones(len(auc), int) if num_records is None else num_records
    stratum = np.unique(permutation.record_strata(num_records), return_inverse=True)[1]
    null = [_above(null_auc[stratum == s], grid) for s in np.unique(stratum)]
    tables = []
    found = cells.find(*cells.attributes(groups), False, min_cell, 0).cells
    for cell in found:
        size = int(cell.is_group.sum())
        if size < min_cell:
            continue
        mixture = np.bincount(stratum[cell.is_group], minlength=len(null)) / size
        low, high = stats.binom.interval(
            _LEVEL, size, np.clip(mixture @ np.array(null), 0, 1)
        )
        columns = (
            *(cell.attribute, cell.value, size, grid, _above(auc[cell.is_group], grid)),
            *(np.nan_to_num(low) / size, np.nan_to_num(high) / size),
        )
        tables.append(pd.DataFrame(dict(zip(COLUMNS, columns, strict=True))))
    if not tables:
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.concat(tables, ignore_index=True)


def _above(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """[grid] share of values strictly above each grid point."""
    above = len(values) - np.searchsorted(np.sort(values), grid, side="right")
    return above / max(len(values), 1)
