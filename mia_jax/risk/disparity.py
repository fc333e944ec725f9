"""A group of patients against all others: ratio, difference, and when which counts."""

import numpy as np
from scipy import special, stats

_NORMAL_95 = special.ndtri(0.975)
# Relative risks of being proven find nobody below 30 proven, and above a tenth nearly
# every leak is proven and they saturate. Below 10 not even the top 1 % has enough.
FEWEST_PROVEN = 30
LARGEST_SHARE_PROVEN = 0.1
FEWEST_FOR_TOP = 10


def endpoint(num_proven: int, num_patients: int) -> str:
    """What groups are compared by, fixed by the number of proven patients alone.

    Returns:
      "proven": relative risk of being proven; at least 30 and less than a tenth are.
      "top": share among the 1 % of highest AUC; 10 to 29 are proven, and the 1 % are
        10 patients or more.
      "rank": rank test of the AUCs; fewer are proven.
      "exposed": share of exposed patients and mean AUC; a tenth or more are proven.
    """
    if num_proven >= max(FEWEST_FOR_TOP, LARGEST_SHARE_PROVEN * num_patients):
        return "exposed"
    if num_proven >= FEWEST_PROVEN:
        return "proven"
    has_top = num_patients >= 100 * FEWEST_FOR_TOP
    return "top" if num_proven >= FEWEST_FOR_TOP and has_top else "rank"


def relative_risk(
    num_proven: int,
    num_patients: int,
    rest_proven: int,
    rest_patients: int,
    design_effect: float = 1.0,
) -> tuple[float, float, float]:
    """Relative risk of being proven, a group against the rest, and its 95 % interval.

    One half is added to every count, which keeps zero counts finite; the interval is
    normal on the log scale, with var = 1/a - 1/n + 1/c - 1/m (Katz et al. 1978), times
    the design effect.

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
    variance = (1 / a - 1 / n + 1 / c - 1 / m) * design_effect
    width = _NORMAL_95 * np.sqrt(variance)
    limits = np.exp([log_risk, log_risk - width, log_risk + width])
    return tuple(limits.tolist())


def design_effect(is_group: np.ndarray, is_proven: np.ndarray, unit: np.ndarray):
    """How much units of patients widen the variance of a log relative risk; >= 1.

    Variance of the linearised log ratio with sums over units, divided by the same with
    every patient alone.

    Args:
      is_group, is_proven: [patients] bool.
      unit: [patients] int, patients with equal numbers share their masks.
    """
    influence = np.zeros(len(is_proven))
    for sign, side in ((1, is_group), (-1, ~is_group)):
        share = is_proven[side].mean() if side.any() else 0.0
        if share == 0:
            return 1.0
        influence[side] = sign * (is_proven[side] - share) / (side.sum() * share)
    alone = (influence**2).sum()
    together = (np.bincount(unit, influence) ** 2).sum()
    return float(max(1.0, together / alone)) if alone > 0 else 1.0


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
    return student(difference, error, freedom)


def clustered_difference(
    auc: np.ndarray, is_group: np.ndarray, unit: np.ndarray
) -> tuple[float, float, float, float]:
    """Difference of mean AUCs where patients share masks: errors robust to units.

    The regression of the AUC on the group with cluster-robust variance (CR1: Cameron
    and Miller 2015, https://doi.org/10.3368/jhr.50.2.317, eq. 12); t with one degree
    less than the units on the smaller side, since these alone tell about its noise.

    Args:
      auc: [patients].
      is_group: [patients] bool.
      unit: [patients] int.

    Returns:
      As `mean_difference`.
    """
    num_group, num = int(is_group.sum()), len(auc)
    if num_group in (0, num):
        return (np.nan,) * 4
    group, rest = auc[is_group].mean(), auc[~is_group].mean()
    freedom = unit_freedom(is_group, unit)
    if freedom < 1 or np.ptp(auc[is_group]) + np.ptp(auc[~is_group]) == 0:
        return group - rest, np.nan, np.nan, np.nan
    influence = np.where(
        is_group, (auc - group) / num_group, -(auc - rest) / (num - num_group)
    )
    sums = np.bincount(unit, influence)
    num_units = len(np.unique(unit))
    inflation = num_units / (num_units - 1) * (num - 1) / (num - 2)
    error = np.sqrt(inflation * (sums**2).sum())
    return student(group - rest, error, freedom)


def unit_freedom(is_group: np.ndarray, unit: np.ndarray) -> int:
    """Units on the side that has fewer of them, less one."""
    sides = (len(np.unique(unit[side])) for side in (is_group, ~is_group))
    return min(sides) - 1


def student(
    value: float, error: float, freedom: float
) -> tuple[float, float, float, float]:
    """value, its 95 % interval and two-sided p-value by Student's t."""
    if not error > 0:
        return value, np.nan, np.nan, np.nan
    width = special.stdtrit(freedom, 0.975) * error
    p_value = 2 * special.stdtr(freedom, -abs(value) / error)
    return value, value - width, value + width, p_value


def adjust(p_values: np.ndarray, method: str) -> np.ndarray:
    """p-values adjusted over those that are defined; NaN stays NaN.

    Here and not by `statsmodels`, whose Holm runs the garbage collector: a tenth of a
    second each time.

    Args:
      p_values: [tests].
      method: "holm" (Holm 1979) or "bh" (Benjamini and Hochberg 1995).
    """
    p_values = np.asarray(p_values, np.float64)
    adjusted = np.full(p_values.shape, np.nan)
    defined = np.flatnonzero(~np.isnan(p_values))
    order = defined[np.argsort(p_values[defined], kind="stable")]
    rank, num = np.arange(len(order)), len(order)
    if method == "holm":
        steps = np.maximum.accumulate(p_values[order] * (num - rank))
    else:
        steps = p_values[order] * num / (rank + 1)
        steps = np.minimum.accumulate(steps[::-1])[::-1]
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted
