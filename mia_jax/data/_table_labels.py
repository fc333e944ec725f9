"""A table's labels: a column of classes, or columns of findings, absent or present.

Errors name file, column, rows and remedy.
"""

import numpy as np
import pandas as pd

from mia_jax import validate
from mia_jax.data import _table_checks as checks

_WHOLE = r"[+-]?\d+(?:\.0+)?"
_MEANINGS = {"refuse": None, "negative": 0, "positive": 1}
_AS_UNCERTAIN = "as uncertain"


def check_options(columns: list[str], task: str, uncertain: str, blank: str) -> None:
    """Raises unless label columns, task and meanings of cells fit together."""
    validate.one_of("data.uncertain", uncertain, _MEANINGS)
    validate.one_of("data.blank", blank, (_AS_UNCERTAIN, *_MEANINGS))
    is_several = len(columns) > 1
    validate.require(
        task == "auto" or (task == "multilabel") == is_several,
        f"data.task={task}, data.label={','.join(columns)}",
        "multilabel needs two or more label columns, any other task exactly one",
        "name the columns by --config.data.label=A,B, or set --config.data.task=auto",
    )


def findings(values: pd.DataFrame, file: str, uncertain: str, blank: str) -> np.ndarray:
    """Label columns as 0 (absent) and 1 (present).

    Args:
      values: [records, labels] text: 0, 1, false, true, -1 or empty.
      file: name of the file.
      uncertain: what -1 means: refuse, negative or positive.
      blank: what an empty cell means: the same, or "as uncertain".

    Returns:
      [records, labels] int32.
    """
    meaning = {"uncertain": uncertain, "blank": blank}
    if blank == _AS_UNCERTAIN:
        meaning["blank"] = uncertain
    labels = np.empty(values.shape, np.int32)
    for place, column in enumerate(values):
        labels[:, place] = _finding(values[column], file, meaning)
    return labels


def _finding(values: pd.Series, file: str, meaning: dict[str, str]) -> np.ndarray:
    """One label column as 0 and 1."""
    words = values.str.lower().replace({"false": "0", "true": "1"})
    number = pd.to_numeric(words, errors="coerce")
    kinds = {"uncertain": number == -1, "blank": checks.is_missing(values)}
    column, known = str(values.name), number.isin([0, 1])
    for kind, rows in kinds.items():
        code = _MEANINGS[meaning[kind]]
        checks.fail_rows(
            rows if code is None else [],
            file,
            column,
            f"{kind} ({'-1' if kind == 'uncertain' else 'empty'})",
            "a finding is 0 (absent) or 1 (present)",
            f"set --config.data.{kind}=negative (or positive), or drop these rows",
        )
        # Where it is refused there are no such rows, and any number does.
        number, known = number.mask(rows, code or 0), known | rows
    checks.fail_rows(
        ~known,
        file,
        column,
        f"{checks.shown(values[~known])} is neither 0 nor 1",
        "a finding is 0 (absent) or 1 (present); -1 is uncertain, empty not mentioned",
        "recode these cells; for one label of many classes name a single column",
    )
    return number.to_numpy(np.int32)


def enough_findings(
    labels: np.ndarray,
    names: list[str],
    file: str,
    owner: np.ndarray,
    is_pool: np.ndarray,
) -> None:
    """Raises unless each finding is present in two patients of the pool, and absent.

    Args:
      labels: [records, labels] int, 0 or 1.
      names: [labels], the columns.
      file: name of the file.
      owner: [records] int, number of the patient.
      is_pool: [records] bool, True = not held out.
    """
    for name, label in zip(names, labels.T, strict=True):
        for value, word in ((1, "present"), (0, "absent")):
            number = len(np.unique(owner[is_pool & (label == value)]))
            validate.require(
                number >= 2,
                f"{file}, column {name!r}: {word} in {number} patients of the pool",
                "a finding must be present, and absent, in two patients that are not"
                " held out: one in, one out of a model",
                "leave the column out of data.label, or change the split",
            )


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
