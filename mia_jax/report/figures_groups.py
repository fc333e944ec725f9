"""Figure of groups: a forest of what stands out, with the numbers beside it."""

from typing import NamedTuple

import matplotlib.figure
import matplotlib.ticker
import numpy as np
import pandas as pd

from mia_jax.report import contents, style, words

_MIN_PROVEN = 30  # below this many proven patients, relative risks find nobody
_MAX_SHARE_PROVEN = 0.1  # above, most leaks are proven and the ratio saturates
_ALPHA = 0.05
MAX_ROWS = 36  # more would not fit a page; the table has all


class _Column(NamedTuple):
    """One panel of the forest.

    Attributes:
      title: above it.
      value, low, high: columns of the table.
      p_holm: column of adjusted p-values; "" = no test.
      scale: what values are multiplied with.
      neutral: where a line is drawn.
    """

    title: str
    value: str
    low: str
    high: str
    p_holm: str
    scale: float
    neutral: float | None


_RISK = _Column(
    "Relative risk of being proven",
    *("relative_risk", "relative_risk_low", "relative_risk_high", "p_holm"),
    *(1.0, 1.0),
)
_SHARE = _Column(
    "Above 70 in 100",
    *("exposed_share", "exposed_low", "exposed_high", ""),
    *(100.0, None),
)
_MEAN = _Column(
    "Right, v all others",
    *("mean_auc_difference", "mean_auc_difference_low", "mean_auc_difference_high"),
    *("mean_auc_p_holm", 100.0, 0.0),
)


def uses_relative_risk(data: contents.ReportData) -> bool:
    """Whether being proven is the endpoint: enough are, and fewer than a tenth."""
    return _MIN_PROVEN <= data.num_proven < _MAX_SHARE_PROVEN * data.num_patients


def shown_rows(groups: pd.DataFrame) -> pd.DataFrame:
    """The rows of the figure: all, or the largest groups of too many."""
    largest = groups["num_patients"].sort_values(ascending=False, kind="stable")
    kept = groups.index.isin(largest.index[:MAX_ROWS])
    return groups[kept].reset_index(drop=True)


def forest(
    data: contents.ReportData, layout: style.Layout
) -> matplotlib.figure.Figure | None:
    """Every group against all other patients."""
    if data.groups.empty:
        return None
    table = shown_rows(data.groups)
    places, headings = _places(table)
    bottom, top = 3.4, 3.0
    lines = -min(places) + 1
    fig = style.figure(layout, 1.55 * lines + bottom + top)
    for ax, column in _panels(fig, layout, data, bottom, top):
        ax.set_ylim(min(places) - 0.7, 0.6)
        _marks(ax, layout, table, places, column)
    first = fig.axes[0]
    _labels(first, layout, table, places, headings)
    if not layout.is_narrow:
        _numbers(first, layout, table, places, uses_relative_risk(data))
    return fig


def _places(table: pd.DataFrame) -> tuple[list[int], dict[str, int]]:
    """Lines of the rows and of the attribute names above them, downwards from 0."""
    places, headings, line = [], {}, 0
    for attribute in table["attribute"]:
        if attribute not in headings:
            headings[attribute] = line
            line -= 1
        places.append(line)
        line -= 1
    return places, headings


def _panels(fig, layout, data, bottom, top):
    """The axes, left to right, with their columns."""
    width = layout.width / layout.em
    left = 10.4 if layout.is_narrow else 30.0
    if uses_relative_risk(data):
        right = 1.2 if layout.is_narrow else 10.5
        return [(style.panel(fig, layout, left, right, bottom, top), _RISK)]
    gap, right = 1.2 if layout.is_narrow else 2.0, 0.9
    size = (width - left - right - gap) / 2
    boxes = (left, right + size + gap), (left + size + gap, right)
    return [
        (style.panel(fig, layout, *box, bottom, top), column)
        for box, column in zip(boxes, (_SHARE, _MEAN), strict=True)
    ]


def _marks(ax, layout, table: pd.DataFrame, places: list[int], column: _Column):
    values, low, high = (
        column.scale * table[k].to_numpy(float)
        for k in (column.value, column.low, column.high)
    )
    is_tested = bool(column.p_holm)
    p_holm = table[column.p_holm] if is_tested else pd.Series(np.nan, table.index)
    for place, value, a, b, p in zip(places, values, low, high, p_holm, strict=True):
        if not np.isfinite(value):
            continue
        is_high = column.neutral is not None and value > column.neutral
        colour = style.AT_RISK if p < _ALPHA and is_high else style.MEASURED
        if np.isfinite(a) and np.isfinite(b):
            ax.plot([a, b], [place, place], color=colour, linewidth=layout.line * 0.7)
        ax.plot(
            value,
            place,
            marker="s" if is_tested else "o",
            markersize=0.58 * layout.font,
            markeredgewidth=layout.line * 0.6,
            markeredgecolor=colour,
            markerfacecolor=colour if p < _ALPHA or not is_tested else "white",
            zorder=4,
        )
    _axis(ax, layout, column, np.concatenate([values, low, high]))


