"""ROC curves over records and the usefulness of a model: host metrics in float64.

Scores follow the one direction of the project: higher = member. Counting ROC points by
sorting needs no threshold grid, and a tie counts one half in an AUC and against the
attacker in a TPR.
"""

import numpy as np
from scipy import special

from mia_jax import validate


def _split(scores: np.ndarray, is_member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted scores of members and of non-members."""
    scores = np.asarray(scores, np.float64)
    is_member = np.asarray(is_member, bool)
    validate.require(
        scores.ndim == 1 and scores.shape == is_member.shape,
        f"scores {scores.shape}, is_member {is_member.shape}",
        "must be two vectors of one length",
        "pass one model's scores and its row of the member mask",
    )
    validate.require(
        not np.isnan(scores).any(),
        f"scores: {int(np.isnan(scores).sum())} of {scores.size} are NaN",
        "a score must be a number: NaN has no rank",
        "look for overflow in the statistic that the attack was given",
    )
    return np.sort(scores[is_member]), np.sort(scores[~is_member])


def roc(scores: np.ndarray, is_member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Step ROC: one point per distinct score, from (0, 0) to (1, 1).

    Args:
      scores: [records], higher = member.
      is_member: [records] bool, with at least one True and one False.

    Returns:
      fpr, tpr: [points] float64, both non-decreasing.

    Raises:
      InputError: if a score is NaN, shapes differ or one side is empty.
    """
    members, others = _split(scores, is_member)
    validate.require(
        len(members) > 0 and len(others) > 0,
        f"{len(members)} members, {len(others)} non-members",
        "a ROC curve needs at least one of each",
        "leave this model out of the curve",
    )
    thresholds = np.unique(np.concatenate([members, others]))[::-1]
    hits = len(members) - np.searchsorted(members, thresholds, side="left")
    alarms = len(others) - np.searchsorted(others, thresholds, side="left")
    return np.r_[0.0, alarms / len(others)], np.r_[0.0, hits / len(members)]


def auc(scores: np.ndarray, is_member: np.ndarray) -> float:
    """P(member's score > non-member's score), ties one half: the Mann-Whitney AUC.

    Args:
      scores: [records], higher = member.
      is_member: [records] bool.

    Returns:
      The AUC; NaN if there are no members or no non-members.

    Raises:
      InputError: if a score is NaN or shapes differ.
    """
    members, others = _split(scores, is_member)
    if len(members) == 0 or len(others) == 0:
        return float("nan")
    # Two plain sorts are several times faster than an argsort and ranks.
    below = np.searchsorted(others, members, side="left").sum()
    up_to = np.searchsorted(others, members, side="right").sum()
    return float(below + up_to) / (2 * len(members) * len(others))


def tpr_at_fpr(
    scores: np.ndarray, is_member: np.ndarray, fpr: float | np.ndarray
) -> float | np.ndarray:
    """The largest TPR of the step ROC whose FPR is at most `fpr`; no interpolation.

    With k = the number of false alarms that `fpr` allows, "member" is said of scores
    above the (k+1)-th highest non-member. Non-members tied there stay below, so the
    realised FPR never exceeds `fpr`.

    Args:
      scores: [records], higher = member.
      is_member: [records] bool.
      fpr: false-positive rates in 0..1, a number or [points].

    Returns:
      TPR, shaped like `fpr`; NaN if there are no members or no non-members. An `fpr`
      below 1 / non-members allows no false alarm at all: too few to say anything.

    Raises:
      InputError: if a score is NaN, shapes differ or `fpr` is outside 0..1.
    """
    grid = np.asarray(fpr, np.float64)
    validate.require(
        bool(np.all((grid >= 0) & (grid <= 1))),
        f"fpr={fpr}",
        "a false-positive rate lies between 0 and 1",
        "give it as a share, e.g. 0.01 for 1 %",
    )
    members, others = _split(scores, is_member)
    if len(members) == 0 or len(others) == 0:
        return np.full(grid.shape, np.nan)[()]
    allowed = np.floor(grid * len(others)).astype(int)
    # .29 * 100 is 28.999...: settle the product's rounding by the ratio itself.
    allowed += (allowed + 1) / len(others) <= grid
    thresholds = np.r_[others[::-1], -np.inf][allowed]
    above = len(members) - np.searchsorted(members, thresholds, side="right")
    # -inf stands for "no non-member left": then every member is above, -inf included.
    return np.where(allowed == len(others), 1.0, above / len(members))[()]


def aucs_by_model(scores: np.ndarray, member: np.ndarray) -> np.ndarray:
    """The AUC over records of each target model.

    Args:
      scores: [models, records], higher = member.
      member: [models, records] bool.

    Returns:
      [models] float64, see `auc`.
    """
    return np.array([auc(*model) for model in zip(scores, member, strict=True)])


def roc_band(
    scores: np.ndarray, member: np.ndarray, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median and 80 % band over target models of the step ROC.

    Args:
      scores: [models, records], higher = member.
      member: [models, records] bool, both values in every row.
      grid: [points] false-positive rates.

    Returns:
      median, low, high: [points] TPR; quantiles .5, .1 and .9 over models.
    """
    rows = zip(scores, member, strict=True)
    curves = np.stack([tpr_at_fpr(*model, grid) for model in rows])
    low, median, high = np.quantile(curves, [0.1, 0.5, 0.9], axis=0)
    return median, low, high


def _checked(logits: np.ndarray, labels: np.ndarray, task: str) -> np.ndarray:
    """The logits as float64, if their shape fits the task and the labels."""
    logits = np.asarray(logits, np.float64)
    validate.one_of("task", task, ("binary", "multiclass", "multilabel"))
    is_single = logits.ndim == 2 and logits.shape[1] == 1
    is_fitting = {
        "binary": is_single,
        "multiclass": logits.ndim == 2 and not is_single,
        "multilabel": logits.ndim == 2 and logits.shape == np.shape(labels),
    }
    validate.require(
        is_fitting[task],
        f"logits {logits.shape}, labels {np.shape(labels)}, task {task!r}",
        "must be [records, 1] for binary, [records, classes] for multiclass,"
        " both [records, labels] for multilabel",
        "select one model and one view, or change the task",
    )
    return logits


def _margin(logits: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """[records] log odds of a class of each record, free of saturation."""
    is_class = np.arange(logits.shape[1]) == np.asarray(classes)[:, None]
    others = special.logsumexp(np.where(is_class, -np.inf, logits), axis=1)
    return logits[is_class] - others


def _predicted(logits: np.ndarray, labels: np.ndarray, task: str) -> np.ndarray:
    """The most probable class, or 0 and 1 of every label; shaped like the labels."""
    logits = _checked(logits, labels, task)
    if task == "multiclass":
        return np.argmax(logits, axis=1)
    return (logits > 0).reshape(np.shape(labels))


def accuracy(logits: np.ndarray, labels: np.ndarray, task: str) -> float:
    """Share of records whose most probable class is the label (first class on a tie).

    For "multilabel" the mean of this share over labels.

    Args:
      logits: [records, outputs], unnormalised; one output for "binary".
      labels: [records] int, 0..classes-1; "multilabel": [records, outputs], 0 or 1.
      task: "binary", "multiclass" or "multilabel".
    """
    return float(np.mean(_predicted(logits, labels, task) == np.asarray(labels)))


def exact_match(logits: np.ndarray, labels: np.ndarray, task: str) -> float:
    """Share of records with all labels right; the accuracy of a task with one label.

    Args: see `accuracy`.
    """
    is_right = _predicted(logits, labels, task) == np.asarray(labels)
    return float(np.mean(is_right.reshape(len(is_right), -1).all(axis=1)))


def log_loss(logits: np.ndarray, labels: np.ndarray, task: str) -> float:
    """Mean negative log probability of the label, in nats, from logits (no clipping).

    For "multilabel" the mean over records and labels, like the training loss.

    Args: see `accuracy`.
    """
    logits, labels = _checked(logits, labels, task), np.asarray(labels)
    if task == "multiclass":
        margin = _margin(logits, labels)
    else:
        margin = np.where(labels.reshape(logits.shape) == 1, logits, -logits)
    # -log sigmoid(log odds): finite however confident and wrong the model is.
    return float(np.mean(np.logaddexp(0.0, -margin)))


def auroc(logits: np.ndarray, labels: np.ndarray, task: str) -> float:
    """AUROC of the task: of "multiclass" the mean over classes, one against the rest,
    of "multilabel" the mean over labels.

    Classes are ranked by log odds, the order of the probabilities without their ties
    at 0 and 1.

    Args: see `accuracy`.

    Returns:
      The AUROC; NaN if any class has no record. A label that no record has, or every
      record, is left out of the mean: rare findings are often absent from a test set.
    """
    logits, labels = _checked(logits, labels, task), np.asarray(labels)
    if task == "multiclass":
        classes = range(logits.shape[1])
        fill = np.full(len(logits), 0)
        aucs = [auc(_margin(logits, fill + c), labels == c) for c in classes]
        return float(np.mean(aucs))
    by_label = zip(logits.T, labels.reshape(logits.shape).T, strict=True)
    aucs = [auc(column, label == 1) for column, label in by_label]
    defined = [value for value in aucs if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")
