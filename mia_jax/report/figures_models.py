"""Figures of the models as a whole: ROC curve of the attack, usefulness."""

import matplotlib.figure
import matplotlib.ticker
import numpy as np

from mia_jax.report import contents, style, words

_FPR_LEFT = 1e-3
_TPR_LOWEST = 1e-4
_FEWEST_FALSE_ALARMS = 10
_DASHES = ((5, 2), (1, 1.5), (5, 2, 1, 2), (2, 2), (8, 3), (3, 1, 1, 1, 1, 1))
SETS = {
    "members": "Trained on",
    "left_out": "Left out",
    "test": "Test patients",
}
METRICS = {"accuracy": "Accuracy", "auroc": "AUROC"}


def unknown_below(data: contents.ReportData) -> float:
    """False-alarm rate below which fewer than ten false alarms can be counted.

    Half of the records are non-members of a model, on average.
    """
    return 2 * _FEWEST_FALSE_ALARMS / data.summary["num_records"]


def roc(
    data: contents.ReportData, layout: style.Layout
) -> matplotlib.figure.Figure | None:
    """Hits against false alarms, both on log axes."""
    table = data.curves["roc"]
    table = table[(table["fpr"] > 0) & table["tpr_median"].notna()]
    if table.empty:
        return None
    num_others = len(other_attacks(data))
    rows = num_others if layout.is_narrow else -(-num_others // 2)
    fig = style.figure(layout, 32 + 1.5 * rows)
    top = (5.6 if layout.name != "wide" else 4.2) + 1.5 * rows
    ax = style.panel(fig, layout, 5.2, 1.8, 3.6, top)
    edge = unknown_below(data)
    fpr = table["fpr"].to_numpy()
    drawn = fpr >= min(edge, 0.5)
    fpr = fpr[drawn]
    values = {k: table[k].to_numpy()[drawn] for k in ("tpr_low", "tpr_high")}
    low, high = (np.maximum(v, _TPR_LOWEST) for v in values.values())
    median = table["tpr_median"].to_numpy()[drawn]
    if edge > _FPR_LEFT:
        ax.axvspan(_FPR_LEFT, min(edge, 1), color=style.NULL, linewidth=0)
    ax.fill_between(
        fpr, low, high, color=style.MEASURED, alpha=0.25, linewidth=0, step=None
    )
    # No hit at all lies below a log axis: leave it out.
    ax.plot(fpr, np.where(median > 0, median, np.nan), color=style.MEASURED)
    ax.plot([_FPR_LEFT, 1], [_FPR_LEFT, 1], color=style.INK, linewidth=0.9)
    others = [*_ceiling(ax, data), *_others(ax, layout, data)]
    seen = median[median > 0]
    lowest = min(seen.min(initial=_FPR_LEFT), _FPR_LEFT)
    _percent_axes(ax, max(lowest, _TPR_LOWEST))
    handles = [
        style.line(
            f"median of {words.count(data.summary['num_models'])} models",
            style.MEASURED,
        ),
        style.patch("80 % of models", style.MEASURED, 0.25),
        *others,
        style.line("coin flip", style.INK),
        style.patch("too few records to say", style.NULL),
    ]
    style.legend(ax, layout, handles if edge > _FPR_LEFT else handles[:-1], 2)
    return fig


def _ceiling(ax: matplotlib.axes.Axes, data: contents.ReportData) -> list:
    """What the guarantee bounds every attack by; its entry of the legend."""
    table = data.curves.get("ceiling")
    if table is None or table.empty:
        return []
    table = table[table["fpr"] > 0]
    ax.plot(table["fpr"], table["tpr"], color=style.INK, linestyle=(0, (4, 2)))
    return [style.line("ceiling of the guarantee", style.INK, dashed=True)]


def other_attacks(data: contents.ReportData) -> list[tuple[str, np.ndarray]]:
    """Label and [points, 2] rates of the attacks beside the first, where drawn."""
    table = data.curves.get("roc_by_attack")
    names = [a.get("label") for a in data.summary.get("attacks") or ()][1:]
    if table is None:
        return []
    edge = min(unknown_below(data), 0.5)
    table = table[(table["fpr"] >= edge) & (table["tpr_median"] > 0)]
    curves = [table.loc[table["attack"] == n, ["fpr", "tpr_median"]] for n in names]
    found = [(n, c.to_numpy(float)) for n, c in zip(names, curves, strict=True)]
    return [pair for pair in found if len(pair[1])][: len(_DASHES)]


def _others(ax, layout: style.Layout, data: contents.ReportData) -> list:
    """The medians of the other attacks, told apart by dashes; their legend."""
    handles = []
    for (label, rates), dash in zip(other_attacks(data), _DASHES, strict=False):
        shape = {"linestyle": (0, dash), "linewidth": 0.7 * layout.line}
        ax.plot(*rates.T, color=style.MUTED, **shape)
        handles.append(style.line(label, style.MUTED))
        handles[-1].set(**shape)
    return handles


def _percent_axes(ax, lowest: float) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(_FPR_LEFT, 1)
    ax.set_ylim(lowest, 1.1)
    for axis, start in ((ax.xaxis, _FPR_LEFT), (ax.yaxis, lowest)):
        ticks = [t for t in (1e-4, 1e-3, 1e-2, 1e-1, 1.0) if t >= start * 0.999]
        axis.set_ticks(ticks, labels=[f"{100 * t:g} %" for t in ticks])
        axis.set_minor_locator(matplotlib.ticker.NullLocator())
    style.grid(ax, "both")
    ax.set_xlabel("False alarms")
    ax.set_ylabel("Hits")


def usefulness(
    data: contents.ReportData, layout: style.Layout
) -> matplotlib.figure.Figure | None:
    """Accuracy and AUROC on members, left-out and test patients."""
    shown = [metric for metric in METRICS if known_sets(data, metric)]
    if not shown:
        return None
    height = 9.5 * len(shown) + 1 if layout.is_narrow else 11
    fig = style.figure(layout, height)
    width = layout.width / layout.em
    for place, metric in enumerate(shown):
        if layout.is_narrow:
            below = 9.5 * (len(shown) - 1 - place)
            box = (8.4, 3.6, below + 2.4, height - below - 8.0)
        else:
            half = width / len(shown)
            box = (8.4 + half * place, width - half * (place + 1) + 4.2, 2.6, 1.9)
        ax = style.panel(fig, layout, *box)
        _dots(ax, layout, data, metric)
    return fig


def known_sets(data: contents.ReportData, metric: str) -> list[str]:
    """Sets of patients for which a metric was measured."""
    metrics = data.summary.get("metrics") or {}
    return [s for s in SETS if not words.is_missing((metrics.get(s) or {}).get(metric))]


def _dots(ax, layout: style.Layout, data: contents.ReportData, metric: str) -> None:
    known = known_sets(data, metric)
    spreads = data.summary.get("metrics_sd") or {}
    values = [data.summary["metrics"][name][metric] for name in known]
    sds = [(spreads.get(name) or {}).get(metric) or 0.0 for name in known]
    places = np.arange(len(known))[::-1]
    for place, name, value, sd in zip(places, known, values, sds, strict=True):
        colour = style.MEASURED if name == "members" else style.INK
        ax.plot([value - sd, value + sd], [place, place], color=colour, linewidth=1.2)
        ax.plot(value, place, "o", color=colour, markersize=0.6 * layout.font)
        ax.annotate(
            f"{value:.3f}",
            xy=(1, place),
            xycoords=("axes fraction", "data"),
            xytext=(0.5 * layout.font, 0),
            textcoords="offset points",
            va="center",
        )
    pad = max(0.02, 0.25 * (max(values) - min(values)), *sds) + max(sds)
    ax.set_xlim(max(min(values) - pad, 0), min(max(values) + pad, 1.005))
    ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4))
    ax.set_yticks(places, labels=[SETS[name] for name in known])
    ax.set_ylim(-0.6, len(known) - 0.4)
    ax.tick_params(axis="y", length=0, labelcolor=style.INK)
    style.grid(ax, "x")
    style.heading(ax, layout, METRICS[metric])
