"""A simulated finished run: every file that a report reads, from a seed.

    python tests/fake_run.py FOLDER

Each patient has a true AUC (most at chance, some above); measured AUCs and a no-leak
null are drawn around it, and the tables follow from them by plain counting. The numbers
are simulated; they resemble no data.
"""

import pathlib
import sys

import fake_summary
import numpy as np
import pandas as pd
import scipy.stats

from mia_jax import results
from mia_jax.risk import groups
from mia_jax.stages import curves


def true_auc(rng, num_patients: int, leak: str) -> np.ndarray:
    """True AUCs Phi(d / sqrt 2); "some" is like a small MLP, "few" 1 % planted."""
    d = {
        "none": lambda: np.zeros(num_patients),
        "few": lambda: np.zeros(num_patients),
        "weak": lambda: rng.uniform(0.1, 0.35, num_patients),
        "some": lambda: rng.exponential(0.28, num_patients),
        "most": lambda: rng.gamma(3.0, 0.33, num_patients),
        "all": lambda: rng.uniform(1.5, 4.0, num_patients),
    }[leak]()
    if leak == "few":
        planted = max(num_patients // 45, 1)
        d[:planted] = rng.uniform(0.5, 2.2, planted)
    return scipy.stats.norm.cdf(d / np.sqrt(2))


def patient_table(rng, num_patients: int, num_models: int, leak: str) -> pd.DataFrame:
    sd = np.sqrt((num_models + 1) / 3) / num_models
    true = rng.permutation(true_auc(rng, num_patients, leak))
    spread = sd * np.sqrt(true * (1 - true) / 0.25)
    measured = np.clip(true + spread * rng.normal(size=num_patients), 0, 1)
    joint = np.clip(measured + 0.2 * sd * rng.normal(size=num_patients), 0, 1)
    p_value = scipy.stats.norm.sf((measured - 0.5) / sd)
    q_value = scipy.stats.false_discovery_control(p_value)
    p_holm = groups.holm(p_value)
    is_shown = p_value < 0.05
    return pd.DataFrame(
        {
            "patient_id": [f"patient-{i:06d}" for i in range(num_patients)],
            "num_records": rng.choice(
                [1, 2, 3, 4, 5, 12], num_patients, p=[0.05, 0.05, 0.6, 0.02, 0.27, 0.01]
            ),
            "num_in": num_models // 2,
            "num_out": num_models // 2,
            "auc": joint,
            "auc_mask_free": measured,
            "auc_low": np.where(
                is_shown, np.maximum(measured - 1.96 * spread, 0), np.nan
            ),
            "auc_high": np.where(
                is_shown, np.minimum(measured + 1.96 * spread, 1), np.nan
            ),
            "p_value": p_value,
            "q_value": q_value,
            "p_holm": p_holm,
            "is_proven": q_value <= 0.05,
            "is_proven_holm": p_holm <= 0.05,
            "auc_max_record": np.clip(joint + 0.04, 0, 1),
        }
    )


def group_columns(rng, patients: pd.DataFrame) -> pd.DataFrame:
    """Health goes with risk, sex and age do not."""
    rank = patients["auc"].rank(pct=True).to_numpy() + rng.normal(
        0, 0.35, len(patients)
    )
    order = np.argsort(np.argsort(-rank)) / len(rank)
    health = np.select(
        [order < 0.02, order < 0.1, order < 0.45], ["poor", "fair", "good"], "excellent"
    )
    return pd.DataFrame(
        {
            "health": health,
            "sex": rng.choice(["female", "male"], len(patients)),
            "age": rng.choice(["0-17", "18-29", "30-44", "45-64"], len(patients)),
            "plan": rng.choice(
                [
                    "free care",
                    "25 % coinsurance",
                    "50 % coinsurance",
                    "95 % coinsurance",
                ],
                len(patients),
            ),
        }
    )


def simulated_groups(attributes, patients: pd.DataFrame) -> pd.DataFrame:
    """The real group table but for exposed shares: counted, since fits take seconds."""
    one_model = 1  # too few to fit
    table = groups.table(
        attributes,
        patients["is_proven"],
        patients["auc_mask_free"],
        one_model,
        one_model,
    )
    for index, row in table.iterrows():
        chosen = patients.loc[attributes[row["attribute"]] == row["value"], "auc"]
        share, error = (chosen > 0.7).mean(), 1 / np.sqrt(len(chosen))
        band = max(share - 0.3 * error, 0.0), min(share + 0.3 * error, 1.0)
        table.loc[index, ["exposed_share", "exposed_low", "exposed_high"]] = (
            share,
            *band,
        )
    return table


def null_auc(rng, num_patients: int, num_models: int) -> np.ndarray:
    return 0.5 + np.sqrt((num_models + 1) / 3) / num_models * rng.normal(
        size=num_patients
    )


def curve_tables(patients, null, true, num_models) -> dict[str, pd.DataFrame]:
    auc = patients["auc"].to_numpy()
    fpr = np.r_[0.0, np.geomspace(1e-4, 1.0, 81)]
    d = np.sqrt(2) * scipy.stats.norm.ppf(
        np.clip(0.5 + (auc.mean() - 0.5) / 2, 0.5, 0.9)
    )
    tpr = scipy.stats.norm.cdf(scipy.stats.norm.ppf(fpr) + d)
    band = (
        tpr,
        np.maximum(tpr - 0.25 * np.sqrt(tpr * fpr), 0),
        np.minimum(tpr + 0.25 * np.sqrt(tpr * fpr), 1),
    )
    share = curves.share_above(true, curves.DENOISED_GRID)
    error = 2 * np.sqrt(share * (1 - share) / len(auc))
    maximum = patients["auc_max_record"].to_numpy()
    return {
        "roc": curves.roc(fpr, band),
        "survival": curves.survival(auc, null),
        "denoised": pd.DataFrame(
            {
                "auc": curves.DENOISED_GRID,
                "share": share,
                "low": np.maximum(share - error, 0),
                "high": np.minimum(share + error, 1),
            }
        ),
        "histogram": curves.histogram(auc, patients["is_proven"].to_numpy(), null),
        "by_num_records": curves.by_num_records(patients, null),
        "max_record": curves.max_record(maximum, null + 0.04),
    }


def write(
    folder: pathlib.Path,
    num_patients=4730,
    num_models=512,
    leak="some",
    seed=0,
    has_groups=True,
) -> pathlib.Path:
    """Writes the files of a finished run; returns the folder."""
    rng = np.random.default_rng(seed)
    patients = patient_table(rng, num_patients, num_models, leak)
    true = true_auc(np.random.default_rng(seed + 1), num_patients, leak)
    attributes = (
        group_columns(rng, patients)
        if has_groups
        else pd.DataFrame(index=patients.index)
    )
    group_table = simulated_groups(attributes, patients)
    null = null_auc(rng, num_patients, num_models)
    tables = curve_tables(patients, null, true, num_models)
    patients = pd.concat([patients, attributes], axis=1)
    for name, table in {"patients": patients, "groups": group_table}.items():
        results.save(
            folder / f"{name}.pkl",
            {"schema": f"mia_jax.{name}/1", "table": table, "provenance": {}},
        )
    results.save(
        folder / "curves.pkl",
        {"schema": "mia_jax.curves/1", "tables": tables, "provenance": {}},
    )
    results.write_json(
        folder / "summary.json",
        fake_summary.summary(patients, tables, group_table, true, num_models, seed),
    )
    return folder


if __name__ == "__main__":
    write(pathlib.Path(sys.argv[1]), leak=sys.argv[2] if len(sys.argv) > 2 else "some")
