"""Tables that are joined by id: reading them as CSV or Parquet, and matching rows."""

import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from mia_jax import validate
from mia_jax.layouts import _files


def path(folder: pathlib.Path, name: str) -> pathlib.Path:
    """NAME.parquet if it is there, else NAME.csv."""
    parquet = folder / f"{name}.parquet"
    return parquet if parquet.exists() else folder / f"{name}.csv"


def table(folder: pathlib.Path, name: str, ids: Sequence[str]) -> pd.DataFrame:
    """A table as text, its id columns complete, the first of them unique.

    Raises:
      InputError: the file or an id column is missing, an id is empty or repeated.
    """
    file = path(folder, name)
    validate.require(
        file.exists(),
        f"{file} is missing",
        "needed: records, logits and members as .csv or .parquet; patients may be",
        "export it beside the others (docs/predictions.md)",
    )
    found = read(file, None)
    for column in ids:
        validate.require(
            column in found,
            f"{file.name} has columns {', '.join(found)}",
            f"must have a column {column}",
            f"name the {column} of every row there",
        )
        empty = np.flatnonzero(found[column] == "") + 1
        validate.require(
            not empty.size,
            f"{file.name}: {column} is empty in rows {validate.listing(empty)}",
            "every row needs it",
            "fill it, or leave the row out",
        )
    repeated = found[ids[0]][found[ids[0]].duplicated()]
    validate.require(
        repeated.empty,
        f"{file.name}: {ids[0]} {validate.listing(repeated)} twice",
        f"must have one row per {ids[0]}",
        "leave out the repeated rows",
    )
    return found


def match(
    wanted: pd.Series, given: pd.Series, noun: str, left: str, right: str
) -> np.ndarray:
    """For every wanted id its row in `given`; both must have the same ids.

    Args:
      wanted: [rows] ids, may repeat.
      given: [others] ids.
      noun: what they name, "patient" or "record".
      left, right: names of the two tables.

    Raises:
      InputError: naming ids that only one side has, or that `given` has twice.
    """
    wanted, given = pd.Index(wanted), pd.Index(given)
    sides = ((wanted, given, left, right), (given, wanted, right, left))
    for here, there, one, other in sides:
        alone = pd.unique(here[~here.isin(there)])
        validate.require(
            not len(alone),
            f"{noun} {validate.listing(alone)} of {one}",
            f"is missing in {other}: both must name the same {noun}s",
            "export both from one list; ids are compared as text",
        )
    twice = pd.unique(given[given.duplicated()])
    validate.require(
        not len(twice),
        f"{right}: {noun} {validate.listing(twice)} twice",
        f"must have one row per {noun}",
        "leave out the repeated rows",
    )
    return given.get_indexer(wanted)


def header(file: pathlib.Path) -> list[str]:
    """The column names of a file."""
    if file.suffix != ".parquet":
        # Of the file's first line alone.
        return list(_csv(file, nrows=0, dtype=str))
    return _parquet().read_schema(file).names


def read(file: pathlib.Path, columns: list[str] | None) -> pd.DataFrame:
    """Columns of a table (None = all) as text; empty where a value is missing."""
    if file.suffix != ".parquet":
        found = _files.text_table(file)
        _present(file, columns or [], list(found))
        return found[columns] if columns else found
    _present(file, columns or [], header(file))
    found = _parquet().read_table(file, columns=columns).to_pandas()
    return found.astype(object).where(found.notna(), "").astype(str)


def numbers(file: pathlib.Path, columns: list[str]) -> np.ndarray:
    """[rows, columns] float32; NaN where a cell is empty."""
    if file.suffix == ".parquet":
        read_table = _parquet().read_table
        found = read_table(file, columns=columns).to_pandas()
    else:
        types = dict.fromkeys(columns, np.float32)
        found = _csv(file, usecols=columns, dtype=types)
    return found[columns].to_numpy(np.float32)


def _csv(file: pathlib.Path, **options) -> pd.DataFrame:
    try:
        return pd.read_csv(file, **options)
    except (ValueError, OSError) as error:
        raise validate.InputError(
            f"{file}: {error}",
            "must be a CSV table of numbers with a decimal point",
            "export it again",
        ) from None


def _present(file: pathlib.Path, columns: list[str], found: list[str]) -> None:
    missing = [name for name in columns if name not in found]
    validate.require(
        not missing,
        f"{file.name} has columns {validate.listing(found)}",
        f"must have a column {validate.listing(missing)}",
        "export it again (docs/predictions.md)",
    )


def _parquet():
    try:
        import pyarrow.parquet
    except ImportError:
        raise validate.InputError(
            "pyarrow is not installed",
            "Parquet files are read with it",
            "pip install 'mia_jax[parquet]', or export CSV",
        ) from None
    return pyarrow.parquet
