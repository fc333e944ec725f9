"""What later stages need of a data set and its masks: a run's `cohort.pkl`."""

import hashlib
import pathlib
from typing import Any

import numpy as np

from mia_jax import contracts, masks, results, validate

FILE = "cohort.pkl"
_ARRAYS = (
    "labels",
    "record_ids",
    "patient_ids",
    "patient_of_record",
    "is_test",
    "unit_of_patient",
)


def save(
    folder: pathlib.Path, dataset: contracts.Dataset, keep_inputs: bool = False
) -> None:
    """Writes a data set, without its inputs by default; the same bytes every time."""
    content: dict[str, Any] = {name: getattr(dataset, name) for name in _ARRAYS}
    if keep_inputs:
        content["inputs"] = dataset.inputs
    for name in ("name", "title", "task", "unit"):
        content[name] = getattr(dataset, name)
    content["class_names"] = list(dataset.class_names)
    content["groups"] = dataset.groups
    results.save(folder / FILE, {"schema": "mia_jax.cohort/1", **content})


def load(folder: pathlib.Path) -> contracts.Dataset:
    """Reads `cohort.pkl` back; inputs that are not there have shape [records, 0].

    Raises:
      InputError: if the folder holds no trained run.
    """
    validate.require(
        (folder / FILE).exists(),
        f"{folder / FILE} is missing",
        "a run must be trained before it is scored",
        "run: python -m experiments.train --config=... --workdir=... first",
    )
    content = results.load(folder / FILE)
    content.pop("schema")
    content["class_names"] = tuple(content["class_names"])
    nothing = np.empty((len(content["labels"]), 0), np.float32)
    return contracts.Dataset(**{"inputs": nothing, **content})


def fingerprint(dataset: contracts.Dataset) -> str:
    """sha256 of everything in a data set, the same on every platform."""
    digest = hashlib.sha256()
    for name in ("inputs", "labels", "patient_of_record", "is_test", "unit_of_patient"):
        array = np.ascontiguousarray(getattr(dataset, name))
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    texts = [dataset.name, dataset.task, *dataset.class_names]
    texts += [*dataset.record_ids, *dataset.patient_ids, *dataset.groups.columns]
    for column in dataset.groups:
        texts += list(dataset.groups[column])
    digest.update("\0".join(map(str, texts)).encode())
    return digest.hexdigest()


def new_block(
    dataset: contracts.Dataset, seed: int, block: int, num_models: int, design: str
) -> dict[str, Any]:
    """The stored description of a block of models; its mask is drawn again from it."""
    mask = _draw(dataset, seed, block, num_models, design)
    return {
        "num_models": num_models,
        "design": design,
        "unit": dataset.unit,
        "mask_sha256": masks.fingerprint(mask),
    }


def member_mask(
    dataset: contracts.Dataset, seed: int, blocks: list[dict[str, Any]]
) -> np.ndarray:
    """Draws the masks of all blocks again.

    Args:
      dataset: with or without inputs.
      seed: of the run.
      blocks: as `new_block` describes them, in order.

    Returns:
      [models, patients] bool over all patients; False for test patients.

    Raises:
      InputError: if a mask differs from the one the models were trained under.
    """
    rows = []
    for number, block in enumerate(blocks):
        mask = _draw(dataset, seed, number, block["num_models"], block["design"])
        validate.require(
            masks.fingerprint(mask) == block["mask_sha256"],
            f"mask of block {number}",
            "is not the one that its models were trained under",
            "use the package versions of the run, or start a new --workdir",
        )
        rows.append(mask)
    return np.concatenate(rows)


def _draw(dataset, seed, block, num_models, design) -> np.ndarray:
    pool = np.flatnonzero(~dataset.is_test)
    units, unit_of_pool = np.unique(dataset.unit_of_patient[pool], return_inverse=True)
    by_unit = masks.draw(num_models, len(units), seed, block, design)
    mask = np.zeros((num_models, dataset.num_patients), bool)
    mask[:, pool] = by_unit[:, unit_of_pool]
    return mask


def block_sizes(
    blocks: list[dict[str, Any]], num_models: int, design: str
) -> list[int]:
    """The blocks of a run that shall have `num_models` models.

    More models than there are form a new block. Fewer are read if they are whole
    blocks; nothing is ever deleted.

    Args:
      blocks: as stored; [] for a new run.
      num_models: wanted.
      design: of the masks.

    Returns:
      Number of models of each block.
    """
    sizes = [block["num_models"] for block in blocks]
    totals = [int(total) for total in np.cumsum(sizes)]
    if num_models > sum(sizes):
        added = num_models - sum(sizes)
        masks.check_block(added, design)
        return [*sizes, added]
    validate.require(
        num_models in totals,
        f"train.num_models={num_models}",
        f"this run was planned with {sum(sizes)} models, in blocks of {sizes}",
        f"use one of {totals} or more; a part of a block has no balanced masks",
    )
    return sizes[: totals.index(num_models) + 1]


def planned_blocks(
    dataset: contracts.Dataset,
    seed: int,
    blocks: list[dict[str, Any]],
    sizes: list[int],
    design: str,
) -> list[dict[str, Any]]:
    """The stored blocks of `sizes` and descriptions of those to come."""
    new = [
        new_block(dataset, seed, number, sizes[number], design)
        for number in range(len(blocks), len(sizes))
    ]
    return [*blocks, *new][: len(sizes)]
