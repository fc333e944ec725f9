"""A table's label column as classes; errors name file, column, rows and remedy."""

import numpy as np
import pandas as pd

from mia_jax import validate
from mia_jax.data import _table_checks as checks

_WHOLE = r"[+-]?\d+(?:\.0+)?"


def classes(
    values: pd.Series, file: str, column: str, task: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels as numbers of classes.

    Args:
      values: [records] text.
      file: name of the file.
      column: name of the column.
      task: "auto", "binary" or "multiclass".

    Returns:
      ([records] int32, class names: numbers ascending, or text in alphabetical order).
    """
    checks.fail_rows(
        checks.is_missing(values),
        file,
        column,
        "no label",
        "every record needs a label",
        "drop these rows; a missing label is no class",
    )
    if values.str.fullmatch(_WHOLE).all():
        values = values.str.partition(".")[0].map(int)
        names = sorted(values.unique().tolist())
        _whole_in_range(values, names, file, column)
    else:
        number = pd.to_numeric(values, errors="coerce")
        checks.fail_rows(
            (number.notna() & (number % 1 != 0)) if number.notna().all() else [],
            file,
            column,
            "not a whole number",
            "a label names a class; a measured quantity is none",
            "cut it into classes, e.g. 0 below and 1 above a threshold",
        )
        names = sorted(values.unique().tolist())
    codes = values.map({name: code for code, name in enumerate(names)})
    if task == "binary":
        rare = values.value_counts().index[2:]
        checks.fail_rows(
            values.isin(rare),
            file,
            column,
            f"label {checks.shown(values[values.isin(rare)])} out of range",
            f"a binary task has two classes, found {len(names)}",
            "drop or recode these rows, or use --config.data.task=multiclass",
        )
    return codes.to_numpy(np.int32), tuple(map(str, names))


def _whole_in_range(
    values: pd.Series, names: list[int], file: str, column: str
) -> None:
    """Three or more whole numbers count from 0 or 1; any two numbers are classes."""
    start = 1 if names[0] == 1 else 0
    outside = ~values.between(start, start + len(names) - 1)
    checks.fail_rows(
        outside if len(names) > 2 else [],
        file,
        column,
        f"label {checks.shown(values[outside])} out of range",
        f"{len(names)} classes are numbered {start}..{start + len(names) - 1}",
        "drop or recode these rows (-1 often means unknown), or use text as labels",
    )


def enough(
    labels: np.ndarray,
    names: tuple[str, ...],
    file: str,
    column: str,
    owner: np.ndarray,
    is_pool: np.ndarray,
) -> None:
    """Raises unless each of two or more classes has two patients in the pool.

    Args:
      labels: [records] int, number of the class.
      names: [classes].
      file: name of the file.
      column: name of the label column.
      owner: [records] int, number of the patient.
      is_pool: [records] bool, True = not held out.
    """
    validate.require(
        len(names) >= 2,
        f"{file}, column {column!r}: only one class, {names[0]!r}",
        "a model needs records of at least two classes",
        "choose another label column",
    )
    pairs = pd.DataFrame({"label": labels, "owner": owner})[is_pool].drop_duplicates()
    patients = np.bincount(pairs["label"], minlength=len(names))
    lonely = patients < 2
    checks.fail_rows(
        lonely[labels],
        file,
        column,
        f"class {validate.listing(repr(names[k]) for k in np.flatnonzero(lonely))}"
        f" has {patients.min()} patient in the pool",
        "a class needs two patients that are not held out: one in, one out of a model",
        "drop these rows, join the class to another, or change the split",
    )
