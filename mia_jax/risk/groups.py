"""Does one group of patients carry more risk than the others? Counted in patients.

Never from the maximum over a patient's records: patients with more records win it even
where nothing leaks. Mask-free AUCs and their p-values have one null distribution for
any number of records, so groups with many records are not accused by chance.

The p-values treat patients as independent. They share models, which is harmless for
independent masks; what they do not do is adjust one attribute for another.
"""

import numpy as np
import pandas as pd
from scipy import special, stats
from statsmodels.stats import multitest

from mia_jax import validate
from mia_jax.risk import distribution

EXPOSED_AUC = 0.7  # the threshold of the report's headline
_ALPHA = 0.05
_NORMAL_95 = special.ndtri(0.975)
_MIN_PROVEN = 30  # below this many proven patients, relative risks find nobody
_MAX_SHARE_PROVEN = 0.1  # above, most leaks are proven and the ratio saturates
_MAX_NAMED = 3  # groups named in the title
COLUMNS = (
    *("attribute", "value", "num_patients"),
    *("num_proven", "expected_proven", "share_proven"),
    *("relative_risk", "relative_risk_low", "relative_risk_high", "p_value", "p_holm"),
    *("exposed_share", "exposed_low", "exposed_high", "mean_auc"),
    *("mean_auc_difference", "mean_auc_difference_low", "mean_auc_difference_high"),
    *("mean_auc_p_value", "mean_auc_p_holm"),
)


def relative_risk(
    num_proven: int, num_patients: int, rest_proven: int, rest_patients: int
) -> tuple[float, float, float]:
    """Relative risk of being proven, a group against the rest, and its 95 % interval.

    One half is added to every count, which keeps zero counts finite; the interval is
    normal on the log scale, with var = 1/a - 1/n + 1/c - 1/m (Katz et al. 1978).

    Returns:
      risk, low, high; NaN if no patient or every patient is proven, or a side is empty.
    """
    total = num_proven + rest_proven
    is_same = total in (0, num_patients + rest_patients)
    if is_same or num_patients == 0 or rest_patients == 0:
        return (np.nan,) * 3
    a, n = num_proven + 0.5, num_patients + 0.5
    c, m = rest_proven + 0.5, rest_patients + 0.5
    log_risk = np.log(a / n) - np.log(c / m)
    width = _NORMAL_95 * np.sqrt(1 / a - 1 / n + 1 / c - 1 / m)
    limits = np.exp([log_risk, log_risk - width, log_risk + width])
    return tuple(limits.tolist())


def fisher_p(
    num_proven: int, num_patients: int, rest_proven: int, rest_patients: int
) -> float:
    """Fisher's exact two-sided p-value; NaN if none or all patients are proven."""
    total = num_proven + rest_proven
    if total in (0, num_patients + rest_patients):
        return np.nan
    counts = [
        [num_proven, num_patients - num_proven],
        [rest_proven, rest_patients - rest_proven],
    ]
    return float(stats.fisher_exact(counts).pvalue)


