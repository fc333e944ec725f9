"""From what was measured to `summary.json`: all numbers that a page needs."""

import datetime
from typing import Any

import numpy as np

from mia_jax import predictions, results
from mia_jax.report import headline
from mia_jax.risk import (
    ash,
    design,
    distribution,
    groups,
    mask_test,
    multiplicity,
    precision,
    records,
    thresholds,
)
from mia_jax.stages import curves, measure

THRESHOLDS = (0.6, 0.7, 0.8, 0.9)
_EXPOSED = 0.7  # the headline's threshold
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
_MAX_NOTE = "biased upwards: the largest of several noisy values; compare with its null"


def build(found: measure.Found, facts: dict[str, Any]) -> dict[str, Any]:
    """The summary.

    Args:
      found: what was measured.
      facts: `provenance.collect()`.

    Returns:
      What summary.json holds, less the wall seconds.
    """
    parts = (_cohort, _attacks, _patients, _calibration, _extremes, _groups)
    parts += (_precision, _checks, _origin)
    summary: dict[str, Any] = {"schema": results.schema("summary")}
    for part in parts:
        summary.update(part(found))
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


def _cohort(found: measure.Found) -> dict[str, Any]:
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


def _attacks(found: measure.Found) -> dict[str, Any]:
    """Every attack; what the first one reached also stands on its own."""
    rows = [_attack(found, one) for one in found.attacked]
    first = {key: rows[0][key] for key in ("name", "options")}
    names = ("aggregate_auc", "aggregate_auc_band", "tpr_at_fpr", "tpr_at_fpr_band")
    own = {name: rows[0][name] for name in (*names, "worst_patient")}
    return {"attacks": rows, "attack": first, **own}


def _attack(found: measure.Found, one: measure.Attacked) -> dict[str, Any]:
    band = lambda values: [float(v) for v in np.quantile(values, (0.1, 0.9))]
    aucs = one.pooled.aucs
    tpr, tpr_band = {}, {}
    for fpr, values in one.pooled.tpr.items():
        key = f"{fpr:g}"
        tpr[key] = None if values is None else float(np.median(values))
        tpr_band[key] = None if values is None else band(values)
    exposed, _, _ = distribution.share_above(one.true_risk, _EXPOSED)
    return {
        "name": one.plugin.name,
        "label": one.plugin.label,
        "options": dict(one.plugin.options),
        "aggregate_auc": float(np.median(aucs)) if len(aucs) else None,
        "aggregate_auc_band": band(aucs) if len(aucs) else None,
        "tpr_at_fpr": tpr,
        "tpr_at_fpr_band": tpr_band,
        "num_proven": int(one.risk.is_proven.sum()),
        "num_proven_holm": int(one.risk.is_proven_holm.sum()),
        "median_patient_auc": float(np.median(one.risk.auc)),
        "exposed_share": float(exposed) if found.is_denoised else None,
        "worst_patient": _worst(found, one.risk.auc_mask_free),
    }


def _worst(found: measure.Found, auc: np.ndarray) -> dict[str, float]:
    """The highest mask-free AUC and its lower limit, simultaneous over all patients."""
    sides = design.counts(found.given.member_mask, found.given.block_of_model)
    worst = multiplicity.worst(auc, *sides)
    return {"auc": worst.auc, "lower_limit": worst.lower_limit}


def _patients(found: measure.Found) -> dict[str, Any]:
    risk = found.primary.risk
    joint = curves.share_above(risk.auc, np.array(THRESHOLDS))
    largest = curves.share_above(found.extremes.auc_max_record, np.array(THRESHOLDS))
    rows = zip(THRESHOLDS, joint, largest, strict=True)
    above = {_key(t): {"joint": float(j), "max": float(m)} for t, j, m in rows}
    values = np.quantile(risk.auc, _QUANTILES)
    quantiles = {_key(q): float(v) for q, v in zip(_QUANTILES, values, strict=True)}
    return {
        "fdr": found.settings.fdr,
        "joint_score": found.settings.joint,
        "model_mean": found.settings.model_mean,
        "patient_test": mask_test.name(found.given.block_of_model),
        "num_proven": int(risk.is_proven.sum()),
        "num_proven_holm": int(risk.is_proven_holm.sum()),
        "num_proven_storey": int((risk.q_storey <= found.settings.fdr).sum()),
        "null_share": multiplicity.null_share(risk.p_value),
        "discovered_level": multiplicity.interval_level(risk.is_proven),
        **_exposed(found),
        "patient_auc_mean": float(risk.auc.mean()),
        "patient_auc_quantiles": quantiles,
        "share_of_patients_above": above,
    }


