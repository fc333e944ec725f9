"""summary.json of a simulated run: counted from its tables, the rest made up."""

import numpy as np
import scipy.stats

from mia_jax.report import headline

THRESHOLDS = (0.6, 0.7, 0.8, 0.9)
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1)
ATTACKS = {"lira": "lira", "lira (offline)": "lira", "rmia": "rmia"}


def _above(values, threshold) -> float:
    return float(np.mean(np.asarray(values) > threshold))


def _exposed(true) -> dict:
    found = {}
    for t in THRESHOLDS:
        share = _above(true, t)
        error = 2 * np.sqrt(share * (1 - share) / len(true))
        limits = {"low": max(share - error, 0.0), "high": min(share + error, 1.0)}
        found[f"{t:g}"] = {"share": share, **limits}
    return found


def _worst(patients, sd) -> dict:
    auc = float(patients["auc_mask_free"].max())
    return {"auc": auc, "lower_limit": max(auc - 4.2 * sd * 0.8, 0.0)}


def _pooled(patients, roc) -> dict:
    mean = 0.5 + (float(patients["auc"].mean()) - 0.5) / 2
    few = lambda k: float(k) * patients["num_records"].sum() / 2 < 10
    tpr = {
        k: None if few(k) else float(np.interp(float(k), roc["fpr"], roc["tpr_median"]))
        for k in ("0.001", "0.01", "0.1")
    }
    band = lambda v: None if v is None else [0.8 * v, min(1.2 * v, 1.0)]
    return {
        "aggregate_auc": mean,
        "aggregate_auc_band": [mean - 0.004, mean + 0.004],
        "tpr_at_fpr": tpr,
        "tpr_at_fpr_band": {k: band(v) for k, v in tpr.items()},
    }


def _attacks(patients, pooled, exposed, sd, num_attacks: int) -> list[dict]:
    proven, holm = (int(patients[k].sum()) for k in ("is_proven", "is_proven_holm"))
    rows = []
    for place, (label, name) in enumerate(ATTACKS.items()):
        row = {"name": name, "label": label, "options": {"variance": "pooled"}}
        row |= pooled
        row |= {"num_proven": max(proven - 2 * place, 0)}
        row |= {"num_proven_holm": max(holm - 2 * place, 0)}
        row |= {"median_patient_auc": float(patients["auc"].median())}
        row |= {"exposed_share": exposed["0.7"]["share"] * (1 - 0.1 * place)}
        rows.append({**row, "worst_patient": _worst(patients, sd)})
    return rows[:num_attacks]


