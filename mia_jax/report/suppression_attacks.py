"""Results of attacks without counts of few patients or records; see `suppression`."""

from typing import Any

import numpy as np

from mia_jax.report import cells, words


def attacks(summary: dict[str, Any]) -> dict[str, Any]:
    kept = ("name", "label", "options", "aggregate_auc", "aggregate_auc_band")
    rows = []
    for attack in summary.get("attacks") or ():
        row = {key: attack.get(key) for key in (*kept, "median_patient_auc")}
        proven = attack.get("num_proven")
        row["num_proven"] = cells.shown(proven)
        row["num_proven_holm"] = cells.part_of(
            attack.get("num_proven_holm"), proven or 0
        )
        row["exposed_share"] = cells.estimate(
            attack.get("exposed_share"), summary["num_patients"]
        )
        row |= _hits(attack, summary)
        rows.append({**row, "worst_patient": None})
    return {"attacks": rows, **_hits(summary, summary)}


def _hits(found: dict[str, Any], summary: dict[str, Any]) -> dict[str, Any]:
    """Hit rates of at least five records; half of the records are members."""
    rates, bands = found.get("tpr_at_fpr") or {}, found.get("tpr_at_fpr_band") or {}
    fewest = 2 * cells.FEWEST / summary["num_records"]
    is_kept = {k: not words.is_missing(v) and v >= fewest for k, v in rates.items()}
    return {
        "tpr_at_fpr": {k: v if is_kept[k] else None for k, v in rates.items()},
        "tpr_at_fpr_band": {k: v if is_kept.get(k) else None for k, v in bands.items()},
    }


def rates(summary: dict[str, Any]) -> dict[str, Any]:
    """Thresholds and predictive values, less those that rest on few false alarms."""
    counted = ("realised_fpr", "num_false_alarms", "fpr_low", "fpr_high", "tpr")
    thresholds, hidden = [], set()
    for row in summary.get("thresholds") or ():
        kept = {k: row.get(k) for k in ("fpr", "rule", "num_non_members")}
        alarms, others = row.get("num_false_alarms"), row.get("num_non_members") or 0
        is_few = alarms is not None and cells.is_small(alarms)
        if is_few or cells.is_small((row.get("tpr") or 0.0) * others):
            hidden.add(row["fpr"])
            kept |= {**dict.fromkeys(counted), "num_false_alarms": cells.shown(alarms)}
        else:
            kept |= {k: row.get(k) for k in counted}
        # In words of our own: those of the run may name the number.
        kept["reason"] = "too few to say" if row.get("reason") else None
        thresholds.append(kept)
    names = ("prior", "fpr", "tpr", "realised_fpr", "ppv", "ppv_low", "ppv_high")
    ppv = [
        {k: row.get(k) for k in names}
        for row in summary.get("ppv") or ()
        if row.get("fpr") not in hidden
    ]
    return {"thresholds": thresholds, "ppv": ppv}


def agreement(summary: dict[str, Any]) -> dict[str, Any]:
    proven = {a.get("label"): a.get("num_proven") for a in summary.get("attacks") or ()}
    names = ("a", "b", "top_share", "num_top", "jaccard_chance", "spearman")
    rows = []
    for row in summary.get("agreement") or ():
        kept = {name: row.get(name) for name in names}
        sizes = [row.get("num_top")] * 2
        kept["jaccard"] = _overlap(row.get("jaccard"), sizes)
        sizes = [proven.get(row.get(side)) for side in ("a", "b")]
        kept["jaccard_proven"] = _overlap(row.get("jaccard_proven"), sizes)
        kept["num_top"] = cells.shown(row.get("num_top"))
        rows.append(kept)
    found = {"agreement": rows}
    halves = summary.get("stability")
    if halves:
        names = ("num_models", "jaccard_chance", "spearman", "spearman_full")
        sizes = [halves.get("num_top")] * 2
        found["stability"] = {
            **{name: halves.get(name) for name in names},
            "num_top": cells.shown(halves.get("num_top")),
            "jaccard": _overlap(halves.get("jaccard"), sizes),
        }
    return found


def _overlap(jaccard: float | None, sizes: list[int | None]) -> float | None:
    """A Jaccard index; hidden where both, or only one of the two sets, share few.

    Of sets of sizes a and b it gives away the overlap, J (a + b) / (1 + J).
    """
    if words.is_missing(jaccard) or None in sizes:
        return None
    shared = round(jaccard * sum(sizes) / (1 + jaccard))
    parts = [shared, *sizes, *(size - shared for size in sizes)]
    return None if cells.is_small(np.array(parts)).any() else jaccard
