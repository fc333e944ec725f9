"""Which groups stand out, by the endpoint that the audit chose for their comparison."""

from typing import NamedTuple

import pandas as pd

from mia_jax.report import words

_ALPHA = 0.05
_MAX_NAMED = 3  # groups named in a title
NONE = "No group is shown to carry more risk than the others"
_NONE_SHOWN = "No group shown here is proven to carry more risk than the others"


class Endpoint(NamedTuple):
    """How groups are compared.

    Attributes:
      name: of `summary["groups_endpoint"]`.
      lead: how a title begins.
      sentence: what is compared, for those who cannot see the picture.
      value, p_holm: columns of the table of groups.
      adjusted, adjusted_p_holm: what adjustment leaves of it.
      neutral: value of a group like all others.
      adjusted_neutral: the same after adjustment.
    """

    name: str
    lead: str
    sentence: str
    value: str
    p_holm: str
    adjusted: str
    adjusted_p_holm: str
    neutral: float
    adjusted_neutral: float


_MEAN = "adjusted_difference", "adjusted_p_holm"
ENDPOINTS = {
    "proven": Endpoint(
        *("proven", "Proven more exposed", "the relative risk of being proven"),
        *("relative_risk", "p_holm"),
        *("adjusted_relative_risk", "adjusted_relative_risk_p_holm", 1.0, 1.0),
    ),
    "top": Endpoint(
        *("top", "More often in the top 1 %"),
        "how often patients are among the most exposed hundredth",
        *("top_ratio", "top_p_holm", *_MEAN, 1.0, 0.0),
    ),
    "rank": Endpoint(
        *("rank", "Better recognised", "the difference of the mean"),
        *("mean_auc_difference", "rank_p_holm", *_MEAN, 0.0, 0.0),
    ),
    "exposed": Endpoint(
        *("exposed", "More exposed"),
        "the share above 70 in 100 and the difference of the mean",
        *("mean_auc_difference", "mean_auc_p_holm", *_MEAN, 0.0, 0.0),
    ),
}


def endpoint(name: str | None) -> Endpoint:
    """The endpoint of a name; runs that name none compare means."""
    return ENDPOINTS.get(name or "", ENDPOINTS["exposed"])


def _text(by: Endpoint, value: float) -> str:
    if by.neutral == 1.0:
        return f"{value:.1f}x"
    return f"by {100 * value:.1f} in 100"


def title(groups: pd.DataFrame, name: str | None, is_cut: bool) -> str:
    """The finding on groups in one sentence, from the table alone.

    Args:
      groups: table of groups, some numbers of which may be hidden.
      name: of the endpoint.
      is_cut: whether something is hidden.

    Returns:
      For example "Proven more exposed: poor (health), 4.1x; fair (health), 3.2x".
    """
    by, found = endpoint(name), []
    for row in groups.to_dict("records"):
        value, p_holm = row.get(by.value), row.get(by.p_holm)
        if words.is_missing(value) or words.is_missing(p_holm):
            continue
        if p_holm < _ALPHA and value > by.neutral:
            group = f"{row['value']} ({row['attribute']})"
            text = f"{group}, {_text(by, value)}{_remains(by, row)}"
            found.append((bool(row.get("is_intersection")), value, text))
    if not found:
        return _NONE_SHOWN if is_cut else NONE
    # Two attributes at once mostly repeat one of them.
    if not all(is_pair for is_pair, *_ in found):
        found = [one for one in found if not one[0]]
    names = [text for *_, text in sorted(found, key=lambda one: -one[1])]
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return f"{by.lead}: {'; '.join(names[:_MAX_NAMED])}{more}"


def _remains(by: Endpoint, row: dict) -> str:
    """What adjustment for the other attributes leaves; "" where there was none."""
    value, p_holm = row.get(by.adjusted), row.get(by.adjusted_p_holm)
    if words.is_missing(value) or words.is_missing(p_holm):
        return ""
    if p_holm >= _ALPHA or value <= by.adjusted_neutral:
        return " (not after adjustment)"
    same = f" {value:.1f}x" if by.adjusted_neutral == 1.0 else ""
    return f" (adjusted{same})" if same else " (also adjusted)"