def _axis(ax, layout, column: _Column, numbers: np.ndarray) -> None:
    known = numbers[np.isfinite(numbers)]
    if column is _RISK:
        limits = np.clip([known.min(initial=0.5), known.max(initial=2.0)], 1 / 16, 16)
        ax.set_xscale("log")
        ax.set_xlim(limits[0] / 1.15, limits[1] * 1.15)
        ticks = [2.0**k for k in range(-4, 5) if limits[0] / 1.15 <= 2.0**k]
        ticks = [tick for tick in ticks if tick <= limits[1] * 1.15]
        ax.set_xticks(ticks, labels=[f"{tick:g}x" for tick in ticks])
        ax.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    else:
        ax.set_xlim(_limits(known, column))
        ax.xaxis.set_major_locator(
            matplotlib.ticker.MaxNLocator(3 if layout.is_narrow else 5)
        )
    if column.neutral is not None:
        ax.axvline(column.neutral, color=style.INK, linewidth=0.9, zorder=2)
    short = {_RISK: "Proven v all others", _SHARE: "Above 70", _MEAN: "Right v others"}
    title = short[column] if layout.is_narrow else column.title
    unit = {_RISK: "times", _SHARE: "% of patients", _MEAN: "points (in 100)"}[column]
    style.heading(ax, layout, title)
    ax.set_xlabel(unit)
    ax.spines["left"].set_visible(False)
    ax.set_yticks([])
    style.grid(ax, "x")


def _limits(known: np.ndarray, column: _Column) -> tuple[float, float]:
    """Around all intervals, the neutral line and, for shares, zero."""
    anchor = 0.0 if column.neutral is None else column.neutral
    low, high = min(known.min(initial=anchor), anchor), known.max(initial=anchor)
    pad = max(0.06 * (high - low), 0.2)
    return (low if column.neutral is None else low - pad, high + pad)


def _labels(ax, layout, table, places, headings) -> None:
    """Names at the figure's left edge."""
    left = -ax.get_position().x0 * layout.width * 72  # points
    longest = 20 if layout.is_narrow else 24
    for attribute, line in headings.items():
        _text(ax, _short(attribute, longest), line, left, weight="bold")
    for value, place in zip(table["value"], places, strict=True):
        _text(ax, _short(str(value), longest - 2), place, left + layout.font)


def _numbers(ax, layout, table, places, is_risk: bool) -> None:
    """Columns of numbers between names and marks."""
    em = layout.font
    columns = {"Patients": table["num_patients"].map(words.count)}
    if is_risk:
        columns["Proven"] = table["num_proven"].map(words.count)
        columns["Expected"] = table["expected_proven"].map(lambda v: f"{v:.1f}")
    else:
        columns["Above 70"] = table["exposed_share"].map(
            lambda v: words.DASH if words.is_missing(v) else f"{100 * v:.1f} %"
        )
        columns["Proven"] = table["share_proven"].map(_whole)
    for number, (title, texts) in enumerate(columns.items()):
        at = (-12.0 + 5.5 * number) * em
        ax.annotate(
            title,
            xy=(0, 1),
            xycoords="axes fraction",
            xytext=(at, 0.45 * em),
            textcoords="offset points",
            ha="right",
            color=style.MUTED,
        )
        for text, place in zip(texts, places, strict=True):
            _text(ax, text, place, at, align="right")
    if is_risk:
        right = ax.get_position().width * layout.width * 72 + 0.8 * em
        for row, place in zip(table.itertuples(), places, strict=True):
            _text(ax, _risk_text(row), place, right)


def _whole(share: float) -> str:
    return words.DASH if words.is_missing(share) else f"{100 * share:.0f} %"


def _risk_text(row) -> str:
    if words.is_missing(row.relative_risk):
        return words.DASH
    band = row.relative_risk_low, row.relative_risk_high
    if any(map(words.is_missing, band)):
        return f"{row.relative_risk:.1f}x"
    return f"{row.relative_risk:.1f}x ({band[0]:.1f} to {band[1]:.1f})"


def _text(ax, text, place, at, weight="normal", align="left") -> None:
    ax.annotate(
        text,
        xy=(0, place),
        xycoords=("axes fraction", "data"),
        xytext=(at, 0),
        textcoords="offset points",
        va="center",
        ha=align,
        fontweight=weight,
        annotation_clip=False,
    )


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
