"""Checks of predictions: each names the file or argument, the rule and the remedy."""

from typing import Any, NamedTuple

import numpy as np

from mia_jax import validate

# Fits of a Gaussian without one model need two others on the same side.
FEWEST = 3
TASKS = ("binary", "multiclass", "multilabel")
# Records of the first model that are searched for rounding.
_SAMPLE = 20_000


class Names(NamedTuple):
    """What messages call the parts of an export: files, or arguments of a function."""

    values: str = "logits.npy"
    member_mask: str = "member_mask.npy"
    labels: str = "labels.npy"
    records: str = "records.csv"
    task: str = "task.json: task"
    blocks: str = "task.json: blocks"
    features: str = "features.npy"


def shapes(values, is_logits: bool, mask, labels, names: Names) -> None:
    """Raises unless all arrays fit."""
    validate.require(
        labels.dtype.kind in "iufb" and labels.ndim in (1, 2) and labels.size > 0,
        f"{names.labels} is {labels.dtype} {list(labels.shape)}",
        "must be one whole number for each record, or 0 and 1 for each of its labels",
        "number the classes in the order of the model's outputs",
    )
    several = labels.ndim == 2
    wanted = (3, 4) if is_logits else (3,) if several else (2, 3)
    axes = "[models, records(, views), outputs]" if is_logits else "[models, records]"
    axes = "[models, records, labels]" if several and not is_logits else axes
    validate.require(
        values.ndim in wanted and values.dtype.kind == "f",
        f"{names.values} is {values.dtype} {list(values.shape)}",
        f"must be floating point {axes}",
        "export one array over all models",
    )
    fits = mask.shape == values.shape[:2] and labels.shape[:1] == mask.shape[1:]
    validate.require(
        fits and (not several or labels.shape[1] == values.shape[-1]),
        f"{names.values} {list(values.shape)}, {names.member_mask} {list(mask.shape)}, "
        f"{names.labels} {list(labels.shape)}",
        "must agree in models and records" + (" and labels" if several else ""),
        "export all three in the same order",
    )
    is_binary_mask = mask.dtype == bool or np.isin(np.unique(mask), (0, 1)).all()
    validate.require(
        is_binary_mask,
        f"{names.member_mask} is {mask.dtype}",
        "must be bool",
        "use bool",
    )


def finite(values, names: Names) -> None:
    """Raises unless every number is finite; names the model and its records."""
    for model, value in enumerate(values):
        bad = ~np.isfinite(value).reshape(len(value), -1).all(1)
        validate.require(
            not bad.any(),
            f"{names.values}: model {model}, records "
            f"{validate.listing(np.flatnonzero(bad))}",
            "hold NaN or infinite values",
            "export logits, not log-probabilities of rounded probabilities",
        )


def no_probabilities(values, is_logits: bool, task: str, names: Names) -> None:
    """Refuses probabilities, and logits of rounded ones, by the first model."""
    first = np.asarray(values[0], np.float64)
    one_each = task == "multilabel" or not is_logits or first.shape[-1] == 1
    if is_logits:
        in_unit = ((first >= 0) & (first <= 1)).all()
        sums_to_one = one_each or np.allclose(first.sum(-1), 1, atol=1e-3)
        low, high = first.min(), first.max()
        validate.require(
            not (in_unit and sums_to_one),
            f"{names.values}: model 0 is within {low:.3g} and {high:.3g}",
            "are probabilities: their rounding destroys the statistic",
            "export the outputs before softmax or sigmoid",
        )
    validate.require(
        not _is_rounded(first, one_each),
        f"{names.values}: model 0",
        "are logits of probabilities rounded to 4 decimals: blurred, or infinite",
        "export the outputs before softmax or sigmoid, with all their digits",
    )


