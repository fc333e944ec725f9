"""Figure of the audit's own precision: what more models would show."""

import matplotlib.axes
import matplotlib.figure
import matplotlib.ticker
import numpy as np

from mia_jax.report import contents, style, words


def precision(
    data: contents.ReportData, layout: style.Layout
) -> matplotlib.figure.Figure | None:
    """Detection limit and half width of an interval by number of models."""
    table = data.curves.get("precision")
    if table is None or table.empty:
        return None
    height = 33 if layout.is_narrow else 17
    fig = style.figure(layout, height)
    width, left, right = layout.width / layout.em, 4.6, 1.2
    if layout.is_narrow:
        half = height / 2
        boxes = (left, right, half + 3.4, 2.0), (left, right, 3.4, half + 2.0)
    else:
        half = width / 2
        boxes = (left, half + right, 3.4, 2.0), (half + left, right, 3.4, 2.0)
    limit, interval = (style.panel(fig, layout, *box) for box in boxes)
    _limit(limit, layout, data)
    _half_width(interval, layout, data)
    return fig


def _limit(ax, layout: style.Layout, data: contents.ReportData) -> None:
    table = data.curves["precision"]
    known = table[table["detection_limit"].notna()]
    x, y = known["num_models"], 100 * known["detection_limit"].astype(float)
    ax.plot(x, y, color=style.MEASURED, marker="o", markersize=0.4 * layout.font)
    _this_run(ax, layout, data, data.summary["detection_limit"])
    ax.set_ylim(50, 101)
    ax.set_yticks(range(50, 101, 10))
    _models_axis(ax, data)
    style.heading(ax, layout, "Detection limit, times in 100")


def _half_width(ax, layout: style.Layout, data: contents.ReportData) -> None:
    table = data.curves["precision"]
    y = 100 * table["half_width"].astype(float)
    ax.plot(
        table["num_models"],
        y,
        color=style.MEASURED,
        marker="o",
        markersize=0.4 * layout.font,
    )
    own = data.summary["precision"]["ci_half_width"]
    _this_run(ax, layout, data, own)
    ax.set_ylim(0, 1.1 * max(y.max(), 100 * own))
    ax.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5, integer=True))
    _models_axis(ax, data)
    style.heading(ax, layout, "Half width of one patient's interval")


def _this_run(ax, layout, data: contents.ReportData, value: float | None) -> None:
    if words.is_missing(value):
        return
    x = data.summary["num_models"]
    ax.plot(
        *(x, 100 * value),
        marker="D",
        markersize=0.75 * layout.font,
        color=style.AT_RISK,
        zorder=5,
    )
    # In the upper right, where a falling curve never is.
    ax.annotate(
        f"this run: {words.count(x)} models",
        xy=(1, 1),
        xycoords="axes fraction",
        xytext=(-0.2 * layout.font, -1.4 * layout.font),
        textcoords="offset points",
        ha="right",
        color=style.AT_RISK,
        fontweight="bold",
    )


def _models_axis(ax: matplotlib.axes.Axes, data: contents.ReportData) -> None:
    models = data.curves["precision"]["num_models"].to_numpy(float)
    own = data.summary["num_models"]
    ax.set_xscale("log", base=2)
    ax.set_xlim(min(models.min(), own) / 1.2, max(models.max(), own) * 1.2)
    shown = models[np.log2(models) % 1 == 0]  # between them labels would touch
    ax.set_xticks(shown, labels=[words.count(m) for m in shown])
    ax.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    ax.set_xlabel("Number of models")
    style.grid(ax, "y")
