"""Do two attacks, or two halves of the models, find the same patients?

A list of the most exposed patients is worth acting on only if it comes out again. The
overlap of two top sets is given beside the overlap of two random sets of that size.
"""

from typing import Any

import numpy as np
import scipy.stats

from mia_jax import validate
from mia_jax.risk import halves, leave_pair_out, patients

TOP_SHARE = 0.01
_FEWEST_TOP = 10


def rows(
    aucs: dict[str, np.ndarray], is_proven: dict[str, np.ndarray] | None = None
) -> list[dict[str, Any]]:
    """Every pair of attacks.

    Args:
      aucs: by name of the attack, [patients] float, higher = more exposed; finite.
      is_proven: by the same names, [patients] bool; None: not compared.

    Returns:
      Rows with a, b, top_share, num_top, jaccard, jaccard_chance, spearman (None where
      one of them is constant), jaccard_proven (None where neither proves anybody).
    """
    names, found = list(aucs), []
    for first, a in enumerate(names):
        for b in names[first + 1 :]:
            proven = None
            if is_proven is not None:
                proven = jaccard_of_sets(is_proven[a], is_proven[b])
            row = {"a": a, "b": b, "top_share": TOP_SHARE}
            found.append({**row, **compare(aucs[a], aucs[b]), "jaccard_proven": proven})
    return found


def compare(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    """Overlap of the top sets and rank correlation of two lists of AUCs.

    Args:
      a, b: [patients] float, higher = more exposed; finite.

    Returns:
      num_top (1 % of the patients, at least 10), jaccard, jaccard_chance, spearman.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    validate.require(
        a.shape == b.shape and bool(np.isfinite(a).all() and np.isfinite(b).all()),
        f"AUCs of {a.shape} and {b.shape} patients",
        "must be two finite vectors of one length",
        "compare attacks on the same patients",
    )
    num_top = min(len(a), max(_FEWEST_TOP, round(TOP_SHARE * len(a))))
    both = float((_share_in_top(a, num_top) * _share_in_top(b, num_top)).sum())
    return {
        "num_top": num_top,
        "jaccard": both / (2 * num_top - both),
        "jaccard_chance": jaccard_by_chance(len(a), num_top),
        "spearman": _spearman(a, b),
    }


def jaccard_of_sets(a: np.ndarray, b: np.ndarray) -> float | None:
    """Shared patients over patients in either set, [patients] bool; None if empty."""
    either = int((a | b).sum())
    return int((a & b).sum()) / either if either else None


def jaccard_by_chance(num_patients: int, num_top: int) -> float:
    """Mean Jaccard index of two random sets: the overlap is hypergeometric."""
    both = np.arange(num_top + 1)
    share = scipy.stats.hypergeom.pmf(both, num_patients, num_top, num_top)
    return float((share * both / (2 * num_top - both)).sum())


def stability(
    statistic: np.ndarray,
    member_mask: np.ndarray,
    patient_of_record: np.ndarray,
    block_of_model: np.ndarray,
    unit_of_patient: np.ndarray | None = None,
    model_mean: str = "removed",
    seed: int = 0,
    joint: str = "llr",
) -> dict[str, Any]:
    """Compares the patients' AUCs of two halves of the models.

    The halves share no model; each is standardised by itself. What they agree on is
    what another run of half the size would find again.

    Args:
      statistic: [models, records] float32, higher = more like a member; finite.
      member_mask: [models, patients] bool.
      patient_of_record: [records] int.
      block_of_model: [models] int.
      unit_of_patient: [patients] int, or None.
      model_mean: as in `patients.audit`.
      seed: of the division.
      joint: as in `patients.audit`.

    Returns:
      num_models of the halves, num_top, jaccard, jaccard_chance, spearman and
      spearman_full: the correlation expected between two runs of all models.

    Raises:
      InputError: with fewer than four models.
    """
    is_first = halves.split(block_of_model, seed)
    aucs = []
    for half in (is_first, ~is_first):
        block = np.asarray(block_of_model)[half]
        design = patient_of_record, block, unit_of_patient
        z = patients.scores(statistic[half], *design, model_mean)
        arrays = z, member_mask[half], patient_of_record, block
        aucs.append(
            leave_pair_out.auc(*arrays, unit_of_patient=unit_of_patient, score=joint)
        )
    found = compare(*aucs)
    sizes = [int(is_first.sum()), int((~is_first).sum())]
    full = spearman_brown(found["spearman"])
    return {"num_models": sizes, **found, "spearman_full": full}


def spearman_brown(half: float | None) -> float | None:
    """Correlation of two full runs from that of two halves: 2 r / (1 + r).

    Halves that disagree (r <= 0) have no reliability to carry over: 0.

    Reference: Spearman 1910 and Brown 1910, British Journal of Psychology 3, 271-322;
      for ranks an approximation.
    """
    if half is None:
        return None
    return 2 * half / (1 + half) if half > 0 else 0.0


def _share_in_top(auc: np.ndarray, num_top: int) -> np.ndarray:
    """[patients] probability of each patient to be among the top, ties at random."""
    last = np.partition(auc, len(auc) - num_top)[len(auc) - num_top]
    above, tied = auc > last, auc == last
    return above + tied * ((num_top - above.sum()) / tied.sum())


def _spearman(a: np.ndarray, b: np.ndarray) -> float | None:
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(scipy.stats.spearmanr(a, b).statistic)