def _is_rounded(logits: np.ndarray, one_each: bool) -> bool:
    """Whether all probabilities that are not near 0 or 1 have at most 4 decimals.

    A number taken at random lies that near to such a grid (1e-6) 1 time in 50, thirty
    different ones of them never.
    """
    logits = logits[:: max(1, len(logits) // _SAMPLE)]
    if one_each:
        inner = logits[np.abs(logits) < 4.6]  # .01 < p < .99
        probability = 1 / (1 + np.exp(-inner))
    else:
        # Rounded probabilities need not add to exactly 1: no second normalisation.
        probability = np.exp(logits) if logits.max() <= 0 else _softmax(logits)
        probability = probability[(probability > 0.01) & (probability < 0.99)]
    scaled = 1e4 * probability
    is_near = np.abs(scaled - np.round(scaled)) < 0.01
    return bool(is_near.all()) and len(np.unique(np.round(scaled))) >= 30


def _softmax(logits: np.ndarray) -> np.ndarray:
    power = np.exp(logits - logits.max(-1, keepdims=True))
    return power / power.sum(-1, keepdims=True)


def task(about: dict[str, Any], values, is_logits: bool, labels, names: Names) -> str:
    """The task that is stated, or else follows from the shapes."""
    given, several = about.get("task"), labels.ndim == 2
    if given is not None:
        validate.one_of(names.task, given, TASKS)
        validate.require(
            (given == "multilabel") == several,
            f"{names.task} is {given}, {names.labels} {list(labels.shape)}",
            "only multilabel tasks have labels [records, labels]",
            "give one class number per record, or set the task",
        )
        outputs = values.shape[-1] if is_logits else None
        fits = {"binary": outputs in (None, 1, 2), "multiclass": outputs != 1}
        validate.require(
            fits.get(given, True),
            f"{names.task} is {given}, {names.values} has {outputs} outputs",
            "binary has one output (or two), multiclass one per class",
            "set the task, or export the outputs of all classes",
        )
        return given
    if several:
        one_hot = labels.shape[1] > 1 and (np.asarray(labels).sum(1) == 1).all()
        validate.require(
            not one_hot,
            f"{names.labels} {list(labels.shape)} has exactly one 1 in every row",
            "looks like one-hot classes: then labels are class numbers",
            "give labels.argmax(1), or say that the task is multilabel",
        )
        return "multilabel"
    if is_logits:
        return "binary" if values.shape[-1] == 1 else "multiclass"
    return "binary" if np.nan_to_num(labels, nan=-1.0).max() <= 1 else "multiclass"


def labels(labels, values, is_logits: bool, task: str, names: Names) -> np.ndarray:
    """The labels as int32; raises unless they are whole numbers in range."""
    whole = np.nan_to_num(np.asarray(labels, np.float64), nan=-1.0)
    outputs = values.shape[-1] if is_logits else int(whole.max()) + 1
    classes = 2 if task == "multilabel" else max(2, outputs)
    bad = (whole != np.floor(whole)) | (whole < 0) | (whole >= classes)
    bad = bad.reshape(len(whole), -1).any(1)
    meaning = "one for each label" if task == "multilabel" else "one class per output"
    validate.require(
        not bad.any(),
        f"{names.labels}: records {validate.listing(np.flatnonzero(bad))}",
        f"must be whole numbers from 0 to {classes - 1}, {meaning}",
        "number the classes in the order of the model's outputs",
    )
    return whole.astype(np.int32)


def features(features, num_records: int, names: Names) -> np.ndarray | None:
    """The features as float32; raises unless they are finite, one row per record."""
    if features is None:
        return None
    validate.require(
        features.ndim == 2
        and len(features) == num_records
        and features.dtype.kind in "iufb",
        f"{names.features} is {features.dtype} {list(features.shape)}",
        f"must be numbers [{num_records} records, features]",
        "export one row per record, in the order of the labels",
    )
    found = np.asarray(features, np.float32)
    bad = np.flatnonzero(~np.isfinite(found).all(1))
    validate.require(
        not bad.size,
        f"{names.features}: records {validate.listing(bad)}",
        "hold NaN or infinite values",
        "impute missing values",
    )
    return found
