"""A DataFrame as a dict of builtins and arrays, and back, under any pandas.

    {"__table__": 1, "num_rows": n, "columns": {name: column},
     "categories": {name: {"names": column, "ordered": bool}},
     "index": None | [column, ...], "index_names": [str | None, ...]}

A column is an array of numbers or a list of strings with None where a value is missing;
of a categorical it is the array of codes, -1 where missing. Text comes back as the text
type of the pandas that reads it: `str` from pandas 3 on, else `object`.
"""

from typing import Any

import numpy as np
import pandas as pd

from mia_jax import validate

MARK = "__table__"
_VERSION = 1
_FIELDS = {MARK, "num_rows", "columns", "categories", "index", "index_names"}


def encode(frame: pd.DataFrame, key: str) -> dict[str, Any]:
    """The dict of a frame; the label of its column axis and its attrs are not kept.

    Args:
      frame: unique string column names; columns and index of bool, int, float, complex,
        text (missing allowed) or, columns only, categories of these.
      key: name of the frame, for messages.

    Raises:
      validate.InputError: another column type, dates included; names the column.
    """
    _check_names(frame, key)
    columns, categories = {}, {}
    for name in frame.columns:
        series = frame[name]
        if isinstance(series.dtype, pd.CategoricalDtype):
            names = _column(series.cat.categories, f"{key}.{name} (categories)")
            ordered = bool(series.cat.ordered)
            categories[name] = {"names": names, "ordered": ordered}
            series = series.cat.codes
        columns[name] = _column(series, f"{key}.{name}")
    index = _index(frame.index, key)
    return {
        MARK: _VERSION,
        "num_rows": len(frame),
        "columns": columns,
        "categories": categories,
        "index": index,
        "index_names": list(frame.index.names),
    }


def _check_names(frame: pd.DataFrame, key: str) -> None:
    names = list(frame.columns)
    odd = [name for name in names if not isinstance(name, str) or name == MARK]
    validate.require(
        not odd and frame.columns.is_unique,
        f"{key} has the columns {validate.listing(map(repr, odd or names))}",
        "column names of a table must be unique strings",
        "rename the columns, e.g. frame.columns.map(str)",
    )
    odd = [name for name in frame.index.names if not isinstance(name, str | None)]
    validate.require(
        not odd,
        f"{key} has the index names {validate.listing(map(repr, odd))}",
        "index names must be strings",
        "rename the index, e.g. frame.rename_axis",
    )


def _index(index: pd.Index, key: str) -> list | None:
    """None for 0, 1, 2, ..., else one column per level."""
    if isinstance(index, pd.RangeIndex) and index.equals(pd.RangeIndex(len(index))):
        return None
    levels = [index.get_level_values(i) for i in range(index.nlevels)]
    return [_column(level, f"{key} (index {i})") for i, level in enumerate(levels)]


def _column(values: pd.Series | pd.Index, key: str) -> np.ndarray | list:
    """Numbers as an array, text as a list with None."""
    dtype = values.dtype
    if isinstance(dtype, pd.StringDtype) or dtype == np.dtype(object):
        return _text(values, key)
    if isinstance(dtype, np.dtype):
        is_number = dtype.kind in "biufc"
    else:  # nullable numbers are stored as plain ones where nothing is missing
        is_number = pd.api.types.is_numeric_dtype(dtype) and not values.hasnans
    validate.require(
        is_number,
        f"{key} is of type {dtype}",
        "columns hold bool, int, float, text or categories of these",
        "write dates as text (.astype(str)), nullable numbers as floats",
    )
    return values.to_numpy()


def _text(values: pd.Series | pd.Index, key: str) -> list:
    cells = []
    for row, cell in enumerate(values):
        if isinstance(cell, str):
            cells.append(str(cell))
        elif cell is None or cell is pd.NA or (type(cell) is float and cell != cell):
            cells.append(None)
        else:
            raise validate.InputError(
                f"{key}: row {row} is {cell!r} of type {type(cell).__name__}",
                "an object column must hold strings or missing values",
                "convert the column, e.g. .astype(str) or .astype(float)",
            )
    return cells


def decode(table: dict[str, Any]) -> pd.DataFrame:
    """The frame of a dict of plain values from anywhere.

    Raises:
      ValueError: not the dict of a frame (and what pandas raises).
    """
    _check(set(table) == _FIELDS and table[MARK] == _VERSION, "fields")
    columns, categories, num_rows = (
        table[name] for name in ("columns", "categories", "num_rows")
    )
    _check(type(columns) is dict and type(categories) is dict, "columns")
    _check(type(num_rows) is int and 0 <= num_rows < 2**48, "num_rows")
    _check(set(categories) <= set(columns), "categories")
    data = {
        name: _categorical(column, categories[name])
        if name in categories
        else _values(column)
        for name, column in columns.items()
    }
    _check(all(len(column) == num_rows for column in data.values()), "column lengths")
    return pd.DataFrame(data, index=_decode_index(table, num_rows))


def _check(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(f"a table with odd {what}")


def _values(column: Any) -> Any:
    """One column as an array of NumPy or pandas."""
    if type(column) is np.ndarray:
        _check(column.ndim == 1 and column.dtype.kind in "biufc", "arrays")
        return column
    _check(type(column) is list, "columns")
    _check(all(cell is None or type(cell) is str for cell in column), "text")
    if int(pd.__version__.split(".")[0]) >= 3:
        return pd.array(column, dtype="str")
    array = np.empty(len(column), object)
    array[:] = column
    return array


def _categorical(codes: Any, category: Any) -> pd.Categorical:
    _check(type(category) is dict and set(category) == {"names", "ordered"}, "names")
    _check(type(category["ordered"]) is bool, "order")
    _check(type(codes) is np.ndarray and codes.dtype.kind == "i", "codes")
    _check(codes.ndim == 1, "codes")
    names = pd.Index(_values(category["names"]))
    return pd.Categorical.from_codes(codes, names, ordered=category["ordered"])


def _decode_index(table: dict[str, Any], num_rows: int) -> pd.Index:
    index, names = table["index"], table["index_names"]
    _check(type(names) is list and len(names) > 0, "index names")
    _check(all(name is None or type(name) is str for name in names), "index names")
    if index is None:
        _check(len(names) == 1, "index names")
        return pd.RangeIndex(num_rows, name=names[0])
    _check(type(index) is list and len(index) == len(names), "index")
    levels = [pd.Index(_values(level)) for level in index]
    _check(all(len(level) == num_rows for level in levels), "index lengths")
    if len(levels) == 1:
        return levels[0].rename(names[0])
    return pd.MultiIndex.from_arrays(levels, names=names)
