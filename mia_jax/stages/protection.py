"""What the defence promised, and whether the attack kept below it."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mia_jax import predictions, validate
from mia_jax.dp import accounting, ceiling
from mia_jax.risk import violation

FILE = "privacy.json"
_FPRS = (0.001, 0.01, 0.1)
_PRIORS = (0.01, 0.1, 0.5)
_PPV_FPR = 0.01
_GRID = np.unique(np.r_[0.0, np.geomspace(1e-5, 1.0, 120), np.linspace(0.0, 1.0, 101)])


class Protection(NamedTuple):
    """The guarantee of the attacked models.

    Attributes:
      guarantee: as the defence states it; None = nothing is promised.
      curve: what no attack on a patient can exceed; None where nothing is promised to
        patients.
      check: result of the run's own test for a violation; None without a curve, or
        with too few models.
    """

    guarantee: dict[str, Any] | None
    curve: ceiling.Curve | None = None
    check: violation.Violation | None = None

    def to_json(self) -> dict[str, Any]:
        """What summary.json holds: "ceiling" and "violation"."""
        found = self.check and self.check.to_json()
        return {"ceiling": self.curve and _summary(self.curve), "violation": found}

    def table(self) -> pd.DataFrame:
        """The trade-off curve on about 200 points; no rows without one."""
        if self.curve is None:
            return pd.DataFrame({"fpr": np.empty(0), "tpr": np.empty(0)})
        tpr = ceiling.tpr_at(self.curve, _GRID)
        return pd.DataFrame({"fpr": _GRID, "tpr": tpr})


def measure(given: predictions.Predictions, scores: np.ndarray) -> Protection:
    """Draws the ceiling of the guarantee and holds the scores against it.

    Args:
      given: the predictions; `about["guarantee"]` says what was promised.
      scores: [models, records] float32 of one attack, leave-one-out.

    Returns:
      The protection. A guarantee of single records bounds no attack on a patient who
      has several: then there is no curve.
    """
    guarantee = given.about.get("guarantee")
    if guarantee is None or guarantee.get("unit") != given.about["unit"]:
        return Protection(guarantee)
    names = accounting.Mechanism._fields
    missing = {*names, "overflow_delta"} - guarantee.keys()
    validate.require(
        not missing,
        f'"guarantee" of task.json lacks {validate.listing(sorted(missing))}',
        "the ceiling is drawn from the mechanism, not from epsilon",
        "state them, or leave the guarantee out",
    )
    mechanism = accounting.Mechanism(*(guarantee[name] for name in names))
    curve = ceiling.curve(mechanism)
    curve = ceiling.with_delta(curve, guarantee["overflow_delta"])
    score, member_mask = _by_unit(given, scores)
    return Protection(guarantee, curve, violation.test(score, member_mask, curve))


def _by_unit(given: predictions.Predictions, scores: np.ndarray):
    """Summed scores [models, units] float64 and masks of what is protected."""
    _, first, unit = np.unique(
        given.unit_of_patient, return_index=True, return_inverse=True
    )
    unit_of_record = unit[given.patient_of_record]
    total = np.stack([np.bincount(unit_of_record, row, len(first)) for row in scores])
    return total, given.member_mask[:, first]


def _summary(curve: ceiling.Curve) -> dict[str, Any]:
    return {
        "auc": ceiling.auc(curve),
        "tpr_at_fpr": {f"{x:g}": float(ceiling.tpr_at(curve, x)) for x in _FPRS},
        "advantage": ceiling.advantage(curve),
        "ppv": {f"{p:g}": ceiling.ppv(curve, p, _PPV_FPR) for p in _PRIORS},
        "ppv_fpr": _PPV_FPR,
    }
