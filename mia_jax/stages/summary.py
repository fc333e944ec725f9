"""From what was measured to `summary.json`: all numbers that a page needs."""

import datetime
from typing import Any

import numpy as np

from mia_jax import config, predictions
from mia_jax.report import headline
from mia_jax.risk import design, distribution, groups, intervals, precision
from mia_jax.stages import curves

THRESHOLDS = (0.6, 0.7, 0.8, 0.9)
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
_MAX_NOTE = "biased upwards: the largest of several noisy values; compare with its null"


def build(found: Any, attack: config.Plugin, facts: dict[str, Any]) -> dict[str, Any]:
    """The summary.

    Args:
      found: `stages.attack.Found`.
      attack: name and options.
      facts: `provenance.collect()`.

    Returns:
      What summary.json holds, less the headline and the wall seconds.
    """
    parts = (_cohort, _aggregate, _patients, _precision, _null, _origin)
    summary: dict[str, Any] = {"schema": "mia_jax.summary/1"}
    for part in parts:
        summary.update(part(found))
    summary["attack"] = {"name": attack.name, "options": dict(attack.options)}
    summary.update({key: facts[key] for key in ("device", "versions", "code")})
    summary["date"] = datetime.datetime.now(datetime.UTC).date().isoformat()
    words = headline.write(
        exposed=summary["exposed"],
        num_patients=summary["num_patients"],
        num_proven=summary["num_proven"],
        detection_limit=summary["detection_limit"],
        num_models=summary["num_models"],
        models_needed=summary["models_needed"],
        fdr=summary["fdr"],
    )
    summary["headline"], summary["headline_detail"] = words.text, words.detail
    summary["headline_case"] = words.case
    return summary


def _cohort(found: Any) -> dict[str, Any]:
    about = found.given.about
    return {
        "title": about["title"] or "Predictions",
        "dataset": about.get("dataset"),
        "task": about["task"],
        "unit": about["unit"],
        "num_models": len(found.given.member_mask),
        "num_patients": len(found.given.patient_ids),
        "num_records": len(found.given.labels),
        "num_test_patients": about.get("num_test_patients"),
        "blocks": list(about["blocks"]),
        "mask_design": about["design"],
        "metrics": {"test": None, **found.given.metrics.get("mean", {})},
        "metrics_sd": {"test": None, **found.given.metrics.get("sd", {})},
    }


def _aggregate(found: Any) -> dict[str, Any]:
    band = lambda values: [float(v) for v in np.quantile(values, (0.1, 0.9))]
    has_targets = len(found.aucs) > 0
    tpr, tpr_band = {}, {}
    for fpr, values in found.tpr.items():
        key = f"{fpr:g}"
        tpr[key] = None if values is None else float(np.median(values))
        tpr_band[key] = None if values is None else band(values)
    return {
        "aggregate_auc": float(np.median(found.aucs)) if has_targets else None,
        "aggregate_auc_band": band(found.aucs) if has_targets else None,
        "tpr_at_fpr": tpr,
        "tpr_at_fpr_band": tpr_band,
    }


def _patients(found: Any) -> dict[str, Any]:
    risk = found.risk
    share, low, high = distribution.share_above(found.true_risk, THRESHOLDS)
    if not found.is_denoised:
        share = low = high = np.full(len(THRESHOLDS), np.nan)
    key = lambda value: f"{value:g}"
    exposed = {
        key(t): {"share": _number(s), "low": _number(a), "high": _number(b)}
        for t, s, a, b in zip(THRESHOLDS, share, low, high, strict=True)
    }
    joint = curves.share_above(risk.auc, np.array(THRESHOLDS))
    largest = curves.share_above(found.auc_max_record, np.array(THRESHOLDS))
    above = {
        key(t): {"joint": float(j), "max": float(m)}
        for t, j, m in zip(THRESHOLDS, joint, largest, strict=True)
    }
    quantiles = np.quantile(risk.auc, _QUANTILES)
    return {
        "fdr": found.fdr,
        "num_proven": int(risk.is_proven.sum()),
        "num_proven_holm": int(risk.is_proven_holm.sum()),
        "exposed": exposed,
        "patient_auc_mean": float(risk.auc.mean()),
        "patient_auc_quantiles": {
            key(q): float(v) for q, v in zip(_QUANTILES, quantiles, strict=True)
        },
        "share_of_patients_above": above,
        "worst_patient": _worst(found),
        "max_record": {
            "mean": float(found.auc_max_record.mean()),
            "null_mean": float(found.null.auc_max_record.mean()),
            "note": _MAX_NOTE,
        },
        "groups_title": groups.title(found.groups),
    }


def _worst(found: Any) -> dict[str, float]:
    """The highest mask-free AUC and its lower limit, simultaneous over all patients."""
    risk, given = found.risk, found.given
    worst = int(np.argmax(risk.auc_mask_free))
    level = 1.0 - 0.05 / len(risk.auc)
    sides = design.counts(given.member_mask, given.block_of_model)
    n_in, n_out = (side[:, [worst]] for side in sides)
    auc = risk.auc_mask_free[[worst]]
    low, _ = intervals.score_interval(auc, n_in, n_out, level=level)
    return {"auc": float(auc[0]), "lower_limit": float(low[0])}


def _precision(found: Any) -> dict[str, Any]:
    sides = design.counts(found.given.member_mask, found.given.block_of_model)
    num_models = np.stack([np.median(side, 1).astype(int) for side in sides], 1)
    num_patients = len(found.risk.auc)
    smallest_p = precision.smallest_p(num_models)
    needed = precision.models_needed(num_patients, found.fdr)
    factor = 1
    while precision.smallest_p(factor * num_models) > found.fdr / num_patients:
        factor *= 2  # unbalanced masks need more than balanced ones would
    needed = max(needed, factor * len(found.given.member_mask) if factor > 1 else 0)
    return {
        "precision": {
            "sd_at_half": precision.null_sd(num_models),
            "ci_half_width": precision.half_width(num_models, 0.5),
        },
        "detection_limit": _number(precision.detection_limit(num_models, num_patients)),
        "smallest_p_value": float(smallest_p),
        "models_needed": int(needed),
    }


def _null(found: Any) -> dict[str, Any]:
    null = found.null
    return {
        "null_check": {
            "num_proven": int(null.num_proven),
            "num_patients": len(found.risk.auc),
            "mean_auc": float(null.auc.mean()),
            "num_permutations": 1,
        }
    }


def _origin(found: Any) -> dict[str, Any]:
    """Settings of the training run; None where the models come from elsewhere."""
    settings = found.given.about.get("settings", {})
    return {
        "model": settings.get("model"),
        "train": settings.get("train"),
        "defence": settings.get("defence"),
        "data": settings.get("data"),
        "seed": found.seed,
        "data_fingerprint": settings.get("data_fingerprint")
        or predictions.fingerprint(found.given),
        "train_devices": found.given.about.get("devices"),
        "train_code": found.given.about.get("code"),
    }


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
