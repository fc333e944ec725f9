"""Figures of single patients' risk: first screen and number of records."""

import matplotlib.axes
import matplotlib.figure
import numpy as np
import pandas as pd

from mia_jax.report import contents, style, words

LEFT, _RIGHT = 36, 100  # times in 100
_SIDES, _COUNTS = ("left", "right"), ("count", "count_proven", "null_count")
_HIGHEST_STACK = 25  # dots; higher ones would be too small to see


def left_out(data: contents.ReportData) -> tuple[int, int]:
    """Patients left of the axis of the first picture, and expected if nothing leaked.

    With few models the joint score of many patients lies far below a coin flip, by
    chance; one high bar for all of them would hide the rest.
    """
    table = data.curves["histogram"]
    tail = table[table["right"] <= LEFT / 100 + 1e-9]
    return round(tail["count"].sum()), round(tail["null_count"].sum())


def proven_bars(data: contents.ReportData) -> pd.DataFrame:
    """left, right, count_proven: of bins of their own in a public report."""
    return data.curves.get("proven", data.curves["histogram"])


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """The bars right of the axis; proven patients further left, in its first bar.

    Heights are patients per 1 in 100, so that wider bars have the right area.
    """
    edges = {name: np.round(100 * table[name].to_numpy(), 6) for name in _SIDES}
    width = edges["right"] - edges["left"]
    kept = edges["right"] > LEFT
    counts = table[[name for name in _COUNTS if name in table]].astype(float)
    bars = counts.div(width, axis=0)[kept].reset_index(drop=True)
    if "count_proven" in table:
        bars.loc[0, "count_proven"] += table.loc[~kept, "count_proven"].sum()
    left = np.maximum(edges["left"][kept], LEFT)
    return bars.assign(left=left, width=edges["right"][kept] - left)


def overview(
    data: contents.ReportData, layout: style.Layout
) -> matplotlib.figure.Figure:
    """All patients above, proven ones below: the picture of the first screen."""
    bars = _shown(data.curves["histogram"])
    fig = style.figure(layout, 30 if layout.is_narrow else 22.5)
    height = fig.get_size_inches()[1] / layout.em
    proven = proven_bars(data)
    has_proven = proven["count_proven"].sum() > 0
    left, bottom, top = 4.6, 3.4, 3.2 if layout.is_narrow else 1.8
    middle = bottom + (height - bottom) * 0.47
    above = style.panel(fig, layout, left, 1.6, middle if has_proven else bottom, top)
    _all_patients(above, layout, data, bars)
    lowest = above
    if has_proven:
        lowest = style.panel(fig, layout, left, 1.6, bottom, height - middle + 2.6)
        _proven_patients(lowest, layout, data, _shown(proven))
        above.tick_params(labelbottom=False)
    lowest.set_xlabel(layout.times_label)
    return fig


