"""summary.json of a simulated run: counted from its tables, the rest made up."""

import numpy as np
import scipy.stats

from mia_jax.report import headline
from mia_jax.risk import groups

THRESHOLDS = (0.6, 0.7, 0.8, 0.9)


def summary(patients, tables, group_table, true, num_models, seed) -> dict:
    auc, num = patients["auc"].to_numpy(), len(patients)
    sd = float(np.sqrt((num_models + 1) / 3) / num_models)
    above = lambda values, t: float(np.mean(values > t))
    error = lambda share: 2 * np.sqrt(share * (1 - share) / num)
    exposed = {
        f"{t:g}": {
            "share": above(true, t),
            "low": max(above(true, t) - error(above(true, t)), 0.0),
            "high": min(above(true, t) + error(above(true, t)), 1.0),
        }
        for t in THRESHOLDS
    }
    worst = int(np.argmax(patients["auc_mask_free"]))
    limit = 0.5 + sd * (scipy.stats.norm.isf(0.05 / num) + 0.8416 * 0.96)
    roc = tables["roc"]
    tpr = {
        k: float(np.interp(float(k), roc["fpr"], roc["tpr_median"]))
        for k in ("0.001", "0.01", "0.1")
    }
    is_few = {k: float(k) * patients["num_records"].sum() / 2 < 10 for k in tpr}
    result = {
        "schema": "mia_jax.summary/1",
        "title": "Simulated insurance cohort",
        "dataset": "simulated",
        "task": "binary",
        "unit": "patient",
        "num_models": num_models,
        "num_patients": num,
        "num_records": int(patients["num_records"].sum()),
        "num_test_patients": num // 4,
        "blocks": [num_models],
        "mask_design": "balanced",
        "num_proven": int(patients["is_proven"].sum()),
        "num_proven_holm": int(patients["is_proven_holm"].sum()),
        "fdr": 0.05,
        "exposed": exposed,
        "aggregate_auc": 0.5 + (float(auc.mean()) - 0.5) / 2,
        "aggregate_auc_band": [
            0.5 + (float(auc.mean()) - 0.5) / 2 - 0.004,
            0.5 + (float(auc.mean()) - 0.5) / 2 + 0.004,
        ],
        "tpr_at_fpr": {k: None if is_few[k] else v for k, v in tpr.items()},
        "tpr_at_fpr_band": {
            k: None if is_few[k] else [0.8 * v, min(1.2 * v, 1.0)]
            for k, v in tpr.items()
        },
        "patient_auc_quantiles": {
            f"{q:g}": float(np.quantile(auc, q))
            for q in (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1)
        },
        "share_of_patients_above": {
            f"{t:g}": {
                "joint": above(auc, t),
                "max": above(patients["auc_max_record"], t),
            }
            for t in THRESHOLDS
        },
        "worst_patient": {
            "auc": float(patients["auc_mask_free"][worst]),
            "lower_limit": max(
                float(patients["auc_mask_free"][worst]) - 4.2 * sd * 0.8, 0.0
            ),
        },
        "precision": {"sd_at_half": sd, "ci_half_width": 1.96 * sd},
        "detection_limit": float(limit) if limit < 1 else None,
        "smallest_p_value": 1e-30,
        "models_needed": 20,
        "max_record": {
            "mean": float(patients["auc_max_record"].mean()),
            "null_mean": 0.54,
            "note": "biased upwards: the largest of several noisy values",
        },
        "null_check": {
            "num_proven": 0,
            "num_patients": num,
            "mean_auc": 0.5001,
            "num_permutations": 1,
        },
        "metrics": {
            "members": {"accuracy": 0.848, "auroc": 0.822, "nll": 0.36},
            "left_out": {"accuracy": 0.828, "auroc": 0.775, "nll": 0.41},
            "test": {"accuracy": 0.829, "auroc": 0.776, "nll": 0.41},
        },
        "metrics_sd": {
            "members": {"accuracy": 0.003, "auroc": 0.004, "nll": 0.005},
            "left_out": {"accuracy": 0.003, "auroc": 0.004, "nll": 0.005},
            "test": {"accuracy": 0.004, "auroc": 0.003, "nll": 0.004},
        },
        "attack": {"name": "lira", "options": {"variance": "pooled"}},
        "model": {"name": "mlp", "options": {"widths": [128, 128]}},
        "train": {"num_epochs": 10, "learning_rate": 1e-3},
        "defence": {"name": "plain", "guarantee": None},
        "groups_title": groups.title(group_table),
        "wall_seconds": {"train": 84.2, "risk": 11.0},
        "device": "2 cpu devices (example)",
        "versions": {
            "mia_jax": "0.1.0",
            "jax": "0.10.2",
            "numpy": "2.4.0",
            "python": "3.11.9",
        },
        "code": "a1b2c3d",
        "seed": seed,
        "data_fingerprint": "5f2c" * 16,
        "date": "2026-11-25",
    }
    words = headline.write(
        exposed,
        num,
        result["num_proven"],
        result["detection_limit"],
        num_models,
        result["models_needed"],
        0.05,
    )
    return {
        **result,
        "headline": words.text,
        "headline_detail": words.detail,
        "headline_case": words.case,
    }
