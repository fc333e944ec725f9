"""The tables of the page: the numbers behind every figure, as text."""

from typing import Any, NamedTuple

import pandas as pd

from mia_jax.report import contents, figures, figures_models, words

_LEVELS = tuple(round(0.55 + 0.05 * i, 2) for i in range(9))
_NUMBERS = ("left", "right", "count", "count_proven", "null_count")


class Cell(NamedTuple):
    """Text, the number to sort by, and the length of a bar in percent, if any."""

    text: str
    value: float | None = None
    bar: float | None = None


class Table(NamedTuple):
    """A table of the page.

    Attributes:
      caption: what it holds.
      columns: heading and whether its cells are numbers, set right.
      rows: cells; the first one heads its row.
    """

    caption: str
    columns: tuple[tuple[str, bool], ...]
    rows: list[list[Cell]]


def _table(caption: str, columns: dict[str, bool], rows: list[list[Any]]) -> Table:
    cells = [[c if isinstance(c, Cell) else Cell(str(c)) for c in row] for row in rows]
    return Table(caption, tuple(columns.items()), cells)


def _number(value: float, digits: int = 1) -> str:
    """A number of a table; missing ones are a dash."""
    return words.DASH if words.is_missing(value) else f"{value:,.{digits}f}"


def _range(low: float, high: float, digits: int = 1) -> str:
    if words.is_missing(low) or words.is_missing(high):
        return words.DASH
    return f"{low:,.{digits}f} to {high:,.{digits}f}"


def _share(value: float) -> str:
    return words.DASH if words.is_missing(value) else words.percent(value)


