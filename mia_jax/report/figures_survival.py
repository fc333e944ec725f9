"""Figure of single patients' risk: how many are recognised more often than a level."""

import matplotlib.figure
import matplotlib.ticker
import numpy as np
import pandas as pd

from mia_jax.report import contents, figures_patients, style, words

_DOTTED = (0, (1, 1.5))


def survival(
    data: contents.ReportData, layout: style.Layout
) -> matplotlib.figure.Figure:
    """Share of patients recognised more often than a level, on a log axis."""
    fig = style.figure(layout, 37 if layout.is_narrow else 33)
    top = 7.0 if layout.is_narrow else 2.4
    left, right = (6.2, 4.2) if layout.is_narrow else (8.4, 6.4)
    ax = style.panel(fig, layout, left, right, 3.6, top)
    floor = lowest_share(data)
    curve = data.curves["survival"]
    level = 100 * curve["auc"].to_numpy()
    low, high = (np.maximum(curve[k], floor) for k in ("null_low", "null_high"))
    band = ax.fill_between(level, low, high, color=style.NULL, linewidth=0, zorder=1)
    share = curve["share"].to_numpy(float)
    known = np.isfinite(share)
    line = _drop(ax, level[known], share[known], floor, color=style.MEASURED, zorder=4)
    drawn = [band, line, *_denoised(ax, data.curves["denoised"], floor)]
    second = data.curves.get("denoised_ash")
    if second is not None and len(second):
        drawn.append(_second_model(ax, layout, second))
    counts = _share_axes(ax, data.num_patients, floor, layout)
    ax.set_xlim(figures_patients.LEFT, 100)
    ax.set_xticks(range(40, 101, 10))
    style.coin_flip(ax)
    ax.set_xlabel(layout.times_label)
    handles = [
        style.line("measured", style.MEASURED),
        style.patch("99 % range if nothing leaked", style.NULL),
        style.line("noise removed", style.DENOISED, dashed=True),
        style.line("second model", style.DENOISED, dashed=True),
    ]
    handles[3].set(linewidth=0.6 * layout.line, linestyle=_DOTTED)
    style.legend(ax, layout, handles[: 3 if len(drawn) < 5 else 4], 4)
    for number, artist in enumerate([*drawn, counts, ax.get_legend()]):
        artist.set_gid(f"cohort-{number}")  # hidden while a group is chosen
    return fig


def lowest_share(data: contents.ReportData) -> float:
    """Where the axis of shares ends: below one patient."""
    return 0.6 / data.num_patients


def _drop(ax, x: np.ndarray, share: np.ndarray, floor: float, **kwargs):
    """A curve that falls to the axis where the last patient ends."""
    return ax.plot(x, np.where(share > 0, share, floor / 10), **kwargs)[0]


def _second_model(ax, layout: style.Layout, table: pd.DataFrame):
    known = table[table["share"].notna()]
    shape = {"linestyle": _DOTTED, "linewidth": 0.6 * layout.line}
    x = 100 * known["auc"].to_numpy()
    return ax.plot(x, known["share"], color=style.DENOISED, zorder=5, **shape)[0]


def _denoised(ax, table: pd.DataFrame, floor: float) -> tuple:
    known = table[table["share"].notna()]
    x = 100 * known["auc"].to_numpy()
    low, high = (np.clip(known[k].to_numpy(float), floor, 1) for k in ("low", "high"))
    shape = {"color": style.DENOISED, "linestyle": (0, (4, 2)), "zorder": 5}
    band = ax.fill_between(x, low, high, color=style.DENOISED, alpha=0.12, linewidth=0)
    return band, ax.plot(x, known["share"], **shape)[0]


def _share_axes(ax, num_patients: int, floor: float, layout: style.Layout):
    """Left: "all, 1 in 10, ..."; right: numbers of patients. Returns the right axes."""
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
    return right
