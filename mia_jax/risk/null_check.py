"""The audit's own control: the same test where nothing can leak.

Within each block every patient's mask is permuted over the models. The statistics stay,
the link to them is cut, and the counts of every patient are kept.
"""

from typing import NamedTuple

import numpy as np

from mia_jax import rng
from mia_jax.risk import patients, records

# Units permuted at a time: 4096 x 512 models x 4 B are 8 MB. Part of the bits.
_UNITS = 4096


class Null(NamedTuple):
    """The patient test on permuted masks.

    Attributes:
      num_proven: patients "proven" at the same false-discovery rate; should be 0.
      auc: [patients] float64, leave-pair-out AUC.
      auc_max_record: [patients] float64, largest record AUC: shows its bias.
    """

    num_proven: int
    auc: np.ndarray
    auc_max_record: np.ndarray


def permute(
    member_mask: np.ndarray,
    block_of_model: np.ndarray,
    seed: int,
    unit_of_patient: np.ndarray | None = None,
) -> np.ndarray:
    """Permutes each unit's mask over the models of each block, independently.

    Args:
      member_mask: [models, patients] bool; any numbers of members.
      block_of_model: [models] int.
      seed: of the permutation.
      unit_of_patient: [patients] int, patients with equal numbers get the same
        permutation; None: every patient its own.

    Returns:
      [models, patients] bool, with the same members per patient and block.
    """
    if unit_of_patient is None:
        unit_of_patient = np.arange(member_mask.shape[1])
    permuted = np.empty_like(member_mask)
    for block in np.unique(block_of_model).tolist():
        models = np.flatnonzero(block_of_model == block)
        generator = rng.host(seed, "null check", block)
        for start in range(0, unit_of_patient.max() + 1, _UNITS):
            unit = unit_of_patient - start
            columns = np.flatnonzero((unit >= 0) & (unit < _UNITS))
            order = np.tile(np.arange(len(models), dtype=np.int32)[:, None], _UNITS)
            order = generator.permuted(order, axis=0)[:, unit[columns]]
            mask = member_mask[np.ix_(models, columns)]
            permuted[np.ix_(models, columns)] = np.take_along_axis(mask, order, 0)
    return permuted


def run(
    statistic: np.ndarray,
    member_mask: np.ndarray,
    patient_of_record: np.ndarray,
    block_of_model: np.ndarray,
    unit_of_patient: np.ndarray | None = None,
    fdr: float = 0.05,
    seed: int = 0,
    model_mean: str = "removed",
    joint: str = "llr",
    of_records: tuple[np.ndarray, np.ndarray] | None = None,
) -> Null:
    """Audits patients and records with permuted masks.

    Args:
      statistic: [models, columns] float32, what patients are tested on.
      member_mask: [models, patients] bool.
      patient_of_record: [columns] int.
      block_of_model: [models] int.
      unit_of_patient: [patients] int, or None.
      fdr: as in the audit.
      seed: of the permutation.
      model_mean, joint: as in the audit.
      of_records: statistic [models, records] and patient_of_record of the largest
        record AUC, where the columns of the test are no records; None: they are.

    Returns:
      What the audit finds where nothing leaks.
    """
    mask = permute(member_mask, block_of_model, seed, unit_of_patient)
    arrays = statistic, mask, patient_of_record, block_of_model
    risk = patients.audit(*arrays, fdr, unit_of_patient, model_mean, joint)
    values, patient = of_records or (statistic, patient_of_record)
    single = records.audit(values, mask, patient, block_of_model)
    best = records.largest(single.auc, patient)
    return Null(int(risk.is_proven.sum()), risk.auc, best)
