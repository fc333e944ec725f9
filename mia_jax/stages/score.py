"""Stage 2: gathers the groups of a run into one folder of predictions."""

import pathlib
import time
from typing import Any

import numpy as np
import pandas as pd

from mia_jax import (
    _files,
    cohort,
    contracts,
    predictions,
    shadow,
    store,
    usefulness,
    validate,
)
from mia_jax.stages import protection

FOLDER = "predictions"


def gather(folder: pathlib.Path, num_models: int = 0) -> pathlib.Path:
    """Checks every group and writes `predictions/`: the interface of `predictions.py`.

    Args:
      folder: of a trained run.
      num_models: the first so many, whole blocks; 0 = all.

    Returns:
      The folder of predictions.

    Raises:
      InputError: naming groups that are missing or damaged.
    """
    begin = time.perf_counter()
    run, dataset = store.reopen(folder / store.FOLDER), cohort.load(folder)
    blocks = run.blocks()
    total = num_models or sum(block["num_models"] for block in blocks)
    sizes = cohort.block_sizes(blocks, total, blocks[0]["design"])
    manifests = _manifests(run, sizes)
    mask = cohort.member_mask(dataset, run.settings["seed"], blocks[: len(sizes)])
    pool = dataset.is_pool_record
    statistic = _statistic(run, manifests, pool)
    seconds = round(time.perf_counter() - begin, 2)
    about = _about(run, dataset, manifests, sizes, blocks[0]["design"])
    if (folder / protection.FILE).exists():
        about["guarantee"] = _files.read_json(folder / protection.FILE)
    out = folder / FOLDER
    arrays = {
        "statistic": statistic,
        "member_mask": mask[:, dataset.patient_of_record[pool]],
        "labels": dataset.labels[pool],
    }
    if dataset.inputs.size:
        arrays["features"] = dataset.inputs[pool].reshape(len(arrays["labels"]), -1)
    predictions.write(
        out,
        arrays,
        records=_records(dataset, pool),
        task={**about, "score_seconds": seconds},
        metrics=usefulness.summarise([m for g in manifests for m in g["metrics"]]),
    )
    return out


def _manifests(run: store.Run, sizes: list[int]) -> list[dict[str, Any]]:
    """The manifests of all groups of some blocks; raises unless all are whole."""
    models_per_group = run.settings["train"]["models_per_group"]
    groups = [group.id for group in shadow.groups(sizes, models_per_group)]
    missing = [group for group in groups if not run.is_committed(group)]
    validate.require(
        not missing,
        f"groups {validate.listing(missing)} are missing in {run.folder}",
        "every group must be trained before scoring",
        "run the training command again; finished groups are kept",
    )
    for group in groups:
        run.verify(group)
    return [run.manifest(group) for group in groups]


def _statistic(run: store.Run, manifests, pool: np.ndarray) -> np.ndarray:
    """[models, records], or [models, records, labels], of the pool's records."""
    first, num_models = 0, sum(len(m["model_ids"]) for m in manifests)
    for group in range(len(manifests)):
        part = run.read(group)[:, pool]
        if group == 0:
            statistic = np.empty((num_models, *part.shape[1:]), part.dtype)
        statistic[first : first + len(part)] = part
        first += len(part)
    return statistic


def _records(dataset: contracts.Dataset, pool: np.ndarray) -> pd.DataFrame:
    patient = dataset.patient_of_record[pool]
    columns = {
        "record": dataset.record_ids[pool],
        "patient_id": dataset.patient_ids[patient],
        "mask_unit": dataset.unit_of_patient[patient],
    }
    groups = dataset.groups.iloc[patient].reset_index(drop=True)
    return pd.concat([pd.DataFrame(columns), groups], axis=1)


def _about(run, dataset, manifests, sizes, design) -> dict[str, Any]:
    return {
        "task": dataset.task,
        "title": dataset.title,
        "dataset": dataset.name,
        "class_names": list(dataset.class_names),
        "unit": dataset.unit,
        "design": design,
        "blocks": sizes,
        "num_test_patients": int(dataset.is_test.sum()),
        "settings": run.settings,
        "train_seconds": round(sum(m["seconds"] for m in manifests), 1),
        "devices": sorted({m["device"] for m in manifests}),
        "code": sorted({m["code"] for m in manifests}),
    }