def mean_difference(
    group: np.ndarray, rest: np.ndarray
) -> tuple[float, float, float, float]:
    """Difference of mean AUCs with Welch's 95 % interval and two-sided p-value.

    Args:
      group: [patients] AUCs of the group.
      rest: [patients] AUCs of all other patients.

    Returns:
      difference, low, high, p_value; the last three NaN if a side has fewer than two
      patients or neither side varies, the first if a side is empty.
    """
    if min(len(group), len(rest)) == 0:
        return (np.nan,) * 4
    difference = group.mean() - rest.mean()
    if min(len(group), len(rest)) < 2 or np.ptp(group) + np.ptp(rest) == 0:
        return difference, np.nan, np.nan, np.nan
    parts = group.var(ddof=1) / len(group), rest.var(ddof=1) / len(rest)
    error = np.sqrt(sum(parts))
    freedom = sum(parts) ** 2 / (
        parts[0] ** 2 / (len(group) - 1) + parts[1] ** 2 / (len(rest) - 1)
    )
    width = special.stdtrit(freedom, 0.975) * error
    p_value = 2 * special.stdtr(freedom, -abs(difference) / error)
    return difference, difference - width, difference + width, p_value


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm-adjusted p-values over those that are defined; NaN stays NaN."""
    p_values = np.asarray(p_values, np.float64)
    adjusted = np.full(p_values.shape, np.nan)
    is_defined = ~np.isnan(p_values)
    if is_defined.any():
        adjusted[is_defined] = multitest.multipletests(
            p_values[is_defined], method="holm"
        )[1]
    return adjusted


def _exposed(
    auc: np.ndarray, n_in: int, n_out: int, seed: int
) -> tuple[float, float, float]:
    """Denoised share above `EXPOSED_AUC` with its band; NaN where too few say it."""
    if not distribution.is_reportable(len(auc), n_in, n_out):
        return (np.nan,) * 3
    fitted = distribution.fit(auc, n_in, n_out, seed)
    return tuple(map(float, distribution.share_above(fitted, EXPOSED_AUC)))


def _row(
    is_group: np.ndarray,
    is_proven: np.ndarray,
    auc: np.ndarray,
    sides: tuple[int, int],
    seed: int,
) -> dict[str, float]:
    """The measured columns of one group."""
    size, proven = int(is_group.sum()), int(is_proven[is_group].sum())
    counts = proven, size, int(is_proven.sum()) - proven, len(is_group) - size
    columns = [
        *(size, proven, size * is_proven.mean(), proven / size),
        *(*relative_risk(*counts), fisher_p(*counts), np.nan),
        *(*_exposed(auc[is_group], *sides, seed), auc[is_group].mean()),
        *(*mean_difference(auc[is_group], auc[~is_group]), np.nan),
    ]
    return dict(zip(COLUMNS[2:], columns, strict=True))


def table(
    groups: pd.DataFrame,
    is_proven: np.ndarray,
    auc_mask_free: np.ndarray,
    n_in: int,
    n_out: int,
    seed: int = 0,
) -> pd.DataFrame:
    """Every group against all other patients.

    Args:
      groups: one row per patient, one column per attribute, values strings.
      is_proven: [patients] bool, false discovery rate 5 %.
      auc_mask_free: [patients] mask-free AUCs in 0..1.
      n_in: number of models trained with a patient, the typical count.
      n_out: number of models trained without.
      seed: of the bands of the exposed shares.

    Returns:
      One row per attribute and value, in the order of the columns and sorted by value;
      attributes with a single value are left out. Columns are `COLUMNS`. Undefined
      numbers are NaN: relative risk and its test if no or all patients are proven, the
      exposed share unless `distribution.is_reportable`, Welch's test for fewer than
      two patients. Holm adjusts over all rows with a defined test, apart for the two
      tests.

    Raises:
      InputError: if lengths differ.
    """
    is_proven = np.asarray(is_proven, bool)
    auc = np.asarray(auc_mask_free, np.float64)
    validate.require(
        len(groups) == len(is_proven) == len(auc),
        f"groups {len(groups)}, is_proven {len(is_proven)}, AUCs {len(auc)} rows",
        "must all have one row per patient",
        "pass the group table of the audited patients only",
    )
    rows = []
    for attribute in groups.columns:
        values = groups[attribute].fillna("unknown").astype(str).to_numpy()
        known = np.unique(values)
        for value in known if len(known) > 1 else ():
            row = _row(values == value, is_proven, auc, (n_in, n_out), seed)
            rows.append({"attribute": str(attribute), "value": str(value), **row})
    result = pd.DataFrame(rows, columns=list(COLUMNS))
    result["p_holm"] = holm(result["p_value"])
    result["mean_auc_p_holm"] = holm(result["mean_auc_p_value"])
    return result


def _rest_exposed(table: pd.DataFrame, row: pd.Series) -> float:
    """Exposed share of the other values of a group's attribute, where there is one."""
    rest = table[table["attribute"] == row["attribute"]]
    rest = rest[(rest["value"] != row["value"]) & rest["exposed_share"].notna()]
    if rest.empty:
        return np.nan
    return float(np.average(rest["exposed_share"], weights=rest["num_patients"]))


def _listed(prefix: str, rows: list[tuple[float, str]]) -> str:
    """One line, largest first: "prefix: first; second; third and 2 more"."""
    names = [name for _, name in sorted(rows, key=lambda row: -row[0])]
    more = len(names) - _MAX_NAMED
    shown = "; ".join(names[:_MAX_NAMED])
    return f"{prefix}: {shown} and {more} more" if more > 0 else f"{prefix}: {shown}"


def _by_proof(table: pd.DataFrame) -> list[tuple[float, str]]:
    """Groups in which patients are proven more often: (relative risk, text)."""
    found = table[(table["p_holm"] < _ALPHA) & (table["relative_risk"] > 1)]
    return [
        (row.relative_risk, f"{row.value} ({row.attribute}), {row.relative_risk:.1f}x")
        for row in found.itertuples()
    ]


def _by_mean(table: pd.DataFrame) -> tuple[list, list]:
    """Groups of higher mean AUC: those with more exposed patients, and all."""
    is_higher = table["mean_auc_difference"] > 0
    exposed, recognised = [], []
    for _, row in table[(table["mean_auc_p_holm"] < _ALPHA) & is_higher].iterrows():
        name = f"{row['value']} ({row['attribute']})"
        share, rest = 100 * row["exposed_share"], 100 * _rest_exposed(table, row)
        if np.round(share) > np.round(rest):  # False where either is NaN
            exposed.append((share, f"{name}, {share:.0f} v {rest:.0f} %"))
        mean, gap = 100 * row["mean_auc"], 100 * row["mean_auc_difference"]
        text = f"{name}, right {mean:.1f} v {mean - gap:.1f} times in 100"
        recognised.append((mean, text))
    return exposed, recognised


def title(table: pd.DataFrame) -> str:
    """The finding on groups in one sentence, from the table alone.

    While at least 30 patients and fewer than a tenth are proven, a group stands out if
    its relative risk of being proven is above 1 and Holm-significant. Otherwise nearly
    every leak, or none, is proven and the ratio says nothing: then a group stands out
    if its mean AUC is above the others' and Holm-significant; named with its share of
    exposed patients where that is higher too, else with its mean AUC.

    Args:
      table: of `table`.

    Returns:
      For example "More exposed: poor (health), 19 v 7 %; fair (health), 12 v 6 %".
    """
    none = "No group is shown to carry more risk than the others"
    if table.empty:
        return none
    one = table[table["attribute"] == table["attribute"].iloc[0]]
    num_proven, num_patients = one["num_proven"].sum(), one["num_patients"].sum()
    if _MIN_PROVEN <= num_proven < _MAX_SHARE_PROVEN * num_patients:
        proven = _by_proof(table)
        return _listed("Proven more exposed", proven) if proven else none
    exposed, recognised = _by_mean(table)
    if exposed:
        return _listed("More exposed", exposed)
    return _listed("Better recognised", recognised) if recognised else none
