"""Files that layouts share: arrays mapped into memory, JSON, tables; named if bad."""

import json
import pathlib
from typing import Any

import numpy as np
import pandas as pd
from absl import logging

from mia_jax import validate


def array(path: pathlib.Path, needed: str, remedy: str) -> np.ndarray:
    """A `.npy` file, mapped into memory.

    Args:
      path: the file.
      needed: what the layout consists of, for the message if the file is missing.
      remedy: what to do then.
    """
    validate.require(path.exists(), f"{path} is missing", needed, remedy)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise validate.InputError(
            f"{path}: {error or 'is empty'}",
            "must be one array of numbers",
            "write it by numpy.save, without object arrays",
        ) from None


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """The object in a JSON file; {} if there is no such file."""
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
    except ValueError as error:  # of text and of JSON
        raise validate.InputError(
            f"{path.name}: {error}", "must be JSON", "write it with a JSON library"
        ) from None
    validate.require(
        isinstance(found, dict),
        f"{path.name} holds a {type(found).__name__}",
        "must be a JSON object",
        'write it as {"task": "binary"}',
    )
    return found


def text_table(path: pathlib.Path) -> pd.DataFrame:
    """A CSV table with every cell as text: ids keep their leading zeros."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise validate.InputError(
            f"{path}: {error}", "must be a CSV table in UTF-8", "export it again"
        ) from None


def records(folder: pathlib.Path) -> pd.DataFrame | None:
    """records.csv, if there is one."""
    path = folder / "records.csv"
    return text_table(path) if path.exists() else None


def finished(
    folders: list[pathlib.Path], needed: tuple[str, ...], root: pathlib.Path
) -> list[pathlib.Path]:
    """The folders of models that are complete; tells in the log which are left out.

    Args:
      folders: one per model.
      needed: names that each must hold.
      root: of all, for the message.

    Raises:
      InputError: if none is complete.
    """
    is_whole = [all((f / name).exists() for name in needed) for f in folders]
    whole = [f for f, ok in zip(folders, is_whole, strict=True) if ok]
    left_out = [f.name for f, ok in zip(folders, is_whole, strict=True) if not ok]
    validate.require(
        bool(whole),
        f"{root}: none of {validate.listing(left_out)} is complete",
        f"the folder of a model holds {' and '.join(needed)}",
        "finish training and inference first",
    )
    if left_out:
        logging.warning(
            "%s: %d of %d models are left out, %s: no %s",
            root,
            len(left_out),
            len(folders),
            validate.listing(left_out),
            " or no ".join(needed),
        )
    return whole
