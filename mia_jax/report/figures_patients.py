"""Figures of single patients' risk: first screen, survival, number of records."""

import matplotlib.axes
import matplotlib.figure
import matplotlib.ticker
import numpy as np
import pandas as pd

from mia_jax.report import contents, style, words

LEFT, _RIGHT = 36, 100  # times in 100
_HIGHEST_STACK = 25  # dots; higher ones would be too small to see


def left_out(data: contents.ReportData) -> tuple[int, int]:
    """Patients left of the axis of the first picture, and expected if nothing leaked.

    With few models the joint score of many patients lies far below a coin flip, by
    chance; one high bar for all of them would hide the rest.
    """
    table = data.curves["histogram"]
    tail = table[table["right"] <= LEFT / 100 + 1e-9]
    return round(tail["count"].sum()), round(tail["null_count"].sum())


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """The bars right of the axis; proven patients further left, in its first bar."""
    left = np.round(100 * table["left"].to_numpy(), 6)
    kept = table[left >= LEFT].astype(float).reset_index(drop=True)
    kept.loc[0, "count_proven"] += table.loc[left < LEFT, "count_proven"].sum()
    return kept.assign(left=left[left >= LEFT])


def overview(
    data: contents.ReportData, layout: style.Layout
) -> matplotlib.figure.Figure:
    """All patients above, proven ones below: the picture of the first screen."""
    bars = _shown(data.curves["histogram"])
    fig = style.figure(layout, 30 if layout.is_narrow else 22.5)
    height = fig.get_size_inches()[1] / layout.em
    has_proven = data.num_proven > 0
    left, bottom, top = 4.6, 3.4, 3.2 if layout.is_narrow else 1.8
    middle = bottom + (height - bottom) * 0.47
    above = style.panel(fig, layout, left, 1.6, middle if has_proven else bottom, top)
    _all_patients(above, layout, data, bars)
    lowest = above
    if has_proven:
        lowest = style.panel(fig, layout, left, 1.6, bottom, height - middle + 2.6)
        _proven_patients(lowest, layout, data, bars)
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
    ax.bar(bars["left"] + 0.5, bars["count"], width=0.92, color=style.BARS, linewidth=0)
    null = bars["null_count"].to_numpy()
    # Beyond the last patient of the permutations the line would only cover the axis.
    shown = max(int(np.flatnonzero(null).max(initial=0)) + 2, 2)
    ax.plot(
        bars["left"][:shown] + 0.5,
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
        left, counts = bars["left"] + 0.5, bars["count_proven"]
        ax.bar(left, counts, width=0.92, color=style.AT_RISK, linewidth=0)
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


def survival(
    data: contents.ReportData, layout: style.Layout
) -> matplotlib.figure.Figure:
    """Share of patients recognised more often than a level, on a log axis."""
    fig = style.figure(layout, 36 if layout.is_narrow else 33)
    top = 5.6 if layout.is_narrow else 2.4
    left, right = (6.2, 4.2) if layout.is_narrow else (8.4, 6.4)
    ax = style.panel(fig, layout, left, right, 3.6, top)
    floor = 0.6 / data.num_patients
    curve = data.curves["survival"]
    level = 100 * curve["auc"].to_numpy()
    low, high = (np.maximum(curve[k], floor) for k in ("null_low", "null_high"))
    ax.fill_between(level, low, high, color=style.NULL, linewidth=0, zorder=1)
    _drop(ax, level, curve["share"].to_numpy(), floor, color=style.MEASURED, zorder=4)
    _denoised(ax, data.curves["denoised"], floor)
    _share_axes(ax, data.num_patients, floor, layout)
    ax.set_xlim(LEFT, _RIGHT)
    ax.set_xticks(range(40, 101, 10))
    style.coin_flip(ax)
    ax.set_xlabel(layout.times_label)
    handles = [
        style.line("measured", style.MEASURED),
        style.patch("99 % range if nothing leaked", style.NULL),
        style.line("noise removed", style.DENOISED, dashed=True),
    ]
    style.legend(ax, layout, handles, 3)
    return fig


def _drop(ax, x: np.ndarray, share: np.ndarray, floor: float, **kwargs) -> None:
    """A curve that falls to the axis where the last patient ends."""
    ax.plot(x, np.where(share > 0, share, floor / 10), **kwargs)


def _denoised(ax, table: pd.DataFrame, floor: float) -> None:
    known = table[table["share"].notna()]
    x = 100 * known["auc"].to_numpy()
    low, high = (np.clip(known[k].to_numpy(float), floor, 1) for k in ("low", "high"))
    ax.fill_between(x, low, high, color=style.DENOISED, alpha=0.12, linewidth=0)
    ax.plot(x, known["share"], color=style.DENOISED, linestyle=(0, (4, 2)), zorder=5)


def _share_axes(ax, num_patients: int, floor: float, layout: style.Layout) -> None:
    """Left: "all, 1 in 10, ..."; right: numbers of patients."""
    ax.set_yscale("log")
    ax.set_ylim(floor, 1.15)
    powers = 10.0 ** np.arange(0, np.floor(np.log10(num_patients)) + 1)
    names = ["all", *[f"1 in {words.count(power)}" for power in powers[1:]]]
    ax.set_yticks(1 / powers, labels=names)
    ax.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    style.grid(ax, "y")
    right = ax.twinx()
    right.set_yscale("log")
    right.set_ylim(floor * num_patients, 1.15 * num_patients)
    right.set_yticks(powers, labels=[words.count(power) for power in powers])
    right.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    right.spines[["top", "left"]].set_visible(False)
    right.tick_params(length=3)
    if not layout.is_narrow:
        ax.set_ylabel("Share of patients above that level")
        right.set_ylabel("Number of patients")


def num_records(
    data: contents.ReportData, layout: style.Layout
) -> matplotlib.figure.Figure:
    """Risk by number of records: median, quartiles, 1 to 99 %, proven patients."""
    fig = style.figure(layout, 32 if layout.is_narrow else 26.5)
    top = 5.8 if layout.is_narrow else 2.4
    ax = style.panel(fig, layout, 4.4, 1.0, 4.8, top)
    table = data.curves["by_num_records"].reset_index(drop=True)
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
        style.line("proven patients", style.AT_RISK),
        style.patch("98 % range if nothing leaked", style.NULL),
    ]
    handles[2].set(linestyle="none", marker="o", markersize=0.5 * layout.font)
    style.legend(ax, layout, handles, 4)
    return fig


def _record_limits(table: pd.DataFrame, dots: pd.DataFrame) -> tuple[float, float]:
    """Everything drawn, and at least 40 to 70 times in 100."""
    lowest = 100 * min(table["q01"].min(), table["null_q01"].min())
    highest = 100 * max(table["q99"].max(), table["null_q99"].max())
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
