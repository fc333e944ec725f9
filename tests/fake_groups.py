"""The table of groups of a simulated run: counted, with textbook intervals."""

import itertools

import numpy as np
import pandas as pd
import scipy.stats
from statsmodels.stats import multitest

from mia_jax.report import group_words

MIN_CELL = 10
COLUMNS = (
    *("attribute", "value", "is_intersection", "num_patients", "mean_records"),
    *("num_proven", "expected_proven", "share_proven", "relative_risk"),
    *("relative_risk_low", "relative_risk_high", "p_value", "p_holm", "p_bh"),
    *("exposed_share", "exposed_low", "exposed_high", "exposed_difference"),
    *("exposed_difference_low", "exposed_difference_high", "mean_auc"),
    *("mean_auc_difference", "mean_auc_difference_low", "mean_auc_difference_high"),
    *("mean_auc_effect", "mean_auc_p_value", "mean_auc_p_holm", "mean_auc_p_bh"),
    *("adjusted_difference", "adjusted_difference_low", "adjusted_difference_high"),
    *("adjusted_p_value", "adjusted_p_holm", "adjusted_p_bh"),
    *("adjusted_relative_risk", "adjusted_relative_risk_low"),
    *("adjusted_relative_risk_high", "adjusted_relative_risk_p_value"),
    *("adjusted_relative_risk_p_holm", "adjusted_relative_risk_p_bh"),
    *("top_share", "top_ratio", "top_ratio_low", "top_ratio_high"),
    *("top_p_value", "top_p_holm", "rank_effect", "rank_p_value", "rank_p_holm"),
)


def endpoint(patients: pd.DataFrame) -> str:
    """Proven while few are, else the exposed share; too few proven: the top 1 %."""
    num_proven, num_patients = int(patients["is_proven"].sum()), len(patients)
    if num_proven < 10:
        return "rank"
    if num_proven < 30:
        return "top"
    return "proven" if num_proven < 0.1 * num_patients else "exposed"


def _cells(attributes: pd.DataFrame):
    """Attribute, value, whether two are crossed, and who is in the group."""
    for name in attributes:
        values = attributes[name].fillna("unknown").astype(str)
        for value in sorted(values.unique()) if values.nunique() > 1 else ():
            yield name, value, False, (values == value).to_numpy()
    for first, second in itertools.combinations(attributes.columns[:3], 2):
        both = attributes[first].astype(str) + ", " + attributes[second].astype(str)
        for value in sorted(both.unique()):
            chosen = (both == value).to_numpy()
            if chosen.sum() >= MIN_CELL:
                yield f"{first} x {second}", value, True, chosen


def ratio(a: int, n: int, c: int, m: int) -> tuple[float, float, float, float]:
    """Relative risk a/n v c/m with Katz's interval and Fisher's p; .5 added."""
    if a + c in (0, n + m):
        return (np.nan,) * 4
    log = np.log((a + 0.5) / (n + 0.5) * (m + 0.5) / (c + 0.5))
    sd = np.sqrt(1 / (a + 0.5) - 1 / (n + 0.5) + 1 / (c + 0.5) - 1 / (m + 0.5))
    p_value = scipy.stats.fisher_exact([[a, n - a], [c, m - c]]).pvalue
    return (*np.exp([log, log - 1.96 * sd, log + 1.96 * sd]).tolist(), p_value)


def _against_rest(chosen: np.ndarray, flag: np.ndarray) -> tuple[float, ...]:
    a, n = int(flag[chosen].sum()), int(chosen.sum())
    return ratio(a, n, int(flag.sum()) - a, len(flag) - n)


def _row(patients: pd.DataFrame, chosen: np.ndarray, is_top) -> dict[str, float]:
    auc, proven = patients["auc"].to_numpy(), patients["is_proven"].to_numpy()
    size, own, rest = int(chosen.sum()), auc[chosen], auc[~chosen]
    share, other = (own > 0.7).mean(), (rest > 0.7).mean() if len(rest) else np.nan
    error = 0.4 / np.sqrt(size)
    test = scipy.stats.ttest_ind(own, rest, equal_var=False)
    gap, width = own.mean() - rest.mean(), 1.96 * auc.std() / np.sqrt(size)
    risk, top = _against_rest(chosen, proven), _against_rest(chosen, is_top)
    band = lambda v: {"": v, "_low": v - width, "_high": v + width}
    row = {
        "num_patients": size,
        "mean_records": patients["num_records"].to_numpy()[chosen].mean(),
        "num_proven": int(proven[chosen].sum()),
        "expected_proven": size * proven.mean(),
        "share_proven": proven[chosen].mean(),
        "exposed_share": share,
        "exposed_low": max(share - error, 0.0),
        "exposed_high": min(share + error, 1.0),
        "exposed_difference": share - other,
        "exposed_difference_low": share - other - error,
        "exposed_difference_high": share - other + error,
        "mean_auc": own.mean(),
        "mean_auc_effect": gap / auc.std(),
        "mean_auc_p_value": test.pvalue,
        "adjusted_p_value": min(1.0, 3 * test.pvalue),
        "adjusted_relative_risk_p_value": min(1.0, 3 * risk[3]),
        "top_share": is_top[chosen].mean(),
    }
    row |= {f"mean_auc_difference{k}": v for k, v in band(gap).items()}
    row |= {f"adjusted_difference{k}": v for k, v in band(0.6 * gap).items()}
    ends = ("", "_low", "_high")
    row |= {f"relative_risk{k}": v for k, v in zip(ends, risk[:3], strict=True)}
    shrunk = np.power(risk[:3], 0.6)
    row |= {f"adjusted_relative_risk{k}": v for k, v in zip(ends, shrunk, strict=True)}
    row |= {f"top_ratio{k}": v for k, v in zip(ends, top[:3], strict=True)}
    rank = scipy.stats.mannwhitneyu(own, rest)
    row |= {"rank_effect": rank.statistic / size / max(len(rest), 1)}
    row |= {"rank_p_value": rank.pvalue}
    return {**row, "p_value": risk[3], "top_p_value": top[3]}


def adjusted(p_values: pd.Series, method: str) -> np.ndarray:
    """Holm or Benjamini-Hochberg over the defined ones."""
    result = np.full(len(p_values), np.nan)
    known = p_values.notna().to_numpy()
    if known.any():
        result[known] = multitest.multipletests(p_values[known], method=method)[1]
    return result


def table(attributes: pd.DataFrame, patients: pd.DataFrame, num_models: int):
    """Every group and pair of attributes against all other patients."""
    del num_models
    size = -(-len(patients) // 100)
    is_top = patients["auc"].rank(ascending=False, method="first").to_numpy() <= size
    rows = [
        {"attribute": name, "value": value, "is_intersection": is_pair}
        | _row(patients, chosen, is_top)
        for name, value, is_pair, chosen in _cells(attributes)
    ]
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    for name in found.columns:
        for end, method in (("_holm", "holm"), ("_bh", "fdr_bh")):
            source = name.replace(end, "_value")
            if name.endswith(f"p{end}"):
                found[name] = adjusted(found[source].astype(float), method)
    return found


def title(found: pd.DataFrame, name: str) -> str:
    return group_words.title(found, name, False)