def _exposed(found: measure.Found) -> dict[str, Any]:
    """Denoised shares with their bands, and those of the second model; None if few."""
    share, low, high = distribution.share_above(found.primary.true_risk, THRESHOLDS)
    second, _, _ = ash.share_above(found.ash, THRESHOLDS)
    if not found.is_denoised:
        share = low = high = np.full(len(THRESHOLDS), np.nan)
    rows = zip(THRESHOLDS, share, low, high, strict=True)
    exposed = {
        _key(t): {"share": _number(s), "low": _number(a), "high": _number(b)}
        for t, s, a, b in rows
    }
    pairs = zip(THRESHOLDS, second, strict=True)
    shares = {_key(t): float(v) for t, v in pairs} if found.is_denoised else None
    return {"exposed": exposed, "exposed_ash": shares}


def _calibration(found: measure.Found) -> dict[str, Any]:
    """What thresholds realise, of patients together and of each."""
    of_patients = {
        "0.1": thresholds.quantiles_of_patients(found.extremes.tpr_at_10),
        "0.01": thresholds.quantiles_of_patients(found.extremes.tpr_at_1),
    }
    return {
        "tpr_of_patients": of_patients,
        "thresholds": thresholds.table(found.rates),
        "ppv": thresholds.ppv(found.rates),
    }


def _extremes(found: measure.Found) -> dict[str, Any]:
    maximum = found.extremes.auc_max_record
    return {
        "max_record": {
            "mean": float(maximum.mean()),
            "null_mean": float(found.null.auc_max_record.mean()),
            "note": _MAX_NOTE,
        },
        "worst_record": records.summary(found.extremes.auc_worst_record, None),
    }


def _groups(found: measure.Found) -> dict[str, Any]:
    return {
        "groups_endpoint": groups.endpoint(found.groups),
        "groups_title": groups.title(found.groups),
        "num_groups_tested": len(found.groups),
        "min_cell": found.settings.min_cell,
    }


def _precision(found: measure.Found) -> dict[str, Any]:
    sides = design.counts(found.given.member_mask, found.given.block_of_model)
    num_models = np.stack([np.median(side, 1).astype(int) for side in sides], 1)
    num_patients = len(found.primary.risk.auc)
    smallest_p = precision.smallest_p(num_models)
    needed = precision.models_needed(num_patients, found.settings.fdr)
    factor = 1
    while precision.smallest_p(factor * num_models) > found.settings.fdr / num_patients:
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


def _checks(found: measure.Found) -> dict[str, Any]:
    """The audit's own controls."""
    null = found.null
    return {
        "null_check": {
            "num_proven": int(null.num_proven),
            "num_patients": len(null.auc),
            "mean_auc": float(null.auc.mean()),
            "num_permutations": 1,
        },
        "agreement": found.agreement,
        "stability": found.stability,
        "gaussian_check": found.gaussian,
    }


def _origin(found: measure.Found) -> dict[str, Any]:
    """Settings of the training run; None where the models come from elsewhere."""
    settings = found.given.about.get("settings", {})
    return {
        "model": settings.get("model"),
        "train": settings.get("train"),
        "defence": _defence(found),
        **found.shield.to_json(),
        "data": settings.get("data"),
        "seed": found.seed,
        "data_fingerprint": settings.get("data_fingerprint")
        or predictions.fingerprint(found.given),
        "train_devices": found.given.about.get("devices"),
        "train_code": found.given.about.get("code"),
    }


def _defence(found: measure.Found) -> dict[str, Any] | None:
    """The defence with what it promises; None where nothing is known of it."""
    defence = found.given.about.get("settings", {}).get("defence")
    guarantee = found.shield.guarantee
    if defence is None and guarantee is None:
        return None
    return {**(defence or {"name": "given"}), "guarantee": guarantee}


def _key(value: float) -> str:
    return f"{value:g}"


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
