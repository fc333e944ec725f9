"""The tables of the page: the numbers behind every figure, as text."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mia_jax.report import contents, figures, figures_models, words

_LEVELS = tuple(round(0.55 + 0.05 * i, 2) for i in range(9))
_LONGEST = 44  # characters of a cell in one line
_FIRST_STEP = 6  # in 5 in 100: all below 35 is one row


class Cell(NamedTuple):
    """Text, the number to sort by, and the length of a bar in percent, if any."""

    text: str
    value: float | None = None
    bar: float | None = None

    @property
    def is_long(self) -> bool:
        """Whether it is a sentence, to be broken over lines."""
        return len(self.text) > _LONGEST


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


def make(caption: str, columns: dict[str, bool], rows: list[list[Any]]) -> Table:
    cells = [[c if isinstance(c, Cell) else Cell(str(c)) for c in row] for row in rows]
    return Table(caption, tuple(columns.items()), cells)


def number(value: float, digits: int = 1) -> str:
    """A number of a table; missing ones are a dash."""
    return words.DASH if words.is_missing(value) else f"{value:,.{digits}f}"


def interval(low: float, high: float, digits: int = 1) -> str:
    if words.is_missing(low) or words.is_missing(high):
        return words.DASH
    return f"{low:,.{digits}f} to {high:,.{digits}f}"


def share(value: float | str | None) -> str:
    if words.is_few(value):
        return words.FEW
    return words.DASH if words.is_missing(value) else words.percent(value)


def overview(data: contents.ReportData) -> Table:
    """The histogram in steps of 5 in 100."""
    bins = data.curves["histogram"].astype(float)
    proven = data.curves.get("proven", bins).astype(float)
    step = ((bins["left"] + 1e-9) // 0.05).astype(int).clip(lower=_FIRST_STEP)
    rows = []
    for _, part in bins.groupby(step, sort=True):
        left, right = 100 * part["left"].min(), 100 * part["right"].max()
        is_first = part.index[0] == 0
        first = f"below {right:.0f}" if is_first else f"{left:.0f} to {right:.0f}"
        counts = [*part[["count", "null_count"]].sum(), _between(proven, left, right)]
        rows.append([first, *[words.count(v) for v in counts]])
    columns = {
        "Right, times in 100": False,
        "Patients": True,
        "Expected if nothing leaked": True,
        "Proven": True,
    }
    return make("Patients by how often the attacker is right", columns, rows)


def _between(proven: pd.DataFrame, left: float, right: float) -> float | None:
    """Proven patients between two levels; None where bins of theirs cross one."""
    ends = np.round(100 * proven[["left", "right"]].to_numpy(), 3)
    inside = (ends[:, 0] >= left - 1e-6) & (ends[:, 1] <= right + 1e-6)
    is_covered = np.isclose((ends[inside, 1] - ends[inside, 0]).sum(), right - left)
    return proven.loc[inside, "count_proven"].sum() if is_covered else None


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
    rows.append(["AUC (coin flip .500)", number(auc, 3), between])
    columns = {"False alarms": False, "Hits": True, "80 % of models": True}
    return make("Hit rate at fixed false-alarm rates", columns, rows)


def _percents(low: float | None, high: float | None) -> str:
    return words.DASH if low is None else f"{100 * low:.2f} to {100 * high:.2f} %"


def survival(data: contents.ReportData) -> Table:
    """The survival curve at round levels."""
    chance = _at(data.curves["survival"])
    denoised = _at(data.curves["denoised"])
    total, rows = data.num_patients, []
    for level in _LEVELS:
        if level not in chance:
            continue
        row, true = chance[level], denoised.get(level, {})
        above = data.share_above(level)
        is_hidden = words.is_missing(above)
        limits = (total * true.get(k, float("nan")) for k in ("low", "high"))
        rows.append(
            [
                f"{100 * level:.0f}",
                words.count(above if is_hidden else above * total),
                words.count(above) if is_hidden else words.percent(above),
                interval(row["null_low"] * total, row["null_high"] * total, 0),
                number(total * true.get("share", float("nan")), 0),
                interval(*limits, 0),
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
    return make("Patients above a level of risk", columns, rows)


def _at(table: pd.DataFrame) -> dict[float, dict[str, float]]:
    """Rows of a curve by their AUC."""
    return {round(row["auc"], 3): row for row in table.to_dict("records")}


def num_records(data: contents.ReportData) -> Table:
    rows = [
        [
            str(row["num_records"]),
            words.count(row["num_patients"]),
            words.count(row["num_proven"]),
            *[number(100 * row[q]) for q in ("q01", "q25", "q50", "q75", "q99")],
            interval(100 * row["null_q01"], 100 * row["null_q99"]),
        ]
        for row in data.curves["by_num_records"].to_dict("records")
    ]
    names = ("Patients", "Proven", "1 %", "25 %", "Median", "75 %", "99 %")
    columns = {
        "Records": False,
        **dict.fromkeys(names, True),
        "No leak, 1 to 99 %": True,
    }
    return make("Right, times in 100, by number of records", columns, rows)


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
            share(above.get("joint")),
            share(above.get("max")),
            share(by_threshold.get(key, {}).get("null_share")),
        ]
        for key, above in joint.items()
    ]
    columns = {
        "Right more than, in 100": False,
        "All records jointly": True,
        "Riskiest record (biased)": True,
        "Riskiest record if nothing leaked": True,
    }
    return make("Share of patients, joint score and maximum", columns, rows)


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
    return make("Mean over models ± standard deviation", columns, rows)
