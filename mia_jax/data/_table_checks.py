"""Checks of a table's columns that name file, column, rows and remedy.

Rows are counted as a reader does: the first data row is 1. All columns here are text
(`_table_file.read`) unless stated; "" is a missing cell.
"""

import numpy as np
import pandas as pd

from mia_jax import validate

_NO_ID = frozenset(["", "nan", "na", "n/a", "#n/a", "none", "null", "<na>"])
_NO_VALUE = frozenset(["", "nan", "<na>", "null"])
# "12.0" or "1.2e+09": a whole number that was read as a decimal one.
_FLOAT_ID = r"[+-]?\d+\.0+|[+-]?\d+(?:\.\d+)?[eE]\+\d+"
_SPLIT_WORDS = {"test": True, "train": False, "pool": False}
# A float32 input holds less than 3e38, its square in a loss must stay finite.
_LARGEST = 1e15


def fail_rows(
    bad: pd.Series | np.ndarray,
    file: str,
    column: str,
    problem: str,
    rule: str,
    remedy: str,
) -> None:
    """Raises if any row is bad, naming the first few."""
    rows = np.flatnonzero(np.asarray(bad)) + 1
    if len(rows):
        noun = "row" if len(rows) == 1 else "rows"
        where = f"{file}, column {column!r}, {noun} {validate.listing(rows)}"
        raise validate.InputError(f"{where}: {problem}", rule, remedy)


def shown(values: pd.Series) -> str:
    """The first different values, quoted."""
    return validate.listing(map(repr, pd.unique(values)), 3)


def is_missing(values: pd.Series) -> pd.Series:
    """[records] bool, True = no value in a label or group cell."""
    return values.str.lower().isin(_NO_VALUE)


def ids(values: pd.Series, file: str, column: str) -> None:
    """Raises if an id is missing or was read as a decimal number."""
    fail_rows(
        values.str.lower().isin(_NO_ID),
        file,
        column,
        "no id",
        "every row needs the ids of its record and its patient",
        "fill in the ids, or drop these rows",
    )
    is_float = values.str.fullmatch(_FLOAT_ID)
    fail_rows(
        is_float,
        file,
        column,
        f"{shown(values[is_float])} is a decimal number",
        "an id is text or a whole number; as a decimal it may have lost digits",
        "read the column as text before saving, e.g. pd.read_csv(..., dtype=str)",
    )


def unique(values: pd.Series, file: str, column: str) -> None:
    """Raises if a record id occurs twice."""
    twice = values.duplicated(keep=False)
    fail_rows(
        twice,
        file,
        column,
        f"record id {shown(values[twice])} more than once",
        "every record needs an id of its own",
        "drop repeated rows, or number the records of a patient",
    )


def same_within(
    values: pd.Series, file: str, column: str, owner: np.ndarray, names: np.ndarray
) -> None:
    """Raises if values differ between the rows of one owner.

    Args:
      values: [records], of any type.
      file: name of the file.
      column: name of the column.
      owner: [records] int, number of the patient or household of each row.
      names: [owners] str.
    """
    differs = values.groupby(owner).transform("nunique") > 1
    who = pd.unique(names[owner[differs]])
    fail_rows(
        differs,
        file,
        column,
        f"differs within {validate.listing(map(repr, who), 3)}"
        f" ({shown(values[differs])})",
        "must be the same in all rows of a patient or household",
        "correct these rows; for a value that changes, use the one at entry",
    )


def test_rows(values: pd.Series, file: str, column: str) -> pd.Series:
    """[records] bool, True = held out; raises for a word that is not known."""
    words = values.str.lower()
    unknown = ~words.isin(list(_SPLIT_WORDS))
    fail_rows(
        unknown,
        file,
        column,
        f"{shown(values[unknown])} is no side of the split",
        f"known words: {', '.join(_SPLIT_WORDS)}",
        "recode the column (a validation set may join the training side)",
    )
    return words == "test"


def numbers(
    table: pd.DataFrame, columns: list[str], file: str, is_pool: np.ndarray
) -> np.ndarray:
    """The feature columns as numbers.

    Args:
      table: as read, any types.
      columns: names of the features.
      file: name of the file.
      is_pool: [records] bool, True = not held out.

    Returns:
      [records, features] float64, finite, none constant in the pool.
    """
    inputs = np.empty((len(table), len(columns)))
    for place, column in enumerate(columns):
        inputs[:, place] = _number(table[column], file, column)
    pool = inputs[is_pool]
    constant = pool.min(axis=0) == pool.max(axis=0)
    named = [repr(c) for c, is_constant in zip(columns, constant) if is_constant]
    validate.require(
        not named,
        f"{file}, column {validate.listing(named)}: one value in all rows of the pool",
        "a feature must vary among the records that are not held out",
        "leave it out: --config.data.ignore=COLUMN",
    )
    return inputs


def _number(values: pd.Series, file: str, column: str) -> np.ndarray:
    number = pd.to_numeric(values, errors="coerce").astype(float)
    text = number.isna() & values.notna() & (values.astype(str) != "")
    all_text = text.sum() == values.notna().sum()
    fail_rows(
        text,
        file,
        column,
        f"{shown(values[text])} is not a number",
        "features are numbers" + (", and this column is text" if all_text else ""),
        "one-hot encode it (pd.get_dummies), or name it in data.groups or data.ignore"
        if all_text
        else "correct these cells; impute missing values and flag them in a column",
    )
    fail_rows(
        ~(number.abs() < _LARGEST),
        file,
        column,
        "empty, infinite or beyond 1e15",
        "features must be finite numbers",
        "impute missing values and flag them in a column of 0 and 1, or drop the rows",
    )
    return number.to_numpy()
