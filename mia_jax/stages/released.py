"""A finished model in its folder: its weights, its description, its predictions."""

import contextlib
import hashlib
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
import scipy.special
from absl import logging

from mia_jax import _files, config, contracts, inference, rng, validate

MODEL, WEIGHTS = "model.json", "weights"
SCHEMA = "mia_jax.model/1"


class Released(NamedTuple):
    """A finished model.

    Attributes:
      model: the network.
      params: its weights, NumPy float32.
      about: what model.json holds.
    """

    model: contracts.Model
    params: contracts.Params
    about: dict[str, Any]


def digest(params: contracts.Params) -> str:
    """sha256 of names, shapes and bits of all weights."""
    found = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        leaf = np.ascontiguousarray(leaf)
        name = jax.tree_util.keystr(path)
        found.update(f"{name} {leaf.dtype.str} {leaf.shape}".encode())
        found.update(leaf.tobytes())
    return found.hexdigest()


def save_weights(path: pathlib.Path, params: contracts.Params) -> None:
    """Writes a checkpoint beside its name and renames it; waits for the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _checkpointer() as checkpointer:
        checkpointer.save(path.resolve(), params, force=True)
        checkpointer.wait_until_finished()


def load(folder: pathlib.Path) -> Released:
    """Reads a finished model back.

    Raises:
      InputError: no finished model there, or its files do not belong together.
    """
    validate.require(
        (folder / MODEL).exists(),
        f"{folder / MODEL} is missing",
        "a model must be trained before it predicts",
        "run: python -m experiments.train_private --config=... --workdir=... first",
    )
    about = _files.read_json(folder / MODEL)
    validate.require(
        isinstance(about, dict) and about.get("schema") == SCHEMA,
        f"{folder / MODEL}: another schema",
        f"must be {SCHEMA!r}",
        "read it with the version of mia_jax that wrote it",
    )
    options = about["model"]["options"].items()
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in options}
    plugin = config.Plugin(kind="models", name=about["model"]["name"], options=options)
    model = plugin.call(about["num_outputs"])
    inputs = np.zeros((1, *about["input_shape"]), np.float32)
    shapes = jax.eval_shape(model.init, rng.root(0), inputs)
    params = _load_weights(folder / WEIGHTS, shapes)
    validate.require(
        params is not None and digest(params) == about["weights_sha256"],
        f"{folder / WEIGHTS} is not what {MODEL} describes",
        "weights and description must be of one training",
        "restore the folder, or train into a new --workdir",
    )
    return Released(model, params, about)


def predict(
    released: Released, dataset: contracts.Dataset, record_chunk: int = 1024
) -> pd.DataFrame:
    """Predicted probabilities of all records of a cohort.

    Args:
      released: the model.
      dataset: the cohort, its inputs scaled as those that the model was trained on.
      record_chunk: records at a time.

    Returns:
      record_id, patient_id, is_test, and "p_<name>" of every class or label, float32.

    Raises:
      InputError: inputs or outputs that do not fit the model.
    """
    about = released.about
    _check_fits(about, dataset)
    logits = inference.of_one_model(
        released.model, record_chunk, released.params, dataset.inputs
    )
    chance = _probabilities(logits, dataset.task).astype(np.float32)
    owner = dataset.patient_of_record
    columns = {
        "record_id": dataset.record_ids,
        "patient_id": dataset.patient_ids[owner],
        "is_test": dataset.is_test[owner],
    }
    names = about["class_names"]
    return pd.DataFrame(
        columns | {f"p_{name}": chance[:, i] for i, name in enumerate(names)}
    )


@contextlib.contextmanager
def _checkpointer() -> Iterator[Any]:
    """Orbax's, closed at the end, without its forty lines of log."""
    from orbax import checkpoint  # a second to import

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with checkpoint.StandardCheckpointer() as checkpointer:
            yield checkpointer
    finally:
        logging.set_verbosity(before)


def _load_weights(path: pathlib.Path, shapes: Any) -> contracts.Params | None:
    """The weights; None where there are none that fit the network's tree."""
    target = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    with _checkpointer() as checkpointer:
        try:
            return checkpointer.restore(path.resolve(), target)
        except (FileNotFoundError, ValueError):  # the caller says what is wrong
            return None


def _check_fits(about: dict[str, Any], dataset: contracts.Dataset) -> None:
    shape, wanted = list(dataset.inputs.shape[1:]), about["input_shape"]
    validate.require(
        shape == wanted,
        f"{dataset.name}: inputs of shape {shape}",
        f"the model takes {wanted}, as in {about['cohort']}",
        "give the config that the model was trained with",
    )
    outputs = dataset.task, dataset.num_outputs
    validate.require(
        outputs == (about["task"], about["num_outputs"]),
        f"{dataset.name}: task {dataset.task}, {dataset.num_outputs} outputs",
        f"the model is for task {about['task']}, {about['num_outputs']} outputs",
        "give the config that the model was trained with",
    )


def _probabilities(logits: np.ndarray, task: contracts.Task) -> np.ndarray:
    """[records, classes or labels] float64; both classes of "binary"."""
    logits = np.asarray(logits, np.float64)
    if task == "multiclass":
        return scipy.special.softmax(logits, axis=1)
    chance = scipy.special.expit(logits)
    if task == "multilabel":
        return chance
    return np.concatenate([scipy.special.expit(-logits), chance], axis=1)
