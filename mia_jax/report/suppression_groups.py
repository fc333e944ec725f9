"""Groups and numbers of records without counts of few patients; see `suppression`."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from mia_jax.report import cells, group_words, words

_NAMES = ("attribute", "value", "is_intersection", "num_patients", "mean_records")
_COUNTED = (  # tell the number of proven patients
    *("share_proven", "p_value", "p_holm", "p_bh"),
    *("relative_risk", "relative_risk_low", "relative_risk_high"),
    *("adjusted_relative_risk", "adjusted_relative_risk_low"),
    *("adjusted_relative_risk_high", "adjusted_relative_risk_p_value"),
    *("adjusted_relative_risk_p_holm", "adjusted_relative_risk_p_bh"),
)
_EXPOSED = (
    *("exposed_share", "exposed_low", "exposed_high"),
    *("exposed_difference", "exposed_difference_low", "exposed_difference_high"),
)
_MEAN = (  # of ten patients or more
    *("mean_auc", "mean_auc_difference", "mean_auc_difference_low"),
    *("mean_auc_difference_high", "mean_auc_effect", "mean_auc_p_value"),
    *("mean_auc_p_holm", "mean_auc_p_bh", "adjusted_difference"),
    *("adjusted_difference_low", "adjusted_difference_high", "adjusted_p_value"),
    *("adjusted_p_holm", "adjusted_p_bh"),
    *("rank_effect", "rank_p_value", "rank_p_holm"),
)
_TOP = (
    *("top_share", "top_ratio", "top_ratio_low", "top_ratio_high"),
    *("top_p_value", "top_p_holm"),
)
_RECORD_COLUMNS = (
    *("num_records", "num_patients", "num_proven", "q01", "q25", "q50", "q75", "q99"),
    *("null_q01", "null_q50", "null_q99"),
)
SMALL = "smaller groups"  # stands for those that are not shown


class _Partition(NamedTuple):
    """All patients, split by one attribute.

    Attributes:
      values: [cells] text, by first patient: so equal splits hide equal cells.
      sizes: [cells] patients.
      proven: [cells] proven patients.
      is_gone: [cells] too few patients, or hidden with them.
      hidden: what may not be told of the proven.
    """

    values: list[str]
    sizes: np.ndarray
    proven: np.ndarray
    is_gone: np.ndarray
    hidden: cells.Hidden


def _partition(labels: np.ndarray, is_proven: np.ndarray) -> _Partition:
    codes, values = pd.factorize(labels)
    sizes = np.bincount(codes)
    proven = np.bincount(codes, is_proven).astype(int)
    everybody = np.full(len(sizes), len(labels))
    is_gone = cells.hide(sizes, everybody, cells.FEWEST_IN_GROUP).is_hidden
    hidden = cells.hide(proven, sizes, is_gone=is_gone)
    return _Partition(list(values), sizes, proven, is_gone, hidden)


def labels_of(patients: pd.DataFrame, attribute: str) -> np.ndarray:
    """[patients] text: the values of an attribute, as in the table of groups."""
    return patients[attribute].fillna("unknown").astype(str).to_numpy()


def _is_finer(labels: np.ndarray, others: np.ndarray) -> bool:
    """Whether every value goes with one other value, and there are more of them."""
    one, other = pd.factorize(labels)[0], pd.factorize(others)[0]
    pairs = len(np.unique(one * (other.max() + 1) + other))
    return pairs == one.max() + 1 > other.max() + 1 > 1


def suppress(
    groups: pd.DataFrame, patients: pd.DataFrame, endpoint: str | None
) -> pd.DataFrame:
    """The table of groups; counts become object columns with "<5" and NaN.

    Of attributes that nest in each other only the coarsest is shown: bands would be
    subtracted from years. An intersection of two attributes is shown only where nothing
    in it need be hidden: its margins are known from the attributes.

    Args:
      groups: of groups.pkl.
      patients: of patients.pkl, with the attributes.
      endpoint: of `groups`; the top share is shown only where it is "top".
    """
    kept = [*_NAMES, "num_proven", "expected_proven", *_COUNTED, *_EXPOSED, *_MEAN]
    kept += _TOP if endpoint == "top" else ()
    table = groups[[name for name in kept if name in groups]]
    labels = {n: labels_of(patients, n) for n in _singles(groups) if n in patients}
    parts = []
    for attribute, part in table.groupby("attribute", sort=False):
        part = part.reset_index(drop=True)
        if attribute not in labels:
            parts += [part] if _is_whole(part, len(patients)) else []
        elif not any(_is_finer(labels[attribute], o) for o in labels.values()):
            parts.append(_attribute(part, labels[attribute], patients["is_proven"]))
    if not parts:
        return table[:0]
    return pd.concat([part.astype(object) for part in parts], ignore_index=True)


def _singles(groups: pd.DataFrame) -> list[str]:
    if "is_intersection" in groups:
        groups = groups[~groups["is_intersection"].astype(bool)]
    return list(groups["attribute"].unique())


def _is_whole(part: pd.DataFrame, num_patients: int) -> bool:
    """Whether every patient is in a row and no number need be hidden."""
    sizes, proven = part["num_patients"], part["num_proven"]
    is_small = (sizes < cells.FEWEST_IN_GROUP).any() or cells.is_small(proven).any()
    return not is_small and sizes.sum() == num_patients


def _attribute(
    part: pd.DataFrame, labels: np.ndarray, is_proven: pd.Series
) -> pd.DataFrame:
    """The groups of one attribute, of which the largest may be all that is shown."""
    split = _partition(labels, is_proven.to_numpy(bool))
    place = [split.values.index(str(value)) for value in part["value"]]
    part = _columns(part, split, np.array(place))
    shown = part[~split.is_gone[place]]
    if split.is_gone.any():
        blank = dict.fromkeys(part.columns, np.nan)
        blank |= {"attribute": part["attribute"].iloc[0], "value": SMALL}
        if "is_intersection" in part:
            blank["is_intersection"] = False
        shown = pd.concat([shown, pd.DataFrame([blank], dtype=object)])
    return shown


def _columns(part: pd.DataFrame, split: _Partition, place: np.ndarray) -> pd.DataFrame:
    """Numbers hidden inside rows that are shown."""
    sizes, proven = split.sizes[place], split.proven[place]
    is_hidden = split.hidden.is_hidden[place]
    part = part.astype(object)
    part.loc[is_hidden, "num_proven"] = np.nan
    part.loc[split.hidden.is_few[place], "num_proven"] = words.FEW
    # A ratio needs five observed patients.
    few = is_hidden | (proven < cells.FEWEST)
    part.loc[few, [name for name in _COUNTED if name in part]] = np.nan
    if cells.is_small(split.proven.sum()):
        part["expected_proven"] = np.nan
    _hide_estimates(part, sizes)
    if "top_share" in part:
        _hide_top(part, sizes)
    return part


def _hide_estimates(part: pd.DataFrame, sizes: np.ndarray) -> None:
    if "exposed_share" not in part:
        return
    number = part["exposed_share"].to_numpy(float) * sizes
    is_few = cells.is_small(np.round(number))
    part.loc[is_few, [name for name in _EXPOSED if name in part]] = np.nan
    for name, least in (("exposed_low", 0.0), ("exposed_high", cells.FEWEST)):
        if name in part:
            limit = part[name].to_numpy(float) * sizes
            blurred = (limit > 0) & (limit < cells.FEWEST)
            part.loc[blurred, name] = least / sizes[blurred]


def _hide_top(part: pd.DataFrame, sizes: np.ndarray) -> None:
    number = np.round(np.nan_to_num(part["top_share"].to_numpy(float)) * sizes)
    hidden = cells.hide(number.astype(int), sizes).is_hidden
    names = [name for name in _TOP if name in part]
    part.loc[hidden, names] = np.nan
    part.loc[number < cells.FEWEST, names[1:]] = np.nan


def by_num_records(
    table: pd.DataFrame, patients: pd.DataFrame, groups: pd.DataFrame
) -> pd.DataFrame:
    """Risk by number of records: rows are groups, quantiles need five beyond.

    No row at all where an attribute of the groups nests in the numbers of records, or
    they in it.

    Args:
      table: of curves.pkl.
      patients: of patients.pkl.
      groups: already suppressed.
    """
    names = [name for name in _RECORD_COLUMNS if name in table]
    limits = [between(str(label)) for label in table["num_records"]]
    number = patients["num_records"].to_numpy()
    places = sum(i * ((number >= a) & (number <= b)) for i, (a, b) in enumerate(limits))
    labels = table["num_records"].astype(str).to_numpy()[places]
    for attribute in set(groups["attribute"]) & set(patients):
        others = labels_of(patients, attribute)
        if _is_finer(labels, others) or _is_finer(others, labels):
            return table[names][:0]
    given = table[names].assign(attribute="", value=table["num_records"].astype(str))
    shown = _attribute(given.reset_index(drop=True), labels, patients["is_proven"])
    shown["num_records"] = shown["value"]
    sizes = pd.to_numeric(shown["num_patients"], errors="coerce").to_numpy(float)
    for name in ("q01", "q25", "q50", "q75", "q99"):
        q = float(name[1:]) / 100
        is_near = ~(min(q, 1 - q) * sizes >= cells.FEWEST)
        shown.loc[is_near, name] = np.nan
        shown[name] = shown[name].astype(float).round(2)
    shown = shown.drop(columns=["attribute", "value"])
    return shown[shown["num_patients"].notna()].reset_index(drop=True)


def between(label: str) -> tuple[float, float]:
    """Limits of a label of numbers of records: "4", "5-9" or "10+"."""
    if label.endswith("+"):
        return float(label[:-1]), np.inf
    low, _, high = label.partition("-")
    return float(low), float(high or low)


def title(shown: pd.DataFrame, endpoint: str | None) -> str:
    """The finding on groups, from what is shown."""
    is_cut = not shown.empty and bool(
        (shown["value"] == SMALL).any()
        or shown["num_proven"].isna().any()
        or (shown["num_proven"] == words.FEW).any()
    )
    return group_words.title(shown, endpoint, is_cut)
