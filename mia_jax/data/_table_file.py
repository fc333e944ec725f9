"""Reading a table so that ids stay text, with every failure named."""

import importlib.util
import pathlib
import warnings
import zlib
from typing import NamedTuple

import pandas as pd

from mia_jax import validate

# What exports write for a missing number.
_MISSING = ["", "NA", "N/A", "#N/A", "nan", "NaN", "null", "NULL", "None", "<NA>"]
_READERS = {".csv": "csv", ".csv.gz": "csv", ".parquet": "parquet"}
_UNREADABLE = (OSError, EOFError, ValueError, pd.errors.ParserWarning, zlib.error)


class Source(NamedTuple):
    """A table that was read.

    Attributes:
      name: the file's name, for messages.
      table: one row per record; text columns hold str, "" where the cell was empty;
        feature columns as they came.
      features: the input columns, in the file's order.
    """

    name: str
    table: pd.DataFrame
    features: list[str]


def read(
    path: str, text: list[str], features: tuple[str, ...], ignore: tuple[str, ...]
) -> Source:
    """Reads the columns that are needed.

    Args:
      path: .csv, .csv.gz or .parquet.
      text: columns to read as text.
      features: input columns; () = all columns not in `text` or `ignore`.
      ignore: columns to leave out.

    Returns:
      The table.

    Raises:
      InputError: no such file, another format, damaged, empty, a column missing or
        named twice.
    """
    file = pathlib.Path(path).expanduser()
    kind = _kind(file, path)
    try:
        header = _csv_header(file) if kind == "csv" else _parquet_header(file)
        _check_header(file.name, header, [*text, *features, *ignore])
        others = [c for c in header if c not in text and c not in ignore]
        used = list(features) or others
        needed = list(dict.fromkeys([*text, *used]))
        if kind == "csv":
            table = _read_csv(file, needed, text)
        else:
            table = pd.read_parquet(file, columns=needed)
    except _UNREADABLE as error:
        if isinstance(error, validate.InputError):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise validate.InputError(
            f"{file.name} cannot be read as {kind}: {reason}",
            "must be a whole file: comma-separated UTF-8 text, or Parquet",
            "export the table again, e.g. table.to_csv(path, index=False)",
        ) from error
    validate.require(
        len(table) > 0,
        f"{file.name} has no data rows",
        "needs one row per record below the header",
        "check the export and its filters",
    )
    validate.require(
        bool(used),
        f"{file.name} has no feature column",
        "needs at least one column beside ids, label, split and groups",
        "add columns, or name them in --config.data.features",
    )
    table = table.reset_index(drop=True)
    for column in text:
        table[column] = _as_text(table[column])
    return Source(file.name, table, used)


def _kind(file: pathlib.Path, path: str) -> str:
    validate.require(
        path != "",
        "data.path is empty",
        "the source 'table' reads a file",
        "set --config.data.path=FILE.csv",
    )
    validate.require(
        file.is_file(),
        f"{path} {'is a folder' if file.is_dir() else 'does not exist'}",
        "data.path must be a .csv, .csv.gz or .parquet file",
        f"looked from {pathlib.Path.cwd()}: correct --config.data.path",
    )
    kind = next((k for end, k in _READERS.items() if file.name.endswith(end)), None)
    validate.require(
        kind is not None,
        f"{file.name} is of an unknown type",
        f"data.path must end in {', '.join(_READERS)}",
        "save the table as CSV",
    )
    validate.require(
        kind != "parquet" or importlib.util.find_spec("pyarrow") is not None,
        f"{file.name}: Parquet needs the package pyarrow",
        "it is not installed",
        "run: pip install pyarrow, or save the table as CSV",
    )
    return kind


def _csv_header(file: pathlib.Path) -> list[str]:
    try:
        row = pd.read_csv(
            file,
            header=None,
            nrows=1,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
        )
    except pd.errors.EmptyDataError:
        raise validate.InputError(
            f"{file.name} is empty",
            "needs a header line and one row per record",
            "check the export",
        ) from None
    return row.iloc[0].tolist()


def _parquet_header(file: pathlib.Path) -> list[str]:
    import pyarrow.parquet

    return pyarrow.parquet.read_schema(file).names


def _check_header(name: str, header: list[str], wanted: list[str]) -> None:
    unnamed = [i + 1 for i, column in enumerate(header) if not column.strip()]
    validate.require(
        not unnamed,
        f"{name}, column number {validate.listing(unnamed)} has no name",
        "every column needs a name; a nameless one is often a row index",
        "remove it: table.to_csv(path, index=False)",
    )
    twice = sorted({column for column in header if header.count(column) > 1})
    validate.require(
        not twice,
        f"{name}, column {validate.listing(twice)} occurs twice",
        "every column name must be unique",
        "rename or remove one of them",
    )
    missing = [column for column in wanted if column not in header]
    validate.require(
        not missing,
        f"{name} has no column {validate.listing(map(repr, missing))}",
        f"found: {validate.listing(header, 12)}",
        "name your columns by --config.data.record, .patient, .label, .split, .unit,"
        " .features, .groups, .ignore (CSV: separated by commas)",
    )


def _read_csv(file: pathlib.Path, needed: list[str], text: list[str]) -> pd.DataFrame:
    with warnings.catch_warnings():
        # A first row with more cells than the header would only warn and be cut.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        # Not by `usecols`: with it, longer rows are cut without a word.
        table = pd.read_csv(
            file,
            dtype=dict.fromkeys(text, str),
            # Text as it stands: "NA" may be a group, and an id is never a number.
            keep_default_na=False,
            na_values={column: _MISSING for column in needed if column not in text},
            index_col=False,
            encoding="utf-8-sig",
            low_memory=False,
        )
    return table[needed]


def _as_text(column: pd.Series) -> pd.Series:
    """Python strings without outer blanks; "" for a missing cell."""
    values = column.astype(object)
    return values.where(column.notna(), "").map(str).str.strip().astype(object)
