"""Where predictions are read from: one file per layout, found by its name.

A file `mia_jax/layouts/NAME.py` offers

    is_layout(folder: pathlib.Path) -> bool     whether the folder looks like it
    load(folder: pathlib.Path) -> Export        reads it; checks of content follow later

docs/predictions.md shows a folder of each.
"""

import pathlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mia_jax import _prediction_checks as checks
from mia_jax import config, validate


class Export(NamedTuple):
    """Predictions as they were found, not checked yet.

    Attributes:
      values: [models, records(, views), outputs] logits, or a statistic [models,
        records(, views or labels)]; an array, one mapped into memory, or `Rows`.
      member_mask: [models, records], True or 1 = trained on.
      labels: [records], or [records, labels] for "multilabel".
      records: one row per record with `record`, `patient_id` and group columns; None =
        every record is a patient.
      is_logits: whether `values` are logits.
      about: what else is known, as in task.json: task, title, design, blocks.
      metrics: usefulness of the models, where it is known; {} = computed.
      features: [records, features] or None.
      names: what messages call each of these.
    """

    values: Any
    member_mask: np.ndarray
    labels: np.ndarray
    records: pd.DataFrame | None
    is_logits: bool
    about: dict[str, Any]
    metrics: dict[str, Any]
    features: np.ndarray | None
    names: checks.Names


class Rows:
    """[models, ...] read one model at a time: one file each, too large together.

    Attributes:
      shape, ndim, dtype: as of an array.
    """

    def __init__(self, read_fn: Callable[[int], np.ndarray], sources: list[str]):
        """Reads the first model for the shape.

        Args:
          read_fn: model -> its array [records, ...].
          sources: [models] where each lies, for messages.
        """
        self._read_fn, self._sources = read_fn, sources
        first = read_fn(0)
        self.shape = (len(sources), *first.shape)
        self.ndim, self.dtype = len(self.shape), first.dtype

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, model: int) -> np.ndarray:
        value = self._read_fn(model)
        validate.require(
            value.shape == self.shape[1:],
            f"{self._sources[model]} is {list(value.shape)}",
            f"must be {list(self.shape[1:])}, as {self._sources[0]}",
            "export every model on the same records, in the same order",
        )
        return value

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[model] for model in range(len(self)))


def find(folder: pathlib.Path) -> ModuleType:
    """The layout of a folder.

    Raises:
      InputError: if it has none, or could be read as two.
    """
    modules = {name: config.find("layouts", name) for name in config.names("layouts")}
    fitting = [name for name, module in modules.items() if module.is_layout(folder)]
    validate.require(
        bool(fitting),
        f"{folder} holds no predictions: logits.npy is missing, for example",
        f"known layouts: {', '.join(modules)}",
        "write one of them as docs/predictions.md shows",
    )
    validate.require(
        len(fitting) == 1,
        f"{folder} holds several layouts: {', '.join(fitting)}",
        "a folder is read as one export",
        "move the files of the others to a folder of their own",
    )
    return modules[fitting[0]]
