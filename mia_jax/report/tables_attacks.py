"""Tables about attacks: side by side, at thresholds, in agreement, with what prior."""

import math
from typing import Any

from mia_jax.report import contents, tables, words

_FPRS = ("0.001", "0.01", "0.1")
_RULES = {"pooled": "one for all", "per_patient": "one for each patient"}


def of(data: contents.ReportData) -> list[dict[str, Any]]:
    """The attacks of a run, the first one first."""
    rows = data.summary.get("attacks") or [data.summary.get("attack")]
    return [{**row, "label": row.get("label") or row["name"]} for row in rows if row]


def _percent(value: float | None, digits: int = 2) -> str:
    return words.HIDDEN if words.is_missing(value) else f"{100 * value:.{digits}f} %"


def _numbers(caption: str, first: str, names: tuple[str, ...], rows) -> tables.Table:
    columns = {first: False, **dict.fromkeys(names, True)}
    return tables.make(caption, columns, rows)


def attacks(data: contents.ReportData) -> tables.Table | None:
    """All attacks of a run; None if there is but one."""
    found = of(data)
    if len(found) < 2:
        return None
    rows = []
    for attack in found:
        hits = attack.get("tpr_at_fpr") or {}
        row = [
            attack["label"],
            tables.number(attack.get("aggregate_auc"), 3),
            *[_hits(hits.get(fpr)) for fpr in _FPRS],
            words.count(attack.get("num_proven")),
            words.count(attack.get("num_proven_holm")),
            tables.share(attack.get("exposed_share")),
        ]
        rows.append(row if data.is_public else [*row, _worst(attack)])
    names = (
        *("AUC", "Hits at 0.1 %", "at 1 %", "at 10 %", "Proven", "one by one"),
        *("Above 70 in 100", "Worst patient (at least)"),
    )
    names = names[:-1] if data.is_public else names
    return _numbers("Every attack on the same models", "Attack", names, rows)


def _hits(value: float | None) -> str:
    return "not reported" if words.is_missing(value) else f"{100 * value:.2f} %"


def _worst(attack: dict[str, Any]) -> str:
    worst = attack.get("worst_patient") or {}
    if words.is_missing(worst.get("auc")):
        return words.DASH
    low = worst.get("lower_limit")
    least = words.DASH if words.is_missing(low) else f"{math.floor(100 * low + 1e-9)}"
    return f"{words.times(worst['auc'])} ({least})"


def thresholds(data: contents.ReportData) -> tables.Table | None:
    """One threshold for all patients beside one for each, with what they realise."""
    found = data.summary.get("thresholds")
    if not found:
        return None
    rows = [
        [
            f"{100 * row['fpr']:g} %",
            _RULES.get(row["rule"], row["rule"]),
            _percent(row.get("realised_fpr")),
            f"{words.count(row.get('num_false_alarms'))} of "
            f"{words.count(row.get('num_non_members'))}",
            _interval(row),
            _percent(row.get("tpr")),
        ]
        for row in found
    ]
    columns = {
        **{"Aimed at": False, "Threshold": False, "False alarms": True},
        **{"Counted": True, "95 % interval": True, "Hits": True},
    }
    return tables.make("False alarms aimed at and realised", columns, rows)


def _interval(row: dict[str, Any]) -> str:
    low, high = row.get("fpr_low"), row.get("fpr_high")
    if not words.is_missing(low) and not words.is_missing(high):
        return f"{100 * low:.2f} to {100 * high:.2f} %"
    if words.is_missing(row.get("realised_fpr")):
        return words.HIDDEN
    return row.get("reason") or words.DASH


def ppv(data: contents.ReportData) -> tables.Table | None:
    """How often "trained on" is right, by what was known before."""
    found = data.summary.get("ppv")
    if not found:
        return None
    rows = [
        [
            f"{100 * row['prior']:g} %",
            _percent(row["fpr"], 0 if row["fpr"] >= 0.01 else 1),
            _percent(row.get("ppv"), 0),
            _percents(row.get("ppv_low"), row.get("ppv_high")),
        ]
        for row in found
    ]
    names = ("At false alarms", "Right when it says so", "95 % interval")
    caption = "How far to believe an attacker who says: this patient was trained on"
    return _numbers(caption, "Trained on, known before", names, rows)


def _percents(low: float | None, high: float | None) -> str:
    if words.is_missing(low) or words.is_missing(high):
        return words.DASH
    return f"{100 * low:.0f} to {100 * high:.0f} %"


def agreement(data: contents.ReportData) -> tables.Table | None:
    """Whether two attacks, or two halves of the models, find the same patients."""
    rows = [
        _pair(f"{row['a']} and {row['b']}", row)
        for row in data.summary.get("agreement") or ()
    ]
    halves = data.summary.get("stability")
    if halves:
        sizes = " and ".join(words.count(n) for n in halves.get("num_models") or ())
        rows.append(_pair(f"two halves of the models ({sizes})", halves))
    if not rows:
        return None
    names = (
        *("Most exposed", "Shared (Jaccard)", "by chance", "Proven, shared"),
        "Rank correlation",
    )
    return _numbers("Do they find the same patients?", "Compared", names, rows)


def _pair(name: str, row: dict[str, Any]) -> list[str]:
    return [
        name,
        words.count(row.get("num_top")),
        tables.number(row.get("jaccard"), 2),
        tables.number(row.get("jaccard_chance"), 3),
        tables.number(row.get("jaccard_proven"), 2),
        tables.number(row.get("spearman"), 2),
    ]


def precision(data: contents.ReportData) -> tables.Table | None:
    """What more models would show."""
    table = data.curves.get("precision")
    if table is None or table.empty:
        return None
    rows = [
        [
            words.count(row["num_models"]),
            f"± {100 * row['half_width']:.1f}",
            words.DASH
            if words.is_missing(row["detection_limit"])
            else words.limit(row["detection_limit"]),
        ]
        for row in table.to_dict("records")
    ]
    names = ("One patient, 95 % (in 100)", "Detection limit (in 100)")
    return _numbers("Precision by number of models", "Models", names, rows)
