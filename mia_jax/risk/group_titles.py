"""What the table of groups says, in one sentence: who stands out, and if it stays.

A group is named by the table's endpoint where it is Holm-significant over all rows and
on the side of more risk. Behind it stands what adjustment for label, number of records
and other attributes leaves. A cell of two attributes is named only where neither of its
values is: else it repeats them.
"""

import numpy as np
import pandas as pd

from mia_jax.risk import cells, disparity

NONE = "No group is shown to carry more risk than the others"
_ALPHA = 0.05
_MAX_NAMED = 3  # groups named in a title


def endpoint(table: pd.DataFrame) -> str:
    """What this table's groups are compared by: see `disparity.endpoint`.

    Args:
      table: of `groups.table`; the values of an attribute share all patients.

    Returns:
      "proven", "top", "rank" or "exposed"; "exposed" for a table without rows.
    """
    if table.empty:
        return "exposed"
    one = table[table["attribute"] == table["attribute"].iloc[0]]
    counts = one["num_proven"].sum(), one["num_patients"].sum()
    return disparity.endpoint(*map(int, counts))


def title(table: pd.DataFrame) -> str:
    """The finding on groups in one sentence, from the table alone.

    Args:
      table: of `groups.table`.

    Returns:
      For example "Proven more exposed: poor (health), 4.1x (adjusted 3.0x); fair
      (health), 3.2x (not after adjustment)".
    """
    if table.empty:
        return NONE
    name = endpoint(table)
    if name in ("proven", "top"):
        lead, found = _by_ratio(table, name)
        return _listed(lead, found) if found else NONE
    exposed, recognised = _by_mean(table, name)
    if exposed:
        return _listed("More exposed", exposed)
    return _listed("Better recognised", recognised) if recognised else NONE


def _listed(prefix: str, rows: list[tuple[float, str]]) -> str:
    """One line, largest first: "prefix: first; second; third and 2 more"."""
    names = [name for _, name in sorted(rows, key=lambda row: -row[0])]
    more = len(names) - _MAX_NAMED
    shown = "; ".join(names[:_MAX_NAMED])
    return f"{prefix}: {shown} and {more} more" if more > 0 else f"{prefix}: {shown}"


def _new(found: pd.DataFrame) -> list[dict]:
    """The rows, less cells of two attributes one of whose values is among them."""
    rows = found.to_dict("records")
    singles = {
        (row["attribute"], row["value"]) for row in rows if not row["is_intersection"]
    }
    return [row for row in rows if not _parents(row) & singles]


def _parents(row: dict) -> set[tuple[str, str]]:
    """Attribute and value of both sides of a cell; none for a single value."""
    if not row["is_intersection"]:
        return set()
    # Names may hold the separator themselves: all ways to cut them are tried.
    sides = (_cuts(row["attribute"]), _cuts(row["value"]))
    return {
        (name, value)
        for left, right in (sides,)
        for name_pair in left
        for value_pair in right
        for name, value in zip(name_pair, value_pair)
    }


def _cuts(text: str) -> list[tuple[str, str]]:
    parts = text.split(cells.SEPARATOR)
    join = cells.SEPARATOR.join
    return [(join(parts[:i]), join(parts[i:])) for i in range(1, len(parts))]


def _remains(row: dict, value: str, p_holm: str, neutral: float, text: str) -> str:
    """What adjustment leaves of a finding; "" where it is not defined."""
    if not np.isfinite(row[p_holm]):
        return ""
    is_kept = row[p_holm] < _ALPHA and row[value] > neutral
    return f" ({text})" if is_kept else " (not after adjustment)"


def _by_ratio(table: pd.DataFrame, name: str) -> tuple[str, list[tuple[float, str]]]:
    """How the title begins, and groups with a ratio above one: (ratio, text)."""
    if name == "top":
        found = _new(table[table["top_p_holm"] < _ALPHA])  # one-sided: more only
        return "More often in the top 1 %", [
            (number, f"{_name(row)}, {text}{_mean_remains(row)}")
            for row in found
            for number, text in [_top_ratio(row)]
        ]
    found = table[(table["p_holm"] < _ALPHA) & (table["relative_risk"] > 1)]
    texts = []
    for row in _new(found):
        columns = "adjusted_relative_risk", "adjusted_relative_risk_p_holm", 1.0
        text = f"adjusted {row['adjusted_relative_risk']:.1f}x"
        remains, ratio = _remains(row, *columns, text), row["relative_risk"]
        texts.append((ratio, f"{_name(row)}, {ratio:.1f}x{remains}"))
    return "Proven more exposed", texts


def _name(row: dict) -> str:
    return f"{row['value']} ({row['attribute']})"


def _top_ratio(row: dict) -> tuple[float, str]:
    """The ratio, or its lower limit where nobody else is in the top: infinite."""
    if np.isfinite(row["top_ratio"]):
        return row["top_ratio"], f"{row['top_ratio']:.1f}x"
    return row["top_ratio_low"], f"over {row['top_ratio_low']:.1f}x"


def _mean_remains(row: dict) -> str:
    columns = "adjusted_difference", "adjusted_p_holm", 0.0
    return _remains(row, *columns, "also adjusted")


def _by_mean(table: pd.DataFrame, name: str) -> tuple[list, list]:
    """Groups of higher AUC: those with more exposed patients, and all."""
    if name == "rank":
        is_found = (table["rank_p_holm"] < _ALPHA) & (table["rank_effect"] > 0.5)
    else:
        is_found = table["mean_auc_p_holm"] < _ALPHA
    is_found &= table["mean_auc_difference"] > 0
    exposed, recognised = [], []
    for row in _new(table[is_found]):
        name, remains = _name(row), _mean_remains(row)
        share = 100 * row["exposed_share"]
        rest = share - 100 * row["exposed_difference"]
        if np.round(share) > np.round(rest):  # False where either is NaN
            text = f"{name}, {share:.0f} v {rest:.0f} %{remains}"
            exposed.append((share, text))
        mean, gap = 100 * row["mean_auc"], 100 * row["mean_auc_difference"]
        text = f"{name}, right {mean:.1f} v {mean - gap:.1f} times in 100{remains}"
        recognised.append((mean, text))
    return exposed, recognised
