"""The curves of a simulated run, by plain counting."""

import numpy as np
import pandas as pd
import scipy.stats

GRID = np.round(np.arange(0.30, 1.0001, 0.005), 3)
DENOISED = np.round(np.arange(0.60, 0.9901, 0.005), 3)
EDGES = np.round(np.arange(0.0, 1.0001, 0.01), 2)
BINS = {"1": (1, 1), "2": (2, 2), "3": (3, 3), "4": (4, 4), "5-9": (5, 9)}


def share_above(values, grid) -> np.ndarray:
    return np.array([(np.asarray(values) > level).mean() for level in grid])


def survival(auc, null) -> pd.DataFrame:
    chance, size = share_above(null, GRID), len(auc)
    low, high = scipy.stats.binom.interval(0.99, size, chance)
    columns = {"auc": GRID, "share": share_above(auc, GRID), "null_share": chance}
    columns |= {"null_low": np.nan_to_num(low) / size}
    return pd.DataFrame(columns | {"null_high": np.nan_to_num(high) / size})


def denoised(true, shift=0.0) -> pd.DataFrame:
    share = share_above(np.asarray(true) - shift, DENOISED)
    error = 2 * np.sqrt(share * (1 - share) / len(true))
    low, high = np.maximum(share - error, 0), np.minimum(share + error, 1)
    columns = {"auc": DENOISED, "share": share, "low": low, "high": high}
    return pd.DataFrame(columns)


def histogram(auc, is_proven, null) -> pd.DataFrame:
    count = lambda values: np.histogram(values, EDGES)[0]
    return pd.DataFrame(
        {
            "left": EDGES[:-1],
            "right": EDGES[1:],
            "count": count(auc),
            "count_proven": count(auc[is_proven]),
            "null_count": count(null).astype(float),
        }
    )


def by_num_records(patients, null) -> pd.DataFrame:
    rows = []
    for label, limits in {**BINS, "10+": (10, np.inf)}.items():
        chosen = patients["num_records"].between(*limits).to_numpy()
        if not chosen.any():
            continue
        auc = patients["auc"].to_numpy()[chosen]
        quantiles = np.quantile(auc, (0.01, 0.25, 0.5, 0.75, 0.99))
        row = dict(zip(("q01", "q25", "q50", "q75", "q99"), quantiles, strict=True))
        null_quantiles = np.quantile(null[chosen], (0.01, 0.5, 0.99))
        names = ("null_q01", "null_q50", "null_q99")
        row |= dict(zip(names, null_quantiles, strict=True))
        proven = int(patients["is_proven"].to_numpy()[chosen].sum())
        counts = {"num_patients": int(chosen.sum()), "num_proven": proven}
        rows.append({"num_records": label, **counts, **row})
    return pd.DataFrame(rows)


def roc(auc) -> pd.DataFrame:
    fpr = np.r_[0.0, np.geomspace(1e-4, 1.0, 81)]
    d = np.sqrt(2) * scipy.stats.norm.ppf(np.clip(0.5 + (auc - 0.5) / 2, 0.5, 0.9))
    tpr = scipy.stats.norm.cdf(scipy.stats.norm.ppf(fpr) + d)
    spread = 0.25 * np.sqrt(tpr * fpr)
    low, high = np.maximum(tpr - spread, 0), np.minimum(tpr + spread, 1)
    columns = {"fpr": fpr, "tpr_median": tpr, "tpr_low": low, "tpr_high": high}
    return pd.DataFrame(columns)


def roc_by_attack(auc, labels) -> pd.DataFrame:
    parts = []
    for place, label in enumerate(labels):
        curve = roc(auc - 0.02 * place)[["fpr", "tpr_median"]]
        parts.append(curve.assign(attack=label))
    return pd.concat(parts, ignore_index=True)[["attack", "fpr", "tpr_median"]]


def precision(num_patients: int) -> pd.DataFrame:
    """Normal approximations of half width and detection limit."""
    models = 2 ** np.arange(4, 11)
    sd = np.sqrt((models + 1) / 3) / models
    critical = scipy.stats.norm.isf(0.05 / num_patients)
    limit = 0.5 + sd * (critical + 0.8416 * 0.96)
    limit = np.where(limit < 1, limit, np.nan)
    columns = {"num_models": models, "half_width": 1.96 * sd}
    return pd.DataFrame({**columns, "detection_limit": limit})


def by_group(patients, attributes, null) -> pd.DataFrame:
    parts = []
    for name in attributes:
        values = attributes[name].fillna("unknown").astype(str)
        for value in sorted(values.unique()) if values.nunique() > 1 else ():
            chosen = (values == value).to_numpy()
            curve = survival(patients["auc"].to_numpy()[chosen], null)
            keys = {"attribute": name, "value": value}
            curve = curve.drop(columns="null_share").assign(**keys)
            parts.append(curve.assign(num_patients=int(chosen.sum())))
    names = ["attribute", "value", "num_patients", "auc", "share"]
    names += ["null_low", "null_high"]
    if not parts:
        return pd.DataFrame({name: [] for name in names})
    return pd.concat(parts, ignore_index=True)[names]


def tables(patients, attributes, null, true, num_models) -> dict[str, pd.DataFrame]:
    del num_models
    auc = patients["auc"].to_numpy()
    maximum = patients["auc_max_record"].to_numpy()
    grid = np.round(np.arange(0.5, 1.0, 0.01), 2)
    columns = {"threshold": grid, "share": share_above(maximum, grid)}
    labels = ("lira", "lira (offline)", "rmia")
    return {
        "roc": roc(auc.mean()),
        "survival": survival(auc, null),
        "denoised": denoised(true),
        "histogram": histogram(auc, patients["is_proven"].to_numpy(), null),
        "by_num_records": by_num_records(patients, null),
        "max_record": pd.DataFrame(
            {**columns, "null_share": share_above(null + 0.04, grid)}
        ),
        "precision": precision(len(patients)),
        "roc_by_attack": roc_by_attack(auc.mean(), labels),
        "denoised_ash": denoised(true, 0.005)[["auc", "share"]],
        "survival_by_group": by_group(patients, attributes, null),
    }
