"""A simulated finished run: every file that a report reads, from a seed.

    python tests/fake_run.py FOLDER [LEAK [NUM_PATIENTS [NUM_MODELS]]]

Each patient has a true AUC (most at chance, some above); measured AUCs and a no-leak
null are drawn around it, and the tables follow from them by plain counting. The numbers
are simulated; they resemble no data.
"""

import pathlib
import sys

import fake_curves
import fake_groups
import fake_summary
import numpy as np
import pandas as pd
import scipy.stats
from statsmodels.stats import multitest

from mia_jax import results

LEVEL = 0.9654  # of intervals of proven patients


def true_auc(rng, num_patients: int, leak: str) -> np.ndarray:
    """True AUCs Phi(d / sqrt 2); "some" is like a small MLP, "few" 2 % planted."""
    d = {
        "none": lambda: np.zeros(num_patients),
        "few": lambda: np.zeros(num_patients),
        "three": lambda: np.zeros(num_patients),
        "weak": lambda: rng.uniform(0.1, 0.35, num_patients),
        "some": lambda: rng.exponential(0.28, num_patients),
        "most": lambda: rng.gamma(3.0, 0.33, num_patients),
        "all": lambda: rng.uniform(1.5, 4.0, num_patients),
    }[leak]()
    if leak in ("few", "three"):
        planted = 3 if leak == "three" else max(num_patients // 45, 1)
        d[:planted] = rng.uniform(1.5 if leak == "three" else 0.5, 2.2, planted)
    return scipy.stats.norm.cdf(d / np.sqrt(2))


def null_sd(num_models: int) -> float:
    return float(np.sqrt((num_models + 1) / 3) / num_models)


def patient_table(rng, num_patients: int, num_models: int, leak: str) -> pd.DataFrame:
    sd = null_sd(num_models)
    true = rng.permutation(true_auc(rng, num_patients, leak))
    spread = sd * np.sqrt(true * (1 - true) / 0.25)
    measured = np.clip(true + spread * rng.normal(size=num_patients), 0, 1)
    joint = np.clip(measured + 0.2 * sd * rng.normal(size=num_patients), 0, 1)
    p_value = scipy.stats.norm.sf((measured - 0.5) / sd)
    q_value = scipy.stats.false_discovery_control(p_value)
    p_holm = multitest.multipletests(p_value, method="holm")[1]
    is_shown = p_value < 0.05
    number = rng.choice(
        [1, 2, 3, 4, 5, 12], num_patients, p=[0.05, 0.05, 0.6, 0.02, 0.27, 0.01]
    )
    d = np.sqrt(2) * scipy.stats.norm.ppf(np.clip(joint, 0.01, 0.999))
    rate = lambda fpr: scipy.stats.norm.cdf(scipy.stats.norm.ppf(fpr) + d)
    limit = lambda sign: np.clip(measured + sign * 1.96 * spread, 0, 1)
    return pd.DataFrame(
        {
            "patient_id": [f"patient-{i:06d}" for i in range(num_patients)],
            "num_records": number,
            "num_in": num_models // 2,
            "num_out": num_models // 2,
            "auc": joint,
            "auc_mask_free": measured,
            "auc_low": np.where(is_shown, limit(-1), np.nan),
            "auc_high": np.where(is_shown, limit(1), np.nan),
            "interval_level": np.where(q_value <= 0.05, LEVEL, 0.95),
            "p_value": p_value,
            "q_value": q_value,
            "p_holm": p_holm,
            "is_proven": q_value <= 0.05,
            "is_proven_holm": p_holm <= 0.05,
            "auc_max_record": np.clip(joint + 0.04, 0, 1),
            "auc_worst_record": np.clip(joint + 0.01 * rng.normal(size=len(d)), 0, 1),
            "tpr_at_10": rate(0.1),
            "tpr_at_1": rate(0.01),
        }
    )


def group_columns(rng, patients: pd.DataFrame) -> pd.DataFrame:
    """Health goes with risk, sex and age do not."""
    size = len(patients)
    rank = patients["auc"].rank(pct=True).to_numpy() + rng.normal(0, 0.35, size)
    order = np.argsort(np.argsort(-rank)) / len(rank)
    health = np.select(
        [order < 0.02, order < 0.1, order < 0.45], ["poor", "fair", "good"], "excellent"
    )
    plans = [f"{share} % coinsurance" for share in (25, 50, 95)]
    return pd.DataFrame(
        {
            "health": health,
            "sex": rng.choice(["female", "male"], size),
            "age": rng.choice(["0-17", "18-29", "30-44", "45-64"], size),
            "plan": rng.choice(["free care", *plans], size),
        }
    )


def write(
    folder: pathlib.Path,
    num_patients=4730,
    num_models=512,
    leak="some",
    seed=0,
    has_groups=True,
    attributes=None,
    num_attacks=3,
) -> pathlib.Path:
    """Writes the files of a finished run; returns the folder.

    Args:
      attributes: group columns in place of the simulated ones.
    """
    rng = np.random.default_rng(seed)
    patients = patient_table(rng, num_patients, num_models, leak)
    true = true_auc(np.random.default_rng(seed + 1), num_patients, leak)
    if attributes is None:
        nothing = pd.DataFrame(index=patients.index)
        attributes = group_columns(rng, patients) if has_groups else nothing
    endpoint = fake_groups.endpoint(patients)
    groups = fake_groups.table(attributes, patients, num_models)
    null = 0.5 + null_sd(num_models) * rng.normal(size=num_patients)
    curves = fake_curves.tables(patients, attributes, null, true, num_models)
    patients = pd.concat([patients, attributes], axis=1)
    for name, table in {"patients": patients, "groups": groups}.items():
        content = {"schema": results.schema(name), "table": table, "provenance": {}}
        results.save(folder / f"{name}.pkl", content)
    content = {"schema": results.schema("curves"), "tables": curves, "provenance": {}}
    results.save(folder / "curves.pkl", content)
    summary = fake_summary.summary(patients, curves, true, num_models, num_attacks)
    summary |= {
        "seed": seed,
        "groups_endpoint": endpoint,
        "groups_title": fake_groups.title(groups, endpoint),
        "num_groups_tested": len(groups),
        "min_cell": 10,
    }
    results.write_json(folder / "summary.json", summary)
    return folder


if __name__ == "__main__":
    _leak = sys.argv[2] if len(sys.argv) > 2 else "some"
    _numbers = [int(text) for text in sys.argv[3:]]
    write(pathlib.Path(sys.argv[1]), *_numbers, leak=_leak)
