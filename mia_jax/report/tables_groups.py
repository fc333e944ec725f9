"""Tables of groups: proof and exposure, means raw and adjusted, who is proven."""

from mia_jax.report import contents, tables, words


def _name(row: dict) -> str:
    return f"{row['attribute']}: {row['value']}"


def _known(row: dict, name: str, scale: float = 1.0) -> float | None:
    """A number of a group; None where it is absent or hidden."""
    value = row.get(name)
    return None if words.is_missing(value) else scale * value


def _ratio(row: dict, name: str) -> tables.Cell:
    """A ratio with its interval: "4.1 (2.1 to 8.0)"."""
    value, low, high = (_known(row, f"{name}{end}") for end in ("", "_low", "_high"))
    if value is None:
        return tables.Cell(words.DASH)
    band = "" if low is None or high is None else f" ({low:.1f} to {high:.1f})"
    return tables.Cell(f"{value:.1f}{band}", value)


def _points(row: dict, name: str) -> tables.Cell:
    """A difference in times in 100 with its interval: "+3.2 (1.0 to 5.4)"."""
    ends = ("", "_low", "_high")
    value, low, high = (_known(row, f"{name}{end}", 100.0) for end in ends)
    if value is None:
        return tables.Cell(words.DASH)
    band = "" if low is None or high is None else f" ({low:.1f} to {high:.1f})"
    return tables.Cell(f"{value:+.1f}{band}", value)


def _p(row: dict, name: str) -> tables.Cell:
    value = _known(row, name)
    return tables.Cell(tables.p_value(value), value)


def _count(row: dict, name: str) -> tables.Cell:
    return tables.Cell(words.count(row[name]), _known(row, name))


def risk(data: contents.ReportData) -> tables.Table:
    """Proven patients of every group against all others."""
    has_top = data.summary.get("groups_endpoint") == "top"
    rows = []
    for row in data.groups.to_dict("records"):
        cells = [
            tables.Cell(_name(row)),
            _count(row, "num_patients"),
            tables.Cell(tables.number(_known(row, "mean_records"))),
            _count(row, "num_proven"),
            tables.Cell(tables.number(_known(row, "expected_proven"))),
            *(_ratio(row, "relative_risk"), _p(row, "p_holm")),
            _ratio(row, "adjusted_relative_risk"),
            _p(row, "adjusted_relative_risk_p_holm"),
        ]
        top = [_ratio(row, "top_ratio"), _p(row, "top_p_holm")] if has_top else []
        rows.append(cells + top)
    names = [
        *("Patients", "Records each", "Proven", "Expected", "Relative risk (95 %)"),
        *("p (Holm)", "Adjusted (95 %)", "p, adjusted (Holm)"),
    ]
    names += ["Top 1 %, ratio (95 %)", "p, top (Holm)"] if has_top else []
    columns = {"Group": False, **dict.fromkeys(names, True)}
    return tables.make("Proven patients, each group v all others", columns, rows)


def mean(data: contents.ReportData) -> tables.Table:
    """Exposed share and mean of every group, raw and adjusted."""
    rows = [
        [
            tables.Cell(_name(row)),
            _exposed(row),
            _points(row, "exposed_difference"),
            tables.Cell(tables.number(_known(row, "mean_auc", 100.0))),
            _points(row, "mean_auc_difference"),
            tables.Cell(tables.number(_known(row, "mean_auc_effect"), 2)),
            _p(row, "mean_auc_p_holm"),
            _points(row, "adjusted_difference"),
            _p(row, "adjusted_p_holm"),
        ]
        for row in data.groups.to_dict("records")
    ]
    names = (
        *("Above 70, %", "v others", "Right, mean", "v others (95 %)", "Effect"),
        *("p (Holm)", "Adjusted (95 %)", "p, adjusted (Holm)"),
    )
    columns = {"Group": False, **dict.fromkeys(names, True)}
    return tables.make(
        "Exposed share and mean, each group v all others; effect: difference in "
        "standard deviations over patients",
        columns,
        rows,
    )


def _exposed(row: dict) -> tables.Cell:
    ends = ("exposed_share", "exposed_low", "exposed_high")
    value, low, high = (_known(row, name, 100.0) for name in ends)
    if value is None:
        return tables.Cell(words.DASH)
    band = "" if low is None or high is None else f" ({low:.1f} to {high:.1f})"
    return tables.Cell(f"{value:.1f}{band}", value)


def composition(data: contents.ReportData) -> tables.Table | None:
    """Share of every group among the proven and among all; None if there are none."""
    groups = data.groups
    if groups.empty or data.num_proven == 0:
        return None
    if "is_intersection" in groups:
        groups = groups[~groups["is_intersection"].astype(bool)]
    rows = []
    for row in groups.to_dict("records"):
        proven = row["num_proven"] / data.num_proven
        cohort = row["num_patients"] / data.num_patients
        rows.append(
            [
                tables.Cell(_name(row)),
                tables.Cell(words.percent(proven), proven),
                tables.Cell(words.percent(cohort), cohort),
                tables.Cell(f"{proven / cohort:.2f}", proven / cohort),
            ]
        )
    names = ("Among the proven", "Among all", "Ratio")
    columns = {"Group": False, **dict.fromkeys(names, True)}
    return tables.make("Who is among the proven", columns, rows)
