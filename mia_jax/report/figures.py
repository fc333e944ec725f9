"""All figures of a report, drawn for the page and for print."""

import io
from collections.abc import Callable
from typing import NamedTuple

import matplotlib
import matplotlib.figure
import pandas as pd

from mia_jax.report import (
    contents,
    figures_groups,
    figures_models,
    figures_patients,
    figures_precision,
    figures_survival,
    style,
    svg,
)

_Draw = Callable[[contents.ReportData, style.Layout], matplotlib.figure.Figure | None]
# Fixed dates and no program name: the same bytes every time.
_METADATA = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


class _Kind(NamedTuple):
    draw: _Draw
    wide: style.Layout
    paper: style.Layout


_KINDS = {
    "overview": _Kind(figures_patients.overview, style.WIDE, style.PAPER),
    "roc": _Kind(figures_models.roc, style.HALF, style.PAPER_HALF),
    "survival": _Kind(figures_survival.survival, style.WIDE, style.PAPER),
    "records": _Kind(figures_patients.num_records, style.WIDE, style.PAPER),
    "groups": _Kind(figures_groups.forest, style.WIDE, style.PAPER),
    "usefulness": _Kind(figures_models.usefulness, style.WIDE, style.PAPER),
    "precision": _Kind(figures_precision.precision, style.WIDE, style.PAPER),
}
NAMES = tuple(_KINDS)
FILES = tuple(f"fig_{n}.{end}" for n in NAMES for end in (*_METADATA, "csv"))


class Pair(NamedTuple):
    """A figure of the page as two `<svg>` elements, and where their first axes lie.

    A frame is "left top right bottom" in the units of the view box.
    """

    wide: str
    narrow: str
    wide_frame: str
    narrow_frame: str


def for_page(data: contents.ReportData) -> dict[str, Pair | None]:
    """Every figure, wide and narrow; None where there is nothing to draw."""
    return {name: _pair(data, name, kind) for name, kind in _KINDS.items()}


def _pair(data: contents.ReportData, name: str, kind: _Kind) -> Pair | None:
    drawn, frames = [], []
    for layout in (kind.wide, style.NARROW):
        with matplotlib.rc_context(style.rc(layout)):
            figure = kind.draw(data, layout)
            if figure is None:
                return None
            drawn.append(svg.inline(figure, f"{name}-{layout.name}"))
            frames.append(_frame(figure))
    return Pair(*drawn, *frames)


def _frame(figure: matplotlib.figure.Figure) -> str:
    box = figure.axes[0].get_position()
    width, height = figure.get_size_inches() * 72
    ends = box.x0 * width, (1 - box.y1) * height, box.x1 * width, (1 - box.y0) * height
    return " ".join(f"{end:.2f}" for end in ends)


def for_print(data: contents.ReportData) -> dict[str, bytes]:
    """File name -> content: SVG, PDF and PNG of every figure, and its data as CSV."""
    files = {}
    for name, kind in _KINDS.items():
        with matplotlib.rc_context(style.rc(kind.paper)):
            figure = kind.draw(data, kind.paper)
            if figure is None:
                continue
            for ending, metadata in _METADATA.items():
                buffer = io.BytesIO()
                figure.savefig(buffer, format=ending, metadata=metadata)
                files[f"fig_{name}.{ending}"] = buffer.getvalue()
        table = table_of(data, name).to_csv(index=False, lineterminator="\n")
        files[f"fig_{name}.csv"] = table.encode()
    return files


def table_of(data: contents.ReportData, name: str) -> pd.DataFrame:
    """The numbers that a figure draws, less the dots of single patients."""
    curves = data.curves
    if name == "survival":
        known = curves["denoised"].rename(
            columns={k: f"denoised_{k}" for k in ("share", "low", "high")}
        )
        return curves["survival"].merge(known, on="auc", how="outer")
    if name == "usefulness":
        return usefulness_table(data)
    named = {"overview": "histogram", "records": "by_num_records"}
    return data.groups if name == "groups" else curves[named.get(name, name)]


def usefulness_table(data: contents.ReportData) -> pd.DataFrame:
    """Mean and standard deviation over models of every measured metric."""
    means = data.summary.get("metrics") or {}
    sds = data.summary.get("metrics_sd") or {}
    rows = [
        {
            "set": name,
            "metric": metric,
            "mean": value,
            "sd": (sds.get(name) or {}).get(metric),
        }
        for name in figures_models.SETS
        for metric, value in (means.get(name) or {}).items()
        if value is not None
    ]
    return pd.DataFrame(rows, columns=["set", "metric", "mean", "sd"])
