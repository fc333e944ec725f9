"""Tables about single patients, and about who is among the proven."""

import pandas as pd

from mia_jax.report import contents, tables, words

_MAX_ATTRIBUTES = 4  # columns of a page


def most_exposed(data: contents.ReportData) -> tables.Table:
    """At most a hundred patients under pseudonyms, highest joint AUC first."""
    attributes = data.attributes[:_MAX_ATTRIBUTES]
    rows = [
        [
            tables.Cell(row["pseudonym"]),
            _joint(row["auc"]),
            _mask_free(row),
            _worst_record(row["auc_max_record"]),
            tables.Cell(f"{row['num_records']:.0f}", float(row["num_records"])),
            *[tables.Cell(_text(row[name])) for name in attributes],
            _proof(row),
        ]
        for row in data.most_exposed.to_dict("records")
    ]
    columns = {
        "Pseudonym": False,
        "Right, in 100": True,
        "Rank test (95 %)": True,
        "Riskiest record": True,
        "Records": True,
        **dict.fromkeys(attributes, False),
        "Proven": False,
    }
    caption = "Most exposed patients, highest first"
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


def _worst_record(auc: float) -> tables.Cell:
    return tables.Cell(words.DASH if words.is_missing(auc) else words.times(auc), auc)


def _text(value: object) -> str:
    return "unknown" if pd.isna(value) else str(value)


def _proof(row: dict) -> tables.Cell:
    if row["is_proven_holm"]:
        return tables.Cell("one by one", 2.0)
    return tables.Cell("yes", 1.0) if row["is_proven"] else tables.Cell("no", 0.0)


def composition(data: contents.ReportData) -> tables.Table | None:
    """Share of every group among the proven and among all; None if there are none."""
    if data.groups.empty or data.num_proven == 0:
        return None
    rows = []
    for row in data.groups.to_dict("records"):
        proven = row["num_proven"] / data.num_proven
        cohort = row["num_patients"] / data.num_patients
        rows.append(
            [
                tables.Cell(f"{row['attribute']}: {row['value']}"),
                tables.Cell(words.percent(proven), proven),
                tables.Cell(words.percent(cohort), cohort),
                tables.Cell(f"{proven / cohort:.2f}", proven / cohort),
            ]
        )
    columns = (
        ("Group", False),
        ("Among the proven", True),
        ("Among all", True),
        ("Ratio", True),
    )
    return tables.Table("Who is among the proven", columns, rows)