def overview(data: contents.ReportData) -> Table:
    """The histogram in steps of 5 in 100."""
    bins = data.curves["histogram"][list(_NUMBERS)].astype(float)
    step = ((bins["left"] + 1e-9) // 0.05).astype(int)
    rows = []
    for _, part in bins.groupby(step, sort=True):
        left, right = 100 * part["left"].min(), 100 * part["right"].max()
        first = "below 35" if part.index[0] == 0 else f"{left:.0f} to {right:.0f}"
        counts = part[["count", "null_count", "count_proven"]].sum()
        rows.append([first, *[words.count(v) for v in counts]])
    columns = {
        "Right, times in 100": False,
        "Patients": True,
        "Expected if nothing leaked": True,
        "Proven": True,
    }
    return _table("Patients by how often the attacker is right", columns, rows)


def roc(data: contents.ReportData) -> Table:
    """Hits at fixed false-alarm rates; too few non-members: not reported."""
    summary = data.summary
    bands = summary.get("tpr_at_fpr_band") or {}
    rows = []
    for fpr, hits in (summary.get("tpr_at_fpr") or {}).items():
        name = f"{100 * float(fpr):g} %"
        if words.is_missing(hits):
            rows.append([name, "not reported", "too few records"])
            continue
        band = bands.get(fpr) or (None, None)
        rows.append([name, f"{100 * hits:.2f} %", _percents(*band)])
    auc, band = (
        summary["aggregate_auc"],
        summary.get("aggregate_auc_band") or (None,) * 2,
    )
    between = words.DASH if None in band else f"{band[0]:.3f} to {band[1]:.3f}"
    rows.append(["AUC (coin flip .500)", _number(auc, 3), between])
    columns = {"False alarms": False, "Hits": True, "80 % of models": True}
    return _table("Hit rate at fixed false-alarm rates", columns, rows)


def _percents(low: float | None, high: float | None) -> str:
    return words.DASH if low is None else f"{100 * low:.2f} to {100 * high:.2f} %"


def survival(data: contents.ReportData) -> Table:
    """The survival curve at round levels."""
    measured = _at(data.curves["survival"])
    denoised = _at(data.curves["denoised"])
    total, rows = data.num_patients, []
    for level in _LEVELS:
        if level not in measured:
            continue
        row, true = measured[level], denoised.get(level, {})
        rows.append(
            [
                f"{100 * level:.0f}",
                words.count(row["share"] * total),
                _share(row["share"]),
                _range(row["null_low"] * total, row["null_high"] * total, 0),
                _number(total * true.get("share", float("nan")), 0),
                _range(
                    *(total * true.get(k, float("nan")) for k in ("low", "high")), 0
                ),
            ]
        )
    columns = {
        "Right more than, in 100": False,
        "Patients": True,
        "Share": True,
        "No-leak range (99 %)": True,
        "Noise removed": True,
        "95 % band": True,
    }
    return _table("Patients above a level of risk", columns, rows)


def _at(table: pd.DataFrame) -> dict[float, dict[str, float]]:
    """Rows of a curve by their AUC."""
    return {round(row["auc"], 3): row for row in table.to_dict("records")}


def num_records(data: contents.ReportData) -> Table:
    rows = [
        [
            str(row["num_records"]),
            words.count(row["num_patients"]),
            words.count(row["num_proven"]),
            *[_number(100 * row[q]) for q in ("q01", "q25", "q50", "q75", "q99")],
            _range(100 * row["null_q01"], 100 * row["null_q99"]),
        ]
        for row in data.curves["by_num_records"].to_dict("records")
    ]
    names = ("Patients", "Proven", "1 %", "25 %", "Median", "75 %", "99 %")
    columns = {
        "Records": False,
        **dict.fromkeys(names, True),
        "No leak, 1 to 99 %": True,
    }
    return _table("Right, times in 100, by number of records", columns, rows)


def max_record(data: contents.ReportData) -> Table:
    """The biased maximum over records at round thresholds."""
    joint = data.summary["share_of_patients_above"]
    by_threshold = {
        f"{row['threshold']:g}": row
        for row in data.curves["max_record"].round({"threshold": 3}).to_dict("records")
    }
    rows = [
        [
            f"{100 * float(key):.0f}",
            _share(above.get("joint")),
            _share(by_threshold.get(key, above).get("share", above.get("max"))),
            _share(by_threshold.get(key, {}).get("null_share")),
        ]
        for key, above in joint.items()
    ]
    columns = {
        "Right more than, in 100": False,
        "All records jointly": True,
        "Riskiest record (biased)": True,
        "Riskiest record if nothing leaked": True,
    }
    return _table("Share of patients, joint score and maximum", columns, rows)


def groups(data: contents.ReportData) -> Table:
    """Every group against all other patients."""
    rows = [
        [
            f"{row['attribute']}: {row['value']}",
            words.count(row["num_patients"]),
            words.count(row["num_proven"]),
            _number(row["expected_proven"]),
            _number(row["relative_risk"], 2),
            _range(row["relative_risk_low"], row["relative_risk_high"], 2),
            p_value(row["p_holm"]),
            _share(row["exposed_share"]),
            _range(100 * row["exposed_low"], 100 * row["exposed_high"]),
            _signed(100 * row["mean_auc_difference"]),
            p_value(row["mean_auc_p_holm"]),
        ]
        for row in data.groups.to_dict("records")
    ]
    names = (
        *("Patients", "Proven", "Expected", "Relative risk", "95 %", "p (Holm)"),
        *("Above 70", "Band, %", "Mean v others", "p of mean (Holm)"),
    )
    columns = {"Group": False, **dict.fromkeys(names, True)}
    return _table("Groups, each against all other patients", columns, rows)


def _signed(value: float) -> str:
    return words.DASH if words.is_missing(value) else f"{value:+.1f}"


def p_value(value: float) -> str:
    """A p-value with two digits: "0.03", "2e-7", "under 1e-99"."""
    if words.is_missing(value):
        return words.DASH
    if value < 1e-99:
        return "under 1e-99"
    if value >= 0.001:
        return f"{value:.2g}"
    mantissa, _, exponent = f"{value:.0e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def usefulness(data: contents.ReportData) -> Table:
    """Metrics of all sets; a set that was not measured says so."""
    found = figures.usefulness_table(data).set_index(["set", "metric"])
    rows = []
    for name, title in figures_models.SETS.items():
        cells = []
        for metric in ("accuracy", "auroc", "nll"):
            if (name, metric) not in found.index:
                cells.append(words.MISSING)
                continue
            mean, sd = found.loc[(name, metric), ["mean", "sd"]].astype(float)
            spread = "" if words.is_missing(sd) else f" ± {sd:.3f}"
            cells.append(f"{mean:.3f}{spread}")
        rows.append([title, *cells])
    columns = {"Patients": False, "Accuracy": True, "AUROC": True, "Log loss": True}
    return _table("Mean over models ± standard deviation", columns, rows)
