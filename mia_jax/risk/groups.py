"""Does one group of patients carry more risk than the others? Counted in patients.

Never from the maximum over a patient's records: patients with more records win it even
where nothing leaks. Mask-free AUCs and their p-values have one null distribution for
any number of records, so groups with many records are not accused by chance. The
p-values of counts and ranks compare patients with equally many records; patients who
share their masks (`unit_of_patient`) are never taken as independent.

Every number stands beside the same after adjustment for label, number of records and
the other attributes (`adjustment.py`): most marginal findings shrink, some vanish.
"""

import numpy as np
import pandas as pd
from absl import logging

from mia_jax.risk import (
    _factors,
    adjustment,
    cells,
    disparity,
    group_rows,
    group_titles,
)

EXPOSED_AUC = group_rows.EXPOSED_AUC
_TESTS = {
    # p-value of every family: the columns that adjust it over all rows
    "p_value": ("p_holm", "p_bh"),
    "mean_auc_p_value": ("mean_auc_p_holm", "mean_auc_p_bh"),
    "adjusted_p_value": ("adjusted_p_holm", "adjusted_p_bh"),
    "adjusted_relative_risk_p_value": (
        "adjusted_relative_risk_p_holm",
        "adjusted_relative_risk_p_bh",
    ),
    "top_p_value": ("top_p_holm",),
    "rank_p_value": ("rank_p_holm",),
}


_with_limits = group_rows.with_limits
COLUMNS = (
    *("attribute", "value", "is_intersection", "num_patients", "mean_records"),
    *("num_proven", "expected_proven", "share_proven"),
    *(*_with_limits("relative_risk"), "p_value", "p_holm", "p_bh"),
    *("exposed_share", "exposed_low", "exposed_high"),
    *_with_limits("exposed_difference"),
    *("mean_auc", *_with_limits("mean_auc_difference"), "mean_auc_effect"),
    *("mean_auc_p_value", "mean_auc_p_holm", "mean_auc_p_bh"),
    *_with_limits("adjusted_difference"),
    *("adjusted_p_value", "adjusted_p_holm", "adjusted_p_bh"),
    *_with_limits("adjusted_relative_risk"),
    *("adjusted_relative_risk_p_value", *_TESTS["adjusted_relative_risk_p_value"]),
    *("top_share", *_with_limits("top_ratio"), "top_p_value", "top_p_holm"),
    *("rank_effect", "rank_p_value", "rank_p_holm"),
)


def table(
    groups: pd.DataFrame,
    is_proven: np.ndarray,
    auc_mask_free: np.ndarray,
    n_in: int,
    n_out: int,
    seed: int = 0,
    *,
    num_records: np.ndarray | None = None,
    label: np.ndarray | None = None,
    unit_of_patient: np.ndarray | None = None,
    intersections: bool = True,
    min_cell: int = 10,
    max_intersections: int = 100,
) -> pd.DataFrame:
    """Every group against all other patients.

    Args:
      groups: one row per patient, one column per attribute, values strings; those that
        matter most first (`cells.py`).
      is_proven: [patients] bool, false discovery rate 5 %.
      auc_mask_free: [patients] mask-free AUCs in 0..1.
      n_in: number of models trained with a patient, the typical count.
      n_out: number of models trained without.
      seed: breaks ties at the edge of the top 1 %; of permutations of units.
      num_records: [patients] int; None: nothing is known, no strata.
      label: [patients] or [patients, covariates], what risk may come from by way of the
        task, such as the mean label of a patient's records; more than ten different
        numbers are cut into tenths. None: not adjusted for.
      unit_of_patient: [patients] int, patients with equal numbers share their masks;
        None: every patient alone.
      intersections: whether cells of two attributes are compared too.
      min_cell: fewest patients of such a cell, and of an adjusted comparison.
      max_intersections: most such cells.

    Returns:
      One row per attribute and value, in the order of the columns and sorted by value,
      then the cells of two attributes; attributes with a single value are left out.
      Columns are `COLUMNS`; NaN = undefined.
        p_value: two-sided, exact for single patients, by permutation within strata of
          the number of records; relative_risk is crude.
        exposed_*: denoised share above `EXPOSED_AUC` of the group; its difference from
          all others' share. NaN unless `distribution.is_reportable` for both.
        mean_auc_*: Welch; robust to units; the effect is in standard deviations.
        adjusted_*: see `adjustment.py`.
        top_*: share of the group in the 1 % of highest AUC; odds ratio within strata;
          one-sided p-value of enrichment.
        rank_*: probability to rank above others of the same stratum, two-sided.
        *_holm, *_bh: over all rows with a defined test.
      `attrs` counts the cells left out: num_small_cells, num_cells_over_limit.

    Raises:
      InputError: if lengths differ.
    """
    cohort = group_rows.cohort_of(
        is_proven, auc_mask_free, (n_in, n_out), seed, num_records, unit_of_patient
    )
    label = group_rows.label_columns(label, len(cohort.auc))
    group_rows.check(len(groups), cohort, label)
    names, factors = cells.attributes(groups)
    found = cells.find(names, factors, intersections, min_cell, max_intersections)
    columns: dict[str, np.ndarray] = {"attribute": [c.attribute for c in found.cells]}
    columns["value"] = [c.value for c in found.cells]
    columns["is_intersection"] = [c.is_intersection for c in found.cells]
    if found.cells:
        columns |= group_rows.columns(found.cells, cohort)
        nuisance = [cohort.stratum, *map(_factors.classes, label.T)]
        columns |= adjustment.columns(
            found.cells,
            [_factors.pooled(f, min_cell) for f in factors],
            [_factors.pooled(_factors.factor(v), min_cell) for v in nuisance],
            (cohort.auc, cohort.is_proven, cohort.unit),
            min_cell,
        )
    result = pd.DataFrame(columns).reindex(columns=list(COLUMNS))
    for raw, adjusted in _TESTS.items():
        for name in adjusted:
            method = "holm" if name.endswith("holm") else "bh"
            result[name] = disparity.adjust(result[raw], method)
    result.attrs["num_small_cells"] = found.num_small
    result.attrs["num_cells_over_limit"] = found.num_over_limit
    if found.num_over_limit:
        logging.info(
            "%d cells of two attributes are not compared: over the limit of %d",
            found.num_over_limit,
            max_intersections,
        )
    return result


def endpoint(table: pd.DataFrame) -> str:
    """What this table's groups are compared by: the one rule, `disparity.endpoint`."""
    return group_titles.endpoint(table)


def title(table: pd.DataFrame) -> str:
    """The finding on groups in one sentence, from the table alone."""
    return group_titles.title(table)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm-adjusted p-values over those that are defined; NaN stays NaN."""
    return disparity.adjust(p_values, "holm")
