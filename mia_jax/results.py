"""Result files: safe pickles, JSON and CSV, each written whole or not at all.

    content = {"schema": "mia_jax.patients/1", "table": frame, "provenance": {...}}
    results.save("runs/a/patients.pkl", content)
    results.load("runs/a/patients.pkl")["table"]    # a DataFrame
    results.load("runs/a")["patients"]              # the same, from the run folder

A pickle of ours opens with plain `pickle.load` under any pandas and NumPy; `load` opens
a stranger's file too: it runs nothing and refuses what `save` would not write.
"""

import os
import pathlib
import pickle
from typing import Any

import numpy as np
import pandas as pd

from mia_jax import _files, _npy, _pickle, validate

# The files of a finished run that `load(folder)` reads, and what each one holds.
KINDS = {
    "patients": "table",
    "records": "table",
    "groups": "table",
    "curves": "tables",
}
_VERSION = 2
# Columns of the result tables, which no group attribute may be named after.
RESERVED = frozenset(
    [
        *("record", "label", "patient_id", "num_records", "num_in", "num_out"),
        *("auc", "auc_se", "auc_mask_free", "auc_low", "auc_high", "auc_max_record"),
        *("p_value", "q_value", "p_holm", "is_proven", "is_proven_holm"),
        *("interval_level", "tpr_at_10", "tpr_at_1", "auc_worst_record", "q_storey"),
    ]
)


class DamagedFileError(validate.InputError, pickle.UnpicklingError):
    """A result file that is cut short, altered, or not ours."""


def schema(kind: str) -> str:
    """The schema of a kind of file at this version: "mia_jax.patients/1"."""
    return f"mia_jax.{kind}/{_VERSION}"


def save(path: str | os.PathLike[str], content: dict[str, Any]) -> None:
    """Writes a result pickle, in place of any older one; makes its folders.

    Args:
      path: file name, by habit ending in .pkl.
      content: dict with string keys of None, bool, int, float, str, bytes, dict, list,
        np.ndarray of numbers or text, pd.DataFrame. NumPy scalars come back as
        builtins, tuples as lists.

    Raises:
      validate.InputError: anything else, dates included; names the key.
    """
    validate.require(
        type(content) is dict,
        f"content is a {type(content).__name__}",
        "a result file holds a dict",
        'write {"schema": ..., "table": ..., "provenance": ...}',
    )
    _files.write(path, _pickle.dumps(content))


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a result pickle, or all results of a run folder.

    Args:
      path: a file of `save`, or the folder of a finished run.

    Returns:
      For a file, its content: numbers as writable arrays, tables as DataFrames (text in
      the text type of the installed pandas). For a folder, those present of "summary"
      (the dict of summary.json), "patients", "records", "groups" (a DataFrame each) and
      "curves" (a dict of DataFrames).

    Raises:
      DamagedFileError: a file that `save` does not write, whoever wrote it; it is both
        an `InputError` and a `pickle.UnpicklingError`.
      validate.InputError: nothing to read there, or another schema version.
    """
    path = pathlib.Path(path)
    return _load_run(path) if path.is_dir() else _load_file(path)


def _load_file(path: pathlib.Path) -> dict[str, Any]:
    try:
        return _pickle.loads(path.read_bytes())
    except _pickle.DamagedError as error:
        raise DamagedFileError(
            f"{path}: {error}",
            "must be a whole result file of mia_jax",
            "write it again from the run, or ask its sender for a new copy",
        ) from error
    except OSError as error:
        raise validate.InputError(
            f"{path}: {error.strerror}",
            "must be a result file or the folder of a finished run",
            "check the path",
        ) from error


def _load_run(folder: pathlib.Path) -> dict[str, Any]:
    found = {}
    if (folder / "summary.json").exists():
        found["summary"] = _files.read_json(folder / "summary.json")
    for kind, field in KINDS.items():
        path = folder / f"{kind}.pkl"
        if path.exists():
            found[kind] = _field(_load_file(path), kind, field, path)
    validate.require(
        bool(found),
        f"{folder} holds no results",
        "the folder of a finished run has summary.json and patients.pkl",
        "finish the run first, or check the path",
    )
    return found


def _field(content: dict[str, Any], kind: str, field: str, path: pathlib.Path) -> Any:
    """The table or tables of a file, if it is of the kind its name says."""
    value = content.get(field)
    is_right = type(value) is (pd.DataFrame if field == "table" else dict)
    validate.require(
        content.get("schema") == schema(kind) and is_right,
        f"{path}: schema {content.get('schema')!r}",
        f"must be {schema(kind)!r} with a {field!r}",
        "read it with the version of mia_jax that wrote it, or write it again",
    )
    return value


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes UTF-8 JSON, in place of any older file; NumPy scalars become builtins.

    Raises:
      validate.InputError: NaN, infinity (write None for "no value") or a type that JSON
        has not; names the key.
    """
    _files.write(path, _files.to_json(value, pathlib.Path(path).stem))


def write_csv(path: str | os.PathLike[str], frame: pd.DataFrame) -> None:
    """Writes UTF-8 CSV without the index, in place of any older file.

    Floats have the fewest digits that read back to the same number; missing is empty.
    """
    text = frame.to_csv(index=False, lineterminator="\n")
    _files.write(path, text.encode())


def write_array(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Writes a `.npy` file, in place of any older one; makes its folders.

    Raises:
      validate.InputError: a type that `np.load` does not read without pickle.
    """
    validate.require(
        _npy.is_storable(array),
        f"{path}: an array of {array.dtype}",
        "must be of a type that np.load reads without pickle",
        "convert it, e.g. np.asarray(x, np.float32)",
    )
    _files.write(path, *_npy.to_bytes(array))
