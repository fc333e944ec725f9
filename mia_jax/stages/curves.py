"""What the figures draw, as tables: ROC, survival, histogram, no-leak nulls."""

from typing import Any

import numpy as np
import pandas as pd
import scipy.stats

from mia_jax.risk import distribution, precision
from mia_jax.stages import pooled

SURVIVAL_GRID = np.round(np.arange(0.30, 1.0001, 0.005), 3)
DENOISED_GRID = np.round(np.arange(0.60, 0.9901, 0.005), 3)
# Below so many pairs of models, bins of .01 hold two values of an AUC or three: a comb.
_FEW_PAIRS = 10_000
_RECORD_BINS = ((1, 1), (2, 2), (3, 3), (4, 4), (5, 9), (10, None))


def all_of(
    found: Any, patients: pd.DataFrame, summary: dict[str, Any]
) -> dict[str, pd.DataFrame]:
    """Every curve of a run, by name.

    Args:
      found: `stages.measure.Found`.
      patients: the patient table.
      summary: what summary.json holds; rows of its lists are tables here.
    """
    risk, null = found.primary.risk, found.null
    first = found.primary
    return {
        "roc": roc(pooled.FPR_GRID, first.pooled.roc),
        "roc_by_attack": roc_by_attack(found.attacked),
        "survival": survival(risk.auc, null.auc),
        "survival_by_group": found.survival_by_group,
        "denoised": denoised(first.true_risk, found.is_denoised),
        "denoised_ash": denoised(found.ash, found.is_denoised)[["auc", "share"]],
        "histogram": histogram(risk.auc, risk.is_proven, null.auc, _num_pairs(risk)),
        "by_num_records": by_num_records(patients, null.auc),
        "max_record": max_record(found.extremes.auc_max_record, null.auc_max_record),
        "ceiling": found.shield.table(),
        "precision": precision.table(len(risk.auc)),
        **{
            name: pd.DataFrame(summary[name])
            for name in ("thresholds", "ppv", "agreement")
        },
    }


def _num_pairs(risk: Any) -> int:
    return int(np.median(risk.num_in * risk.num_out))


def roc_by_attack(attacked: Any) -> pd.DataFrame:
    """Median ROC curves of several attacks; columns attack, fpr, tpr_median."""
    parts = [
        pd.DataFrame(
            {
                "attack": one.plugin.label,
                "fpr": pooled.FPR_GRID,
                "tpr_median": one.pooled.roc[0],
            }
        )
        for one in attacked
    ]
    return pd.concat(parts, ignore_index=True)


def roc(fpr: np.ndarray, band: tuple[np.ndarray, ...]) -> pd.DataFrame:
    """The pooled ROC curve: median and 80 % band over target models."""
    median, low, high = band
    columns = {"fpr": fpr, "tpr_median": median, "tpr_low": low, "tpr_high": high}
    return pd.DataFrame(columns)


def share_above(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """[grid] share of values strictly above each grid point."""
    ordered = np.sort(values)
    above = len(ordered) - np.searchsorted(ordered, grid, side="right")
    return above / len(ordered)


def survival(auc: np.ndarray, null_auc: np.ndarray) -> pd.DataFrame:
    """Share of patients above each AUC, with a 99 % band of what chance gives.

    Args:
      auc: [patients] measured.
      null_auc: [patients] on permuted masks.
    """
    null = share_above(null_auc, SURVIVAL_GRID)
    low, high = scipy.stats.binom.interval(0.99, len(auc), null)
    return pd.DataFrame(
        {
            "auc": SURVIVAL_GRID,
            "share": share_above(auc, SURVIVAL_GRID),
            "null_share": null,
            "null_low": np.nan_to_num(low) / len(auc),
            "null_high": np.nan_to_num(high) / len(auc),
        }
    )


def denoised(true_risk: distribution.Distribution, is_reportable: bool) -> pd.DataFrame:
    """Share of patients whose true AUC is above each grid point, with its 95 % band.

    No rows where too few patients or models would make it up.
    """
    share, low, high = distribution.share_above(true_risk, DENOISED_GRID)
    return pd.DataFrame(
        {"auc": DENOISED_GRID, "share": share, "low": low, "high": high}
    )[: None if is_reportable else 0]


def histogram(
    auc: np.ndarray, is_proven: np.ndarray, null_auc: np.ndarray, num_pairs: int
) -> pd.DataFrame:
    """Patients by AUC in bins of .01, or somewhat wider for few pairs of models.

    Args:
      auc: [patients] measured.
      is_proven: [patients] bool.
      null_auc: [patients] on permuted masks.
      num_pairs: pairs of an IN and an OUT model, typically.
    """
    edges = _edges(num_pairs)
    count = lambda values: np.histogram(values, edges)[0]
    return pd.DataFrame(
        {
            "left": edges[:-1],
            "right": edges[1:],
            "count": count(auc),
            "count_proven": count(auc[is_proven]),
            "null_count": count(null_auc) * (len(auc) / len(null_auc)),
        }
    )


def _edges(num_pairs: int) -> np.ndarray:
    """Bins with equally many possible values each; a coin flip in the middle of one."""
    if num_pairs >= _FEW_PAIRS:
        return np.round(np.arange(0.0, 1.0001, 0.01), 2)
    width = max(1, round(0.01 * num_pairs)) / num_pairs
    num_left = int(0.5 / width)
    inner = 0.5 + width * (np.arange(-num_left, num_left) + 0.5)
    return np.unique(np.r_[0.0, inner[(inner > 0.0) & (inner < 1.0)], 1.0])


def by_num_records(patients: pd.DataFrame, null_auc: np.ndarray) -> pd.DataFrame:
    """Quantiles of the patient AUC by number of records, beside what chance gives.

    Args:
      patients: columns num_records, auc, is_proven.
      null_auc: [patients] on permuted masks, in the same order.
    """
    rows = []
    for low, high in _RECORD_BINS:
        chosen = patients["num_records"].between(low, high or np.inf).to_numpy()
        if not chosen.any():
            continue
        auc, null = patients["auc"].to_numpy()[chosen], null_auc[chosen]
        quantiles = np.quantile(auc, (0.01, 0.25, 0.5, 0.75, 0.99))
        names = ("q01", "q25", "q50", "q75", "q99")
        null_names = ("null_q01", "null_q50", "null_q99")
        rows.append(
            {
                "num_records": _label(low, high),
                "num_patients": int(chosen.sum()),
                "num_proven": int(patients["is_proven"].to_numpy()[chosen].sum()),
                **dict(zip(names, quantiles, strict=True)),
                **dict(
                    zip(null_names, np.quantile(null, (0.01, 0.5, 0.99)), strict=True)
                ),
            }
        )
    return pd.DataFrame(rows)


def _label(low: int, high: int | None) -> str:
    if high is None:
        return f"{low}+"
    return str(low) if low == high else f"{low}-{high}"


def max_record(maximum: np.ndarray, null_maximum: np.ndarray) -> pd.DataFrame:
    """Share of patients whose largest record AUC is above each threshold."""
    grid = np.round(np.arange(0.5, 1.0, 0.01), 2)
    return pd.DataFrame(
        {
            "threshold": grid,
            "share": share_above(maximum, grid),
            "null_share": share_above(null_maximum, grid),
        }
    )
