"""How every figure looks: colours, fonts, sizes and axes.

A figure is drawn three times from one function: wide and narrow for the page, and for
print. All distances inside are in ems (the height of the text), so that one drawing
fits all three. Colours keep a contrast of at least 4.5 as text on white and on panels,
and red against blue stays apart for every kind of colour blindness; blue and green do
not, hence green is always dashed.
"""

from typing import Any, NamedTuple

import matplotlib.axes
import matplotlib.figure
import matplotlib.lines
import matplotlib.patches
import numpy as np
from matplotlib import font_manager

INK = "#1B1F23"
MUTED = "#57606A"
MEASURED = "#0072B2"
AT_RISK = "#C2410C"
DENOISED = "#00755E"
NULL = "#D8DEE4"
BARS = "#AEB8C2"
LINES = "#D0D7DE"

COIN_FLIP = 50.0  # times in 100
TIMES_LABEL = "Attacker right about a patient, times in 100 (50 = coin flip)"
TIMES_LABEL_NARROW = "Right, times in 100 (50 = coin flip)"
_PAPER_FONTS = ("Arial", "Helvetica", "Liberation Sans", "DejaVu Sans")


class Layout(NamedTuple):
    """One of the three shapes of a figure.

    Attributes:
      name: "wide", "narrow" or "paper".
      width: inches.
      font: points.
      line: points.
    """

    name: str
    width: float
    font: float
    line: float

    @property
    def is_narrow(self) -> bool:
        return self.name == "narrow"

    @property
    def em(self) -> float:
        """Height of the text in inches."""
        return self.font / 72

    @property
    def times_label(self) -> str:
        return TIMES_LABEL_NARROW if self.is_narrow else TIMES_LABEL

    def inches(self, ems: float) -> float:
        return ems * self.em


WIDE = Layout("wide", 10.0, 10.5, 1.8)
HALF = Layout("wide", 6.3, 10.5, 1.8)  # beside a table
NARROW = Layout("narrow", 4.3, 10.5, 1.6)
PAPER = Layout("paper", 183 / 25.4, 7.0, 1.0)  # two columns of a journal
PAPER_HALF = Layout("paper", 89 / 25.4, 7.0, 1.0)  # one column


def rc(layout: Layout) -> dict[str, Any]:
    """matplotlib settings of a layout.

    Text stays text in SVG and TrueType in PDF: half the size, searchable, editable.
    """
    family = ["DejaVu Sans"]  # comes with matplotlib; wider than most, so others fit
    if layout.name == "paper":
        known = set(font_manager.get_font_names())
        family = [name for name in _PAPER_FONTS if name in known][:1]
    small = 6.0 if layout.name == "paper" else layout.font
    thin = 0.5 if layout.name == "paper" else 0.8
    return {
        **{"font.family": family, "font.size": layout.font},
        **{"xtick.labelsize": small, "ytick.labelsize": small},
        **{"axes.labelsize": layout.font, "legend.fontsize": layout.font},
        **{"axes.linewidth": thin, "lines.linewidth": layout.line},
        **{"xtick.major.width": thin, "ytick.major.width": thin},
        **{"text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": MUTED},
        **{"xtick.color": MUTED, "ytick.color": MUTED},
        **{"xtick.labelcolor": MUTED, "ytick.labelcolor": MUTED},
        **{"svg.fonttype": "none", "svg.hashsalt": "mia_jax", "pdf.fonttype": 42},
        **{"savefig.dpi": 600, "text.parse_math": False, "axes.unicode_minus": False},
    }


def figure(layout: Layout, ems: float) -> matplotlib.figure.Figure:
    """An empty figure `ems` high."""
    return matplotlib.figure.Figure(figsize=(layout.width, layout.inches(ems)))


def panel(
    fig: matplotlib.figure.Figure,
    layout: Layout,
    left: float,
    right: float,
    bottom: float,
    top: float,
) -> matplotlib.axes.Axes:
    """Axes with margins in ems from the figure's edges."""
    width, height = (size / layout.em for size in fig.get_size_inches())
    box = (
        left / width,
        bottom / height,
        (width - left - right) / width,
        (height - bottom - top) / height,
    )
    ax = fig.add_axes(box)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(length=3)
    ax.set_axisbelow(True)
    return ax


def heading(
    ax: matplotlib.axes.Axes, layout: Layout, text: str, colour: str = INK
) -> None:
    """A bold line above the axes, where no data can lie under it."""
    ax.annotate(
        text,
        xy=(0, 1),
        xycoords="axes fraction",
        xytext=(0, 0.45 * layout.font),
        textcoords="offset points",
        fontweight="bold",
        color=colour,
    )


def legend(
    ax: matplotlib.axes.Axes, layout: Layout, handles: list, columns: int
) -> None:
    """A legend above the axes, one row for wide figures."""
    ax.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        borderaxespad=0.3,
        borderpad=0,
        frameon=False,
        ncols=1 if layout.is_narrow else columns,
        handlelength=2.2,
        columnspacing=1.6,
        labelspacing=0.3,
    )


def line(label: str, colour: str, dashed: bool = False) -> matplotlib.lines.Line2D:
    """A legend entry for a line."""
    shape = (0, (4, 2)) if dashed else "-"
    return matplotlib.lines.Line2D([], [], color=colour, linestyle=shape, label=label)


def patch(label: str, colour: str, alpha: float = 1.0) -> matplotlib.patches.Patch:
    """A legend entry for an area."""
    return matplotlib.patches.Patch(
        facecolor=colour, edgecolor="none", alpha=alpha, label=label
    )


def coin_flip(ax: matplotlib.axes.Axes) -> None:
    """The line at 50 times in 100."""
    ax.axvline(COIN_FLIP, color=INK, linewidth=0.9, zorder=3)


def grid(ax: matplotlib.axes.Axes, axis: str) -> None:
    ax.grid(axis=axis, color=LINES, linewidth=0.6)


def whole_ticks(most: float, number: int = 4) -> np.ndarray:
    """Whole-numbered ticks from 0 to `most`, at round steps."""
    rough = max(most, 1) / number
    scale = 10.0 ** np.floor(np.log10(rough))
    step = max(1, next(s for s in (1, 2, 5, 10) if s * scale >= rough) * scale)
    return np.arange(0, max(most, 1) + step / 2, step)
