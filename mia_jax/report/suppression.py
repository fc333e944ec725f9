"""What may leave the house: the numbers of a run, without any that point to a few.

The public report is built from these tables alone, so its text, its pictures and the
data inside the page all obey the same rules:

- a count of one to four patients is "<5"; where subtraction from a total or another
  count would give it away, the next smallest count goes with it;
- groups under ten patients are not shown, ratios only from five observed patients;
- histograms and curves have steps of five patients or none, and end below five;
- no highest patient, no quantile with fewer than five patients beyond;
- nothing that is not listed here: an unknown key or column stays inside.

Of attributes that nest in each other, such as age in years and age in bands, only the
coarsest is shown. Not covered: attributes of which only some values nest.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mia_jax import validate
from mia_jax.report import (
    cells,
    headline,
    suppression_attacks,
    suppression_curves,
    suppression_groups,
    words,
)

_KEPT = (  # says nothing about few patients
    *("schema", "title", "dataset", "task", "unit", "date", "seed", "code", "device"),
    *("versions", "wall_seconds", "num_models", "num_patients", "num_records"),
    *("blocks", "mask_design", "model", "train", "defence", "attack", "fdr"),
    "ceiling",
    *("aggregate_auc", "aggregate_auc_band", "precision", "detection_limit"),
    *("smallest_p_value", "models_needed", "patient_auc_mean"),
    *("joint_score", "model_mean", "patient_test", "discovered_level"),
    *("groups_endpoint", "num_groups_tested", "min_cell"),
)
_TOP_QUANTILES = (0.999, 0.99, 0.95, 0.9)


class Public(NamedTuple):
    """Tables that may be shown to anybody.

    Attributes:
      summary: as in summary.json; None or "<5" where a number is hidden.
      curves: as in curves.pkl; NaN where a number is hidden.
      groups: as in groups.pkl; NaN or "<5" where a number is hidden.
      top_quantile: (q, AUC) of the highest quantile with five patients above, or None.
    """

    summary: dict[str, Any]
    curves: dict[str, pd.DataFrame]
    groups: pd.DataFrame
    top_quantile: tuple[float, float] | None


def apply(
    summary: dict[str, Any],
    curves: dict[str, pd.DataFrame],
    groups: pd.DataFrame,
    patients: pd.DataFrame,
) -> Public:
    """Suppresses the tables of a finished run.

    Args:
      summary: of summary.json.
      curves: of curves.pkl.
      groups: of groups.pkl.
      patients: of patients.pkl.

    Raises:
      InputError: fewer than ten patients: they are a group that is not shown.
    """
    num_patients = summary["num_patients"]
    validate.require(
        num_patients >= cells.FEWEST_IN_GROUP,
        f"a cohort of {num_patients} patients",
        f"a public report needs at least {cells.FEWEST_IN_GROUP}",
        "pass on the confidential report, to those who may see patients",
    )
    endpoint = summary.get("groups_endpoint")
    shown = suppression_groups.suppress(groups, patients, endpoint)
    drawn = suppression_curves.suppress(curves, summary, patients, shown, endpoint)
    result = {key: summary[key] for key in _KEPT if key in summary}
    for part in _PARTS:
        result |= part(summary)
    result["share_of_patients_above"] = _joint(summary, drawn["survival"])
    result["groups_title"] = suppression_groups.title(shown, endpoint)
    result |= _headline(result)
    top = _top_quantile(patients["auc"].to_numpy(float))
    return Public(result, drawn, shown, top)


def _counts(summary: dict[str, Any]) -> dict[str, Any]:
    proven = summary["num_proven"]
    found = {
        "num_proven": cells.shown(proven),
        "num_proven_holm": cells.part_of(summary.get("num_proven_holm"), proven),
        "worst_patient": None,
        "num_test_patients": _hidden_if_small(summary.get("num_test_patients")),
    }
    storey = summary.get("num_proven_storey")
    if storey is not None:
        is_close = cells.is_small(abs(storey - proven))
        found["num_proven_storey"] = None if is_close else cells.shown(storey)
    share = summary.get("null_share")
    # Its complement is an estimated number of patients who are not null.
    is_few = share is not None and cells.is_small((1 - share) * summary["num_patients"])
    return {**found, "null_share": None if is_few else share}


def _protection(summary: dict[str, Any]) -> dict[str, Any]:
    """The check of the guarantee, without the number of patients it points at."""
    found = summary.get("violation")
    return {"violation": found and {**found, "num_units_flagged": None}}


def _hidden_if_small(value: float | None) -> float | None:
    return None if value is not None and cells.is_small(value) else value


def _shares(summary: dict[str, Any]) -> dict[str, Any]:
    total, found = summary["num_patients"], {}
    for name in ("exposed", "exposed_ash"):
        table = summary.get(name)
        if table is None:
            found[name] = None
        elif name == "exposed":
            found[name] = {k: _exposed(row, total) for k, row in table.items()}
        else:
            found[name] = {k: cells.estimate(v, total) for k, v in table.items()}
    worst = summary.get("worst_record")
    if worst:
        above = _chain(worst.get("share_above") or {}, total)
        found["worst_record"] = {**worst, "share_above": above}
    return found


def _exposed(row: dict[str, Any], total: int) -> dict[str, Any]:
    """A share with its band, whose upper limit is at least five patients."""
    share, low = (cells.estimate(row.get(k), total) for k in ("share", "low"))
    high = row.get("high")
    if not words.is_missing(high) and 0 < high * total < cells.FEWEST:
        high = cells.FEWEST / total
    return {"share": share, "low": low, "high": high}


def _chain(shares: dict[str, float], total: int) -> dict[str, float | str | None]:
    """Shares above rising thresholds, in steps of five patients or none."""
    found, before = {}, total
    for key in sorted(shares, key=float):
        number = 0 if words.is_missing(shares[key]) else round(shares[key] * total)
        if number < cells.FEWEST:
            found[key] = words.FEW
        elif cells.is_small(before - number):
            found[key] = None
        else:
            found[key], before = number / total, number
    return found


def _joint(summary: dict[str, Any], survival: pd.DataFrame) -> dict[str, Any]:
    """Shares above thresholds, where the public survival curve says them anyway."""
    above = summary["share_of_patients_above"]
    largest = _chain({k: row["max"] for k, row in above.items()}, _total(summary))
    known = survival[survival["share"].notna()]
    shares = dict(zip(known["auc"].round(3), known["share"], strict=True))
    end = known["auc"].max() if len(known) else 0.0
    joint = {
        key: words.FEW if float(key) > end else shares.get(round(float(key), 3))
        for key in above
    }
    return {key: {"joint": joint[key], "max": largest[key]} for key in above}


def _total(summary: dict[str, Any]) -> int:
    return summary["num_patients"]


def _quantiles(summary: dict[str, Any]) -> dict[str, Any]:
    total = summary["num_patients"]
    found = {
        "patient_auc_quantiles": _far(summary["patient_auc_quantiles"], total),
    }
    rates = summary.get("tpr_of_patients")
    if rates:
        found["tpr_of_patients"] = {
            fpr: _far(row, total) for fpr, row in rates.items() if row
        }
    return found


def _far(quantiles: dict[str, float], total: int) -> dict[str, float]:
    """Quantiles with at least five patients on both sides.

    Rounded, lest they say how many lie between a quantile and a step of the curve.
    """
    return {
        q: value if value is None else round(value, 2)
        for q, value in quantiles.items()
        if min(float(q), 1 - float(q)) * total >= cells.FEWEST
    }


def _top_quantile(auc: np.ndarray) -> tuple[float, float] | None:
    for q in _TOP_QUANTILES:
        value = float(np.quantile(auc, q))
        if (auc > value).sum() >= cells.FEWEST:
            return q, round(value, 2)
    return None


def _checks(summary: dict[str, Any]) -> dict[str, Any]:
    null = dict(summary["null_check"])
    null["num_proven"] = cells.shown(null["num_proven"])
    found: dict[str, Any] = {"null_check": null}
    check = summary.get("gaussian_check")
    if check:
        number = check.get("num_records_tested") or 0
        hide = lambda v: None if cells.is_small(round(v * number)) else v
        shares = {k: v for k, v in check.items() if k.startswith("share_")}
        found["gaussian_check"] = {
            **{k: None if v is None else hide(v) for k, v in shares.items()},
            **{k: check.get(k) for k in ("num_records_tested", "fdr")},
        }
    largest = summary["max_record"]
    found["max_record"] = {k: largest.get(k) for k in ("mean", "null_mean")}
    is_few = cells.is_small(summary.get("num_test_patients") or 0)
    for name in ("metrics", "metrics_sd"):
        table = dict(summary.get(name) or {})
        found[name] = {**table, "test": None} if is_few else table
    return found


def _headline(result: dict[str, Any]) -> dict[str, Any]:
    """The headline again, from the numbers that may be shown."""
    names = (
        *("exposed", "num_patients", "num_proven", "detection_limit"),
        *("num_models", "models_needed", "fdr"),
    )
    found = headline.write(**{name: result[name] for name in names})
    return {
        "headline": found.text,
        "headline_detail": found.detail,
        "headline_case": found.case,
    }


_PARTS = (
    *(_counts, _shares, _quantiles, _checks),
    *(suppression_attacks.attacks, suppression_attacks.rates),
    *(suppression_attacks.agreement, _protection),
)
