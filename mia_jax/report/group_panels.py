"""The panels of the figure of groups, by endpoint: raw and adjusted side by side."""

from typing import NamedTuple


class Column(NamedTuple):
    """One panel of the forest.

    Attributes:
      title: above it.
      short: above it, where there is little room.
      unit: below it.
      value, low, high: columns of the table.
      p_holm: column of adjusted p-values; "" = no test.
      scale: what values are multiplied with.
      neutral: where a line is drawn.
    """

    title: str
    short: str
    unit: str
    value: str
    low: str
    high: str
    p_holm: str
    scale: float
    neutral: float | None

    @property
    def is_ratio(self) -> bool:
        return self.neutral == 1.0


def _tested(title, short, unit, name, p_holm, scale, neutral) -> Column:
    limits = name, f"{name}_low", f"{name}_high"
    return Column(title, short, unit, *limits, p_holm, scale, neutral)


_POINTS = "points (in 100)", 100.0, 0.0
RISK = _tested("Proven, v others", "Proven", "times", "relative_risk", "p_holm", 1, 1)
RISK_ADJUSTED = _tested(
    *("The same, adjusted", "Adjusted", "times", "adjusted_relative_risk"),
    *("adjusted_relative_risk_p_holm", 1.0, 1.0),
)
TOP = _tested(
    *("Among the top 1 %, v others", "Top 1 %", "times", "top_ratio", "top_p_holm"),
    *(1.0, 1.0),
)
MEAN = _tested(
    *("Right, v others", "Right", _POINTS[0], "mean_auc_difference"),
    *("mean_auc_p_holm", *_POINTS[1:]),
)
MEAN_ADJUSTED = _tested(
    *("Right, adjusted", "Adjusted", _POINTS[0], "adjusted_difference"),
    *("adjusted_p_holm", *_POINTS[1:]),
)
RANK = MEAN._replace(p_holm="rank_p_holm")
SHARE = Column(
    *("Above 70 in 100", "Above 70", "% of patients"),
    *("exposed_share", "exposed_low", "exposed_high", ""),
    *(100.0, None),
)
PANELS = {
    "proven": (RISK, RISK_ADJUSTED),
    "top": (TOP, MEAN_ADJUSTED),
    "rank": (RANK, MEAN_ADJUSTED),
    "exposed": (SHARE, MEAN, MEAN_ADJUSTED),
}
