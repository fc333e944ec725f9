"""How useful the models are, on members, left-out patients and test patients.

The gap between members and left-out patients is what an attack lives on; the test
patients show what the model is worth.
"""

from typing import Any

import numpy as np

from mia_jax import contracts, metrics

METRICS = {
    "accuracy": metrics.accuracy,
    "auroc": metrics.auroc,
    "nll": metrics.log_loss,
}
# Of a multilabel task also the share of records with all labels right.
MULTILABEL = {**METRICS, "exact_match": metrics.exact_match}


def of_model(
    logits: np.ndarray,
    labels: np.ndarray,
    task: contracts.Task,
    sets: dict[str, np.ndarray],
) -> dict[str, dict[str, float | None]]:
    """Usefulness of one model on several sets of records.

    Args:
      logits: [records, outputs] float.
      labels: [records] int, or [records, outputs] for "multilabel".
      task: "binary" (one output), "multiclass" or "multilabel".
      sets: name -> [records] bool; empty sets are left out.

    Returns:
      set name -> metric name -> value; None where undefined (a class is absent).
    """
    chosen_metrics = MULTILABEL if task == "multilabel" else METRICS
    return {
        name: {
            metric: _finite(function(logits[chosen], labels[chosen], task))
            for metric, function in chosen_metrics.items()
        }
        for name, chosen in sets.items()
        if chosen.any()
    }


def summarise(per_model: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over models.

    Args:
      per_model: from `of_model`.

    Returns:
      {"mean": set -> metric -> value, "sd": the same}; None where no model has a value.
    """
    found: dict[str, Any] = {"mean": {}, "sd": {}}
    names = dict.fromkeys(name for model in per_model for name in model)
    for name in names:
        having = [model[name] for model in per_model if name in model]
        for metric in having[0]:
            values = [m[metric] for m in having if m[metric] is not None]
            mean = float(np.mean(values)) if values else None
            sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
            found["mean"].setdefault(name, {})[metric] = mean
            found["sd"].setdefault(name, {})[metric] = sd
    return found


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