def _thresholds(num_records: int, num_models: int) -> tuple[list, list]:
    """Pooled and per-patient thresholds; no interval below ten false alarms."""
    rows, ppv = [], []
    for fpr in (0.01, 0.001):
        for rule, factor in (("pooled", 1.0), ("per_patient", 1.2)):
            others = max(num_records // 2, 1)
            alarms = round(factor * fpr * others)
            row = {"fpr": fpr, "rule": rule, "realised_fpr": alarms / others}
            row |= {"num_false_alarms": alarms, "num_non_members": others}
            low, high = scipy.stats.binomtest(alarms, others).proportion_ci(0.95)
            row |= {"fpr_low": float(low), "fpr_high": float(high), "tpr": 2 * fpr}
            row["reason"] = None
            if alarms < 10:
                why = f"{alarms} false alarms; an interval needs ten"
                row |= {"fpr_low": None, "fpr_high": None, "reason": why}
            rows.append(row)
    for prior in (0.01, 0.1, 0.5):
        tpr, realised = 0.03, max(rows[0]["realised_fpr"], 1e-4)
        value = prior * tpr / (prior * tpr + (1 - prior) * realised)
        row = {"prior": prior, "fpr": 0.01, "tpr": tpr, "realised_fpr": realised}
        row |= {"ppv": value, "ppv_low": 0.8 * value, "ppv_high": min(1.1 * value, 1)}
        ppv.append(row)
    del num_models
    return rows, ppv


def _agreement(num: int, num_attacks: int) -> list[dict]:
    labels, top = list(ATTACKS), max(-(-num // 100), 1)
    return [
        {"a": labels[0], "b": other, "top_share": 0.01, "num_top": top}
        | {"jaccard": 0.61, "jaccard_chance": 0.005, "spearman": 0.78}
        | {"jaccard_proven": 0.72}
        for other in labels[1:num_attacks]
    ]


def _measured(patients, tables, true, num_models) -> dict:
    auc, num = patients["auc"].to_numpy(), len(patients)
    sd = float(np.sqrt((num_models + 1) / 3) / num_models)
    limit = 0.5 + sd * (scipy.stats.norm.isf(0.05 / num) + 0.8416 * 0.96)
    quantile = lambda values: {
        f"{q:g}": float(np.quantile(values, q)) for q in (0.5, 0.95, 0.99, 1)
    }
    worst = patients["auc_worst_record"]
    return {
        **{"num_proven": int(patients["is_proven"].sum()), "fdr": 0.05},
        "num_proven_holm": int(patients["is_proven_holm"].sum()),
        "num_proven_storey": int(patients["is_proven"].sum() * 1.1),
        "null_share": 0.9,
        "exposed": _exposed(true),
        "exposed_ash": {f"{t:g}": _above(true - 0.005, t) for t in THRESHOLDS},
        "patient_auc_mean": float(auc.mean()),
        "patient_auc_quantiles": {
            f"{q:g}": float(np.quantile(auc, q)) for q in QUANTILES
        },
        "share_of_patients_above": {
            f"{t:g}": {
                "joint": _above(auc, t),
                "max": _above(patients["auc_max_record"], t),
            }
            for t in THRESHOLDS
        },
        "worst_patient": _worst(patients, sd),
        "worst_record": {
            **{"mean": float(worst.mean()), "null_mean": 0.5001},
            "share_above": {f"{t:g}": _above(worst, t) for t in THRESHOLDS},
        },
        "tpr_of_patients": {
            "0.1": quantile(patients["tpr_at_10"]),
            "0.01": quantile(patients["tpr_at_1"]),
        },
        "max_record": {
            **{"mean": float(patients["auc_max_record"].mean()), "null_mean": 0.54},
            "note": "biased upwards: the largest of several noisy values",
        },
        "precision": {"sd_at_half": sd, "ci_half_width": 1.96 * sd},
        "detection_limit": float(limit) if limit < 1 else None,
        "smallest_p_value": 1e-30,
        "models_needed": 20,
    }


def _made_up(num: int) -> dict:
    metric = lambda accuracy, auroc: {"accuracy": accuracy, "auroc": auroc, "nll": 0.4}
    sets = ("members", "left_out", "test")
    values = (metric(0.848, 0.822), metric(0.828, 0.775), metric(0.829, 0.776))
    return {
        "schema": "mia_jax.summary/2",
        "title": "Simulated insurance cohort",
        **{"dataset": "simulated", "task": "binary", "unit": "patient"},
        **{"mask_design": "balanced", "model_mean": "removed"},
        **{"patient_test": "rank sum", "discovered_level": 0.9654},
        "null_check": {
            **{"num_proven": 0, "num_patients": num, "mean_auc": 0.5001},
            "num_permutations": 1,
        },
        "metrics": dict(zip(sets, values, strict=True)),
        "metrics_sd": {
            name: {"accuracy": 0.003, "auroc": 0.004, "nll": 0.005} for name in sets
        },
        "stability": {
            **{"num_models": [256, 256], "num_top": max(-(-num // 100), 1)},
            **{"jaccard": 0.55, "jaccard_chance": 0.005, "spearman": 0.62},
            "spearman_full": 0.77,
        },
        "gaussian_check": {
            **{"share_rejected": 0.031, "num_records_tested": 3 * num, "fdr": 0.05},
            **{"share_saturated": 0.0, "share_tied": 0.0004, "share_skewed": 0.021},
            **{"share_heavy_tailed": 0.012, "note": "by Anderson and Darling's test"},
        },
        "model": {"name": "mlp", "options": {"widths": [128, 128]}},
        "train": {"num_epochs": 10, "learning_rate": 1e-3},
        "defence": {"name": "plain", "guarantee": None},
        "wall_seconds": {"train": 84.2, "risk": 11.0},
        "device": "2 cpu devices (example)",
        "versions": {"mia_jax": "0.1.0", "jax": "0.10.2", "python": "3.11.9"},
        "code": "a1b2c3d",
        "data_fingerprint": "5f2c" * 16,
        "date": "2026-11-25",
    }


def summary(patients, tables, true, num_models, num_attacks=3) -> dict:
    num, num_records = len(patients), int(patients["num_records"].sum())
    found = {
        **_made_up(num),
        **_measured(patients, tables, true, num_models),
        **{"num_models": num_models, "blocks": [num_models], "num_patients": num},
        **{"num_records": num_records, "num_test_patients": num // 4},
        **_pooled(patients, tables["roc"]),
    }
    sd = found["precision"]["sd_at_half"]
    pooled = _pooled(patients, tables["roc"])
    found["attacks"] = _attacks(patients, pooled, found["exposed"], sd, num_attacks)
    found["agreement"] = _agreement(num, num_attacks)
    found["thresholds"], found["ppv"] = _thresholds(num_records, num_models)
    names = (
        *("exposed", "num_patients", "num_proven", "detection_limit"),
        *("num_models", "models_needed", "fdr"),
    )
    words = headline.write(**{name: found[name] for name in names})
    return {
        **found,
        "headline": words.text,
        "headline_detail": words.detail,
        "headline_case": words.case,
    }