def _times_axis(ax: matplotlib.axes.Axes, bars: pd.DataFrame) -> None:
    start = bars["left"].iloc[0]
    ax.set_xlim(start, _RIGHT)
    ax.set_xticks(range(int(-(-start // 10) * 10), 101, 10))
    style.grid(ax, "y")


def _count_axis(ax: matplotlib.axes.Axes, most: float) -> None:
    ax.set_ylim(0, max(most, 1) * 1.08)
    ticks = [t for t in style.whole_ticks(most, 3) if t <= max(most, 1) * 1.08]
    ax.set_yticks(ticks, labels=[words.count(tick) for tick in ticks])


def _all_patients(ax, layout, data, bars) -> None:
    middle = bars["left"] + bars["width"] / 2
    ax.bar(middle, bars["count"], 0.92 * bars["width"], color=style.BARS, linewidth=0)
    chance = _shown(data.curves["chance"]) if "chance" in data.curves else bars
    null = chance["null_count"].to_numpy()
    # Beyond the last patient of the permutations the line would only cover the axis.
    shown = max(int(np.flatnonzero(null).max(initial=0)) + 2, 2)
    ax.plot(
        (chance["left"] + chance["width"] / 2)[:shown],
        null[:shown],
        color=style.INK,
        linestyle=(0, (4, 2)),
        linewidth=layout.line * 0.9,
    )
    _times_axis(ax, bars)
    _count_axis(ax, max(bars["count"].max(), null.max()))
    style.coin_flip(ax)
    ax.set_ylabel("Patients")
    label = f"All {words.count(data.num_patients)} patients"
    handles = [
        style.patch(label, style.BARS),
        style.line("expected if the model leaked nothing", style.INK, dashed=True),
    ]
    style.legend(ax, layout, handles, 2)


def _proven_patients(ax, layout, data, bars) -> None:
    num = words.count(data.num_proven)
    noun = "patient" if data.num_proven == 1 else "patients"
    start = int(bars["left"].iloc[0])
    stacks = None if data.proven_auc is None else _stacks(data.proven_auc, start)
    if stacks is None or stacks.max() > _HIGHEST_STACK:
        kind = "" if layout.is_narrow else " better recognised than by chance"
        middle, counts = bars["left"] + bars["width"] / 2, bars["count_proven"]
        width = 0.92 * bars["width"]
        ax.bar(middle, counts, width, color=style.AT_RISK, linewidth=0)
        most = counts.max()
    else:
        kind = ": one dot each" if layout.is_narrow else ": one dot, one patient"
        most = stacks.max()
        _stacked_dots(ax, layout, stacks, start)
    _times_axis(ax, bars)
    _count_axis(ax, most)
    style.coin_flip(ax)
    ax.set_ylabel("Patients")
    style.heading(ax, layout, f"{num} {noun} proven{kind}", style.AT_RISK)


def _stacks(auc: np.ndarray, start: int) -> np.ndarray:
    """Patients in each 1 in 100 from `start`; the first takes all further left."""
    # 1e-9: a limit such as .57 may lie below its own hundredfold.
    places = np.clip(np.floor(100 * auc + 1e-9), start, _RIGHT - 1).astype(int)
    return np.bincount(places - start, minlength=_RIGHT - start)


def _stacked_dots(ax, layout, stacks: np.ndarray, start: int) -> None:
    """One dot per patient, as large as there is room."""
    box = ax.get_position()
    width, height = ax.figure.get_size_inches() * 72
    most = stacks.max()
    room = min(box.height * height / (1.08 * most), box.width * width / len(stacks))
    ax.plot(
        np.repeat(np.arange(len(stacks)), stacks) + start + 0.5,
        np.concatenate([np.arange(n) for n in stacks]) + 0.5,
        linestyle="none",
        marker="o",
        markersize=min(0.8 * room, 0.75 * layout.font),
        markeredgewidth=0,
        color=style.AT_RISK,
        clip_on=False,
    )


def num_records(
    data: contents.ReportData, layout: style.Layout
) -> matplotlib.figure.Figure | None:
    """Risk by number of records: median, quartiles, 1 to 99 %, proven patients."""
    table = data.curves["by_num_records"].reset_index(drop=True)
    if table.empty:
        return None
    fig = style.figure(layout, 32 if layout.is_narrow else 26.5)
    top = 5.8 if layout.is_narrow else 2.4
    ax = style.panel(fig, layout, 4.4, 1.0, 4.8, top)
    for place, row in table.iterrows():
        _record_column(ax, layout, place, row, data.record_dots)
    ax.axhline(style.COIN_FLIP, color=style.INK, linewidth=0.9, zorder=2)
    ax.set_xlim(-0.6, max(len(table), 2) - 0.4)
    unit = "" if layout.is_narrow else " patients"
    labels = [
        f"{row.num_records}\n{words.count(row.num_patients)}{unit}"
        for row in table.itertuples()
    ]
    ax.set_xticks(range(len(table)), labels=labels)
    ax.tick_params(axis="x", length=0)
    below = " (below: number of patients)" if layout.is_narrow else ""
    ax.set_xlabel(f"Records of a patient{below}")
    ax.set_ylabel("Right, times in 100")
    ax.set_ylim(_record_limits(table, data.record_dots))
    style.grid(ax, "y")
    handles = [
        style.patch("middle half of patients", style.MEASURED),
        style.line("1st to 99th percentile", style.MEASURED),
        style.patch("98 % range if nothing leaked", style.NULL),
    ]
    if len(data.record_dots):
        handles.insert(2, style.line("proven patients", style.AT_RISK))
        handles[2].set(linestyle="none", marker="o", markersize=0.5 * layout.font)
    style.legend(ax, layout, handles, 4)
    return fig


def _record_limits(table: pd.DataFrame, dots: pd.DataFrame) -> tuple[float, float]:
    """Everything drawn, and at least 40 to 70 times in 100."""
    # Some are NaN in a public report: the widest that there is.
    lowest = 100 * np.nanmin(table[["q01", "q25", "q50", "null_q01"]].astype(float))
    highest = 100 * np.nanmax(table[["q99", "q75", "q50", "null_q99"]].astype(float))
    highest = max(highest, 100 * dots["auc"].max() if len(dots) else 0)
    return max(min(lowest - 2, 40), 0), min(max(highest + 3, 70), 101)


def _record_column(ax, layout, place: int, row, dots: pd.DataFrame) -> None:
    low, high = 100 * row["null_q01"], 100 * row["null_q99"]
    ax.bar(place, high - low, 0.84, bottom=low, color=style.NULL, linewidth=0)
    bar = place - 0.18
    ax.plot(
        [bar, bar], [100 * row["q01"], 100 * row["q99"]], color=style.MEASURED, zorder=3
    )
    ax.bar(
        bar,
        100 * (row["q75"] - row["q25"]),
        0.2,
        bottom=100 * row["q25"],
        color=style.MEASURED,
        linewidth=0,
        zorder=4,
    )
    median = 100 * row["q50"]
    ax.plot([bar - 0.1, bar + 0.1], [median] * 2, color="white", zorder=5)
    own = dots[dots["num_records"] == str(row["num_records"])]
    # An even spread that needs no random numbers: multiples of the golden ratio.
    spread = np.arange(len(own)) * 0.6180339887 % 1
    ax.plot(
        place + 0.02 + 0.34 * spread,
        100 * own["auc"],
        linestyle="none",
        marker="o",
        markersize=0.32 * layout.font,
        markeredgewidth=0,
        color=style.AT_RISK,
        zorder=4,
    )
