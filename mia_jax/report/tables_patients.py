"""Tables about patients: the most exposed, levels of risk, rates of hits."""

import pandas as pd

from mia_jax.report import contents, tables, words

_MAX_ATTRIBUTES = 3  # columns of a page
_RECORDS = {  # the first that there is
    "auc_worst_record": "Riskiest record",
    "auc_max_record": "Riskiest record (biased)",
}
_RATES = {"tpr_at_1": "Hits at 1 %"}
_QUANTILES = {
    "0.5": "Median",
    "0.95": "95th percentile",
    "0.99": "99th",
    "1": "Highest",
}


def most_exposed(data: contents.ReportData) -> tables.Table:
    """At most a hundred patients under pseudonyms, highest joint AUC first."""
    attributes = data.attributes[:_MAX_ATTRIBUTES]
    known = data.most_exposed.columns
    records = [name for name in _RECORDS if name in known][:1]
    rates = [name for name in _RATES if name in known]
    rows = [
        [
            tables.Cell(row["pseudonym"]),
            _joint(row["auc"]),
            _mask_free(row),
            *[_times(row[name]) for name in records],
            *[_rate(row[name]) for name in rates],
            tables.Cell(f"{row['num_records']:.0f}", float(row["num_records"])),
            *[tables.Cell(_text(row[name])) for name in attributes],
            _proof(row),
        ]
        for row in data.most_exposed.to_dict("records")
    ]
    columns = {
        "Pseudonym": False,
        "Right, in 100": True,
        "Rank test (interval)": True,
        **{_RECORDS[name]: True for name in records},
        **{_RATES[name]: True for name in rates},
        "Records": True,
        **dict.fromkeys(attributes, False),
        "Proven": False,
    }
    caption = f"Most exposed patients, highest first; intervals {_levels(data)}"
    return tables.Table(caption, tuple(columns.items()), rows)


def _joint(auc: float) -> tables.Cell:
    bar = max(0.0, min(200 * (auc - 0.5), 100.0))
    return tables.Cell(words.times(auc), auc, round(bar))


def _mask_free(row: dict) -> tables.Cell:
    """The AUC that proof and interval rest on; without interval where chance may be."""
    auc = row["auc_mask_free"]
    if words.is_missing(row["auc_low"]) or words.is_missing(row["auc_high"]):
        return tables.Cell("not distinguishable from 50", auc)
    low, high = 100 * row["auc_low"], 100 * row["auc_high"]
    return tables.Cell(f"{words.times(auc)} ({low:.0f} to {high:.0f})", auc)


def _times(auc: float) -> tables.Cell:
    return tables.Cell(words.DASH if words.is_missing(auc) else words.times(auc), auc)


def _rate(hits: float) -> tables.Cell:
    return tables.Cell(tables.share(hits), hits)


def _levels(data: contents.ReportData) -> str:
    """Intervals of proven patients are wider: selected, so their errors count more."""
    level = data.summary.get("discovered_level")
    if words.is_missing(level) or level <= 0.95:
        return "95 %"
    return f"95 %, of proven patients {100 * level:.1f} %"


def _text(value: object) -> str:
    return "unknown" if pd.isna(value) else str(value)


def _proof(row: dict) -> tables.Cell:
    if row["is_proven_holm"]:
        return tables.Cell("one by one", 2.0)
    return tables.Cell("yes", 1.0) if row["is_proven"] else tables.Cell("no", 0.0)


def levels(data: contents.ReportData) -> tables.Table:
    """Exposure by level: measured, without noise, by a second model, worst record."""
    second = data.summary.get("exposed_ash") or {}
    worst = (data.summary.get("worst_record") or {}).get("share_above") or {}
    joint = data.summary["share_of_patients_above"]
    rows = []
    for level, band in data.summary["exposed"].items():
        limits = (band.get("low"), band.get("high"))
        share, between = words.share_with_band(band.get("share"), *limits)
        is_known = not words.is_missing(band.get("share"))
        row = [
            f"{100 * float(level):.0f}",
            tables.share((joint.get(level) or {}).get("joint")),
            share if is_known else tables.share(band.get("share")),
            between or words.DASH,
        ]
        row += [tables.share(second.get(level))] if second else []
        row += [tables.share(worst.get(level))] if worst else []
        rows.append(row)
    names = ["Measured", "Noise removed", "95 % band"]
    names += ["Second model"] if second else []
    names += ["Riskiest record"] if worst else []
    columns = {"Right more than, in 100": False, **dict.fromkeys(names, True)}
    return tables.make("Share of patients above a level", columns, rows)


def rates(data: contents.ReportData) -> tables.Table | None:
    """Hits for single patients at fixed rates of false alarms."""
    found = {
        k: row for k, row in (data.summary.get("tpr_of_patients") or {}).items() if row
    }
    shown = [q for q in _QUANTILES if any(q in row for row in found.values())]
    if not shown:
        return None
    rows = [
        [f"{100 * float(fpr):g} %", *[tables.share(row.get(q)) for q in shown]]
        for fpr, row in found.items()
    ]
    names = [_QUANTILES[q] for q in shown]
    columns = {"False alarms": False, **dict.fromkeys(names, True)}
    return tables.make("Hits for one patient, over patients", columns, rows)
