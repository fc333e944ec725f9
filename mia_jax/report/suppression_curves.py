"""Curves and histograms in steps of five patients or none; see `suppression`."""

from typing import Any

import numpy as np
import pandas as pd

from mia_jax.report import cells, suppression_groups

_EDGES = np.round(np.arange(0.0, 1.0001, 0.01), 2)
_PREFERRED = range(50, 100, 5)  # edges that titles and tables name
_FEWEST_IN_CURVE = 50  # patients of a group whose own curve is shown
_COLUMNS = {
    "roc": ("fpr", "tpr_median", "tpr_low", "tpr_high"),
    "roc_by_attack": ("attack", "fpr", "tpr_median"),
    "precision": ("num_models", "half_width", "detection_limit", "goal"),
}


def suppress(
    curves: dict[str, pd.DataFrame],
    summary: dict[str, Any],
    patients: pd.DataFrame,
    groups: pd.DataFrame,
    endpoint: str | None,
) -> dict[str, pd.DataFrame]:
    """The curves that may be shown; a table of another name is left out.

    Args:
      curves: of curves.pkl.
      summary: of summary.json.
      patients: of patients.pkl.
      groups: already suppressed.
      endpoint: of `groups`.
    """
    auc = patients["auc"].to_numpy(float)
    is_proven = patients["is_proven"].to_numpy(bool)
    edges = _EDGES[cells.join(_in_bins(auc, _EDGES)[:, None], _PREFERRED)]
    total = summary["num_patients"]
    found = {
        "histogram": _histogram(curves["histogram"], auc, edges),
        "proven": _proven(auc, is_proven, edges),
        # Of permuted masks: chance, not patients.
        "chance": curves["histogram"][["left", "right", "null_count"]],
        "survival": _survival(curves["survival"], auc, edges),
        "max_record": _max_record(curves["max_record"], total),
        "by_num_records": suppression_groups.by_num_records(
            curves["by_num_records"], patients, groups
        ),
    }
    for name in ("denoised", "denoised_ash"):
        if name in curves:
            found[name] = _estimated(curves[name], total)
    for name in ("roc", "roc_by_attack"):
        if name in curves:
            found[name] = _roc(curves[name][list(_COLUMNS[name])], summary)
    if "ceiling" in curves:  # of public numbers alone
        found["ceiling"] = curves["ceiling"][["fpr", "tpr"]]
    if "precision" in curves:
        names = [c for c in _COLUMNS["precision"] if c in curves["precision"]]
        found["precision"] = curves["precision"][names]
    # The top share of groups and their curves could be subtracted from each other.
    if "survival_by_group" in curves and endpoint != "top":
        found["survival_by_group"] = _by_group(
            curves["survival_by_group"], patients, groups, edges
        )
    return found


