"""Rows of the table of groups: each against all others, as they are."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from mia_jax import rng, validate
from mia_jax.risk import (
    cells,
    disparity,
    distribution,
    permutation,
    unit_permutation,
)

EXPOSED_AUC = 0.7  # the threshold of the report's headline
TOP_SHARE = 0.01
_NORMAL_95 = special.ndtri(0.975)


def with_limits(name: str) -> tuple[str, str, str]:
    """Names of a column and of its interval."""
    return name, f"{name}_low", f"{name}_high"


class Cohort(NamedTuple):
    """What all groups are compared on; arrays [patients]."""

    is_proven: np.ndarray
    auc: np.ndarray
    is_top: np.ndarray
    num_records: np.ndarray
    stratum: np.ndarray
    unit: np.ndarray | None
    sides: tuple[int, int]
    seed: int


def cohort_of(is_proven, auc, sides, seed: int, num_records, unit) -> Cohort:
    """The cohort from the arguments of `groups.table`."""
    auc = np.asarray(auc, np.float64)
    num_records = np.ones(len(auc), int) if num_records is None else num_records
    num_records = np.asarray(num_records)
    unit = None if unit is None else np.unique(unit, return_inverse=True)[1]
    # Single patients: the exact tests for independent patients apply.
    unit = None if unit is not None and unit.max(initial=0) + 1 == len(unit) else unit
    return Cohort(
        np.asarray(is_proven, bool),
        auc,
        _top(auc, seed),
        num_records,
        permutation.record_strata(num_records),
        unit,
        sides,
        seed,
    )


def _top(auc: np.ndarray, seed: int) -> np.ndarray:
    """[patients] bool, the 1 % (rounded up) of highest AUC; ties at random."""
    tie = rng.host(seed, "top of groups").random(len(auc))
    is_top = np.zeros(len(auc), bool)
    is_top[np.lexsort((tie, -auc))[: int(np.ceil(TOP_SHARE * len(auc)))]] = True
    return is_top


def label_columns(label: np.ndarray | None, num_patients: int) -> np.ndarray:
    """[patients, covariates]."""
    if label is None:
        return np.zeros((num_patients, 0))
    label = np.asarray(label)
    return label[:, None] if label.ndim == 1 else label


def check(num_groups: int, cohort: Cohort, label: np.ndarray) -> None:
    """Raises InputError unless everything has one row per patient."""
    unit = cohort.auc if cohort.unit is None else cohort.unit
    lengths = {
        "groups": num_groups,
        "is_proven": len(cohort.is_proven),
        "AUCs": len(cohort.auc),
        "num_records": len(cohort.num_records),
        "label": len(label),
        "unit_of_patient": len(unit),
    }
    validate.require(
        len(set(lengths.values())) == 1,
        ", ".join(f"{name} {length}" for name, length in lengths.items()) + " rows",
        "must all have one row per patient",
        "pass the group table of the audited patients only",
    )


def columns(compared: list[cells.Cell], cohort: Cohort) -> dict[str, np.ndarray]:
    """All columns that compare a group with all others as they are."""
    is_group = np.array([cell.is_group for cell in compared])
    rows = [
        _sizes(g, cohort) | _exposed(g, cohort) | _means(g, cohort) for g in is_group
    ]
    found = pd.DataFrame(rows).to_dict("series")
    return {name: np.asarray(column) for name, column in found.items()} | _tests(
        is_group, cohort
    )


def _sizes(is_group: np.ndarray, cohort: Cohort) -> dict[str, float]:
    size, is_proven = int(is_group.sum()), cohort.is_proven
    proven = int(is_proven[is_group].sum())
    counts = proven, size, int(is_proven.sum()) - proven, len(is_group) - size
    widening = 1.0
    if cohort.unit is not None:
        widening = disparity.design_effect(is_group, is_proven, cohort.unit)
    risk = disparity.relative_risk(*counts, widening)
    return {
        "num_patients": size,
        "mean_records": float(cohort.num_records[is_group].mean()),
        "num_proven": proven,
        "expected_proven": size * float(is_proven.mean()),
        "share_proven": proven / size,
        **dict(zip(with_limits("relative_risk"), risk, strict=True)),
        "top_share": float(cohort.is_top[is_group].mean()),
    }


def _exposed(is_group: np.ndarray, cohort: Cohort) -> dict[str, float]:
    """Denoised shares; NaN where too few patients or models say them."""
    shares = []
    for side in (is_group, ~is_group):
        share = np.nan, np.nan
        if distribution.is_reportable(int(side.sum()), *cohort.sides):
            unit = None if cohort.unit is None else cohort.unit[side]
            share = distribution.exposure(
                cohort.auc[side], *cohort.sides, EXPOSED_AUC, unit
            )
        shares.append(share)
    (share, error), (rest, rest_error) = shares
    gap, width = share - rest, _NORMAL_95 * np.hypot(error, rest_error)
    low, high = np.clip([share - _NORMAL_95 * error, share + _NORMAL_95 * error], 0, 1)
    names = ("exposed_share", "exposed_low", "exposed_high")
    limits = gap, max(-1.0, gap - width), min(1.0, gap + width)
    if not np.isfinite(gap):
        limits = (np.nan,) * 3
    names += with_limits("exposed_difference")
    return dict(zip(names, (share, low, high, *limits), strict=True))


def _means(is_group: np.ndarray, cohort: Cohort) -> dict[str, float]:
    auc, unit = cohort.auc, cohort.unit
    if unit is None:
        found = disparity.mean_difference(auc[is_group], auc[~is_group])
    else:
        found = disparity.clustered_difference(auc, is_group, unit)
    names = (*with_limits("mean_auc_difference"), "mean_auc_p_value")
    sd = float(auc.std(ddof=1)) if len(auc) > 1 else 0.0
    return {
        "mean_auc": float(auc[is_group].mean()),
        **dict(zip(names, found, strict=True)),
        "mean_auc_effect": found[0] / sd if sd > 1e-12 else np.nan,
    }


def _tests(is_group: np.ndarray, cohort: Cohort) -> dict[str, np.ndarray]:
    """Permutation tests within strata: of proven, of the top 1 %, of ranks."""
    stratum, events = cohort.stratum, (cohort.is_proven, cohort.is_top)
    laws = [[permutation.law(g, e, stratum) for e in events] for g in is_group]
    counts = np.array([[int(e[g].sum()) for e in events] for g in is_group])
    ratio = [
        permutation.odds_ratio(law[1], int(x[1]))
        for law, x in zip(laws, counts, strict=True)
    ]
    units = unit_permutation.blocks(stratum, cohort.unit, cohort.num_records)
    if cohort.unit is None:
        pairs = list(zip(laws, counts.tolist(), strict=True))
        proven = [permutation.two_sided_p(law[0], x[0]) for law, x in pairs]
        top = [permutation.enrichment_p(law[1], x[1]) for law, x in pairs]
    else:
        by_unit = unit_permutation.count_p_values
        proven = by_unit(units, is_group, events[0], cohort.seed)[0]
        top = by_unit(units, is_group, events[1], cohort.seed)[1]
    order = unit_permutation.ranks_within(cohort.auc, stratum)
    ranks = [unit_permutation.rank_test(units, g, order, stratum) for g in is_group]
    columns = {"p_value": np.asarray(proven), "top_p_value": np.asarray(top)}
    columns |= dict(zip(with_limits("top_ratio"), np.array(ratio).T, strict=True))
    columns |= dict(zip(("rank_effect", "rank_p_value"), np.array(ranks).T))
    return columns
