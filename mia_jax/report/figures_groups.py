"""Figure of groups: a forest of what stands out, raw and adjusted side by side."""

import matplotlib.figure
import matplotlib.ticker
import numpy as np
import pandas as pd

from mia_jax.report import contents, group_panels, group_words, style, words

_ALPHA = 0.05
MAX_ROWS = 36  # more would not fit a page; the table has all


def endpoint(data: contents.ReportData) -> group_words.Endpoint:
    return group_words.endpoint(data.summary.get("groups_endpoint"))


def shown_rows(groups: pd.DataFrame) -> pd.DataFrame:
    """The rows of the figure: no intersections, and the largest of too many groups."""
    if "is_intersection" in groups:
        groups = groups[~groups["is_intersection"].astype(bool)]
    sizes = _numbers(groups, "num_patients").fillna(0)
    largest = sizes.sort_values(ascending=False, kind="stable")
    kept = groups.index.isin(largest.index[:MAX_ROWS])
    return groups[kept].reset_index(drop=True)


def _numbers(table: pd.DataFrame, name: str) -> pd.Series:
    """A column as floats; NaN where it is absent or hidden."""
    if name not in table or not name:
        return pd.Series(np.nan, table.index)
    return pd.to_numeric(table[name], errors="coerce").astype(float)


def panels(data: contents.ReportData) -> tuple[str, ...]:
    """Titles of the panels that there are numbers for."""
    return tuple(column.title for column in _columns(data))


def _columns(data: contents.ReportData) -> tuple[group_panels.Column, ...]:
    known = group_panels.PANELS[endpoint(data).name]
    table = data.groups
    return tuple(c for c in known if np.isfinite(_numbers(table, c.value)).any())


def forest(
    data: contents.ReportData, layout: style.Layout
) -> matplotlib.figure.Figure | None:
    """Every group against all other patients."""
    if data.groups.empty or not _columns(data):
        return None
    table = shown_rows(data.groups)
    places, headings = _places(table)
    bottom, top = 3.4, 3.0
    lines = -min(places) + 1
    fig = style.figure(layout, 1.55 * lines + bottom + top)
    # Narrow: what is adjusted stays beside what is not.
    columns = _columns(data)[-2 if layout.is_narrow else 0 :]
    listed = () if layout.is_narrow else _texts(table, columns[0])
    left = 10.4 if layout.is_narrow else 14.5 + sum(width for *_, width in listed)
    axes = _axes(fig, layout, left, bottom, top, len(columns))
    for ax, column in zip(axes, columns, strict=True):
        ax.set_ylim(min(places) - 0.7, 0.6)
        _marks(ax, layout, table, places, column)
        alike = [c for c in columns if c.unit == column.unit]
        _axis(ax, layout, column, _all_numbers(table, alike))
    _labels(axes[0], layout, table, places, headings)
    _columns_of_text(axes[0], layout, listed, places)
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


def _axes(fig, layout, left: float, bottom: float, top: float, number: int) -> list:
    """Equal axes from left to right; distances in ems."""
    width = layout.width / layout.em
    gap, right = 1.2 if layout.is_narrow else 2.0, 0.9
    size = (width - left - right - gap * (number - 1)) / number
    starts = [left + (size + gap) * place for place in range(number)]
    return [
        style.panel(fig, layout, start, width - start - size, bottom, top)
        for start in starts
    ]


def _all_numbers(table: pd.DataFrame, columns: list[group_panels.Column]) -> np.ndarray:
    names = [(c, name) for c in columns for name in (c.value, c.low, c.high)]
    return np.concatenate([c.scale * _numbers(table, name) for c, name in names])


def _marks(
    ax, layout, table: pd.DataFrame, places: list[int], column: group_panels.Column
):
    values, low, high = (
        column.scale * _numbers(table, name)
        for name in (column.value, column.low, column.high)
    )
    p_holm = _numbers(table, column.p_holm)
    is_tested = bool(column.p_holm)
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


def _axis(ax, layout, column: group_panels.Column, numbers: np.ndarray) -> None:
    known = numbers[np.isfinite(numbers)]
    if column.is_ratio:
        limits = np.clip([known.min(initial=0.5), known.max(initial=2.0)], 1 / 16, 16)
        start, end = limits[0] / 1.15, limits[1] * 1.15
        ax.set_xscale("log")
        ax.set_xlim(start, end)
        ticks = _powers(start, end, 3 if layout.is_narrow else 5)
        names = [f"{2**k}" if k >= 0 else f"1/{2**-k}" for k in ticks]
        ax.set_xticks([2.0**k for k in ticks], labels=names)
        ax.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    else:
        ax.set_xlim(_limits(known, column))
        ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(3))
    if column.neutral is not None:
        ax.axvline(column.neutral, color=style.INK, linewidth=0.9, zorder=2)
    style.heading(ax, layout, column.short if layout.is_narrow else column.title)
    ax.set_xlabel(column.unit)
    ax.spines["left"].set_visible(False)
    ax.set_yticks([])
    style.grid(ax, "x")


def _powers(start: float, end: float, most: int) -> list[int]:
    """Powers of two inside the axis, 1 among them, at most so many."""
    inside = [k for k in range(-4, 5) if start <= 2.0**k <= end]
    step = next(s for s in (1, 2, 4) if len([k for k in inside if k % s == 0]) <= most)
    return [k for k in inside if k % step == 0]


def _limits(known: np.ndarray, column: group_panels.Column) -> tuple[float, float]:
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


def _texts(
    table: pd.DataFrame, first: group_panels.Column
) -> list[tuple[str, list[str], float]]:
    """Columns of numbers between names and marks: title, texts, width in ems."""
    count = lambda name: [_short_count(value) for value in table[name]]
    listed = [("Patients", count("num_patients"), 4.5)]
    if first is group_panels.SHARE:
        shares = _formatted(100 * _numbers(table, "exposed_share"), "{:.1f} %")
        proven = _formatted(100 * _numbers(table, "share_proven"), "{:.0f} %")
        return [*listed, ("Above 70", shares, 5.8), ("Proven", proven, 5.2)]
    listed.append(("Proven", count("num_proven"), 5.2))
    if first is group_panels.RISK:
        expected = _formatted(_numbers(table, "expected_proven"), "{:.1f}")
        listed.append(("Expected", expected, 5.6))
        ratios = [_ratio(row) for row in table.to_dict("records")]
        listed.append(("Ratio (95 %)", ratios, 10.2))
    return listed


def _columns_of_text(ax, layout, listed, places) -> None:
    at = -1.2 * layout.font
    for title, texts, width in reversed(listed):
        ax.annotate(
            title,
            xy=(0, 1),
            xycoords="axes fraction",
            xytext=(at, 0.45 * layout.font),
            textcoords="offset points",
            ha="right",
            color=style.MUTED,
        )
        for text, place in zip(texts, places, strict=True):
            _text(ax, text, place, at, align="right")
        at -= width * layout.font


def _short_count(value: float | str | None) -> str:
    """A count; "not shown" would not fit."""
    is_hidden = words.is_missing(value) and not words.is_few(value)
    return words.DASH if is_hidden else words.count(value)


def _formatted(values: pd.Series, form: str) -> list[str]:
    return [words.DASH if words.is_missing(v) else form.format(v) for v in values]


def _ratio(row: dict) -> str:
    values = [row[f"relative_risk{end}"] for end in ("", "_low", "_high")]
    if words.is_missing(values[0]):
        return words.DASH
    if any(map(words.is_missing, values)):
        return f"{values[0]:.1f}x"
    return f"{values[0]:.1f}x ({values[1]:.1f} to {values[2]:.1f})"


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