def _above(auc: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """[edges] patients strictly above each."""
    return len(auc) - np.searchsorted(np.sort(auc), edges, side="right")


def _in_bins(auc: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """[bins] patients in (left, right]; the first bin takes all further left too."""
    above = _above(auc, edges)
    above[0] = len(auc)
    return -np.diff(above)


def _histogram(table: pd.DataFrame, auc: np.ndarray, edges) -> pd.DataFrame:
    number = np.searchsorted(edges, table["left"].to_numpy() + 1e-9) - 1
    null = np.bincount(number, table["null_count"], len(edges) - 1)
    columns = {"left": edges[:-1], "right": edges[1:], "count": _in_bins(auc, edges)}
    return pd.DataFrame({**columns, "null_count": null})


def _proven(auc: np.ndarray, is_proven: np.ndarray, edges: np.ndarray) -> pd.DataFrame:
    """Proven patients in wider bins, with none or five proven and unproven in each.

    No rows where so few are proven, or so few are not, that all bins would be one.
    """
    kinds = [auc[is_proven], auc[~is_proven]]
    counts = np.stack([_in_bins(part, edges) for part in kinds], 1)
    if cells.is_small(counts.sum(0)).any():
        edges = edges[:1]
    else:
        edges = edges[cells.join(counts, _places(edges))]
    columns = {"left": edges[:-1], "right": edges[1:]}
    return pd.DataFrame({**columns, "count_proven": _in_bins(kinds[0], edges)})


def _survival(table: pd.DataFrame, auc, edges) -> pd.DataFrame:
    """The share above, at the edges of the histogram alone."""
    names = [c for c in table if c in ("auc", "null_share", "null_low", "null_high")]
    share = _at_edges(table["auc"], edges, _above(auc, edges) / len(auc))
    return table[names].assign(share=share)


def _at_edges(level: pd.Series, edges: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values at inner edges, NaN between and beyond them."""
    inner = dict(zip(np.round(edges[1:-1], 3), values[1:-1], strict=True))
    return np.array([inner.get(x, np.nan) for x in np.round(level, 3)], float)


def _max_record(table: pd.DataFrame, total: int) -> pd.DataFrame:
    """At the thresholds of the table of the page, in steps of five patients."""
    rows = table[table["threshold"].round(3).isin((0.6, 0.7, 0.8, 0.9))].copy()
    before, shares = total, []
    for share in rows["share"]:
        number = round(share * total)
        is_kept = number >= cells.FEWEST and not cells.is_small(before - number)
        shares.append(number / total if is_kept else np.nan)
        before = number if is_kept else before
    return rows[["threshold", "null_share"]].assign(share=shares)


def _estimated(table: pd.DataFrame, total: int) -> pd.DataFrame:
    """A denoised curve, to the last level with five patients."""
    kept = table[table["share"].to_numpy(float) * total >= cells.FEWEST].copy()
    if "low" in kept:
        kept["low"] = kept["low"].where(kept["low"] * total >= cells.FEWEST, 0.0)
    return kept[[c for c in ("auc", "share", "low", "high") if c in kept]]


def _roc(table: pd.DataFrame, summary: dict[str, Any]) -> pd.DataFrame:
    """Hits of at least five records, where ten false alarms can be counted."""
    half = summary["num_records"] / 2
    kept = table[(table["fpr"] * half >= 10) | (table["fpr"] == 0)].copy()
    for name in ("tpr_median", "tpr_low", "tpr_high"):
        if name in kept:
            is_few = kept[name] * half < cells.FEWEST
            kept.loc[is_few, name] = 0.0 if name == "tpr_low" else np.nan
    return kept.reset_index(drop=True)


def _by_group(table, patients, groups, edges) -> pd.DataFrame:
    """Curves of the larger groups of every attribute, at common edges of its own."""
    parts = []
    for attribute, own in groups.groupby("attribute", sort=False):
        if attribute not in patients:
            continue
        sizes = pd.to_numeric(own["num_patients"], errors="coerce")
        names = own.loc[sizes >= _FEWEST_IN_CURVE, "value"].astype(str).tolist()
        values = suppression_groups.labels_of(patients, attribute)
        auc = patients["auc"].to_numpy(float)
        kinds = [auc[values == name] for name in names]
        kinds.append(auc[~np.isin(values, names)])
        counts = np.stack([_in_bins(part, edges) for part in kinds], 1)
        if not names or cells.is_small(counts.sum(0)).any():
            continue
        common = edges[cells.join(counts, _places(edges))]
        for name, part in zip(names, kinds, strict=False):
            is_own = (table["attribute"] == attribute) & (table["value"] == name)
            above = _above(part, common).astype(float)
            above[above < cells.FEWEST] = np.nan
            curve = table[is_own]
            share = _at_edges(curve["auc"], common, above / len(part))
            parts.append(curve.assign(share=share, num_patients=len(part)))
    columns = ["attribute", "value", "num_patients", "auc", "share"]
    columns += ["null_low", "null_high"]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True)[columns]


def _places(edges: np.ndarray) -> list[int]:
    """Where the preferred levels lie among joined edges."""
    preferred = np.array(_PREFERRED) / 100
    return [i for i, edge in enumerate(edges[:-1]) if np.isclose(edge, preferred).any()]
