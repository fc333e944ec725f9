"""Planted audits for the tests of attacks, and what every attack must keep."""

from typing import NamedTuple

import numpy as np

from mia_jax import contracts, leave_one_out


class Audit(NamedTuple):
    """Statistic [models, records], mask [models, patients], and what is known."""

    statistic: np.ndarray
    member_mask: np.ndarray
    context: contracts.Context

    @property
    def record_mask(self) -> np.ndarray:
        """[models, records] bool."""
        return self.member_mask[:, self.context.patient_of_record]


def planted(
    num_models=20, num_patients=30, num_records=70, leak=1.5, seed=5, is_balanced=True
) -> Audit:
    """Records of unlike difficulty, two classes; members are `leak` more confident."""
    generator = np.random.default_rng(seed)
    uniform = generator.random((num_models, num_patients))
    member = uniform.argsort(0) < num_models // 2
    if not is_balanced:
        member = uniform < 0.4
        member[:3], member[3:6] = True, False
    extra = generator.integers(0, num_patients, num_records - num_patients)
    patient_of_record = np.r_[np.arange(num_patients), extra]  # in no order
    statistic = generator.standard_normal((num_models, num_records))
    statistic += generator.standard_normal(num_records)  # a record's difficulty
    statistic += leak * member[:, patient_of_record]
    context = contracts.Context(
        generator.integers(0, 2, num_records),
        patient_of_record,
        generator.standard_normal((num_records, 3)).astype(np.float32),
    )
    return Audit(statistic.astype(np.float32), member, context)


def engine_scores(attack, audit: Audit, **options) -> np.ndarray:
    """Scores of the full engine: cohort sums, tuning and comparison included."""
    return leave_one_out.scores(
        attack,
        audit.statistic,
        audit.member_mask,
        audit.context.patient_of_record,
        context=audit.context,
        **options,
    )


def own_bit_change(attack, audit: Audit, model=4, patients=(0, 1, 2), **options):
    """Largest change of a patient's scores in a model whose bits of it are flipped."""
    before = engine_scores(attack, audit, **options)
    changes = []
    for patient in patients:
        flipped = audit.member_mask.copy()
        flipped[model, patient] ^= True
        after = engine_scores(attack, audit._replace(member_mask=flipped), **options)
        own = audit.context.patient_of_record == patient
        scale = np.maximum(1.0, np.abs(before[model, own]))
        changes.append(np.abs(after[model, own] - before[model, own]) / scale)
    return np.concatenate(changes).max()


def probability(statistic) -> np.ndarray:
    """p of the label in float64."""
    return 1.0 / (1.0 + np.exp(-np.asarray(statistic, np.float64)))


def naive_reference(audit: Audit, mode="online", a=1.0, center=None) -> np.ndarray:
    """p_reference, every target's other models gathered in float64: the definition."""
    center = np.mean if center is None else center
    p, member = probability(audit.statistic), audit.record_mask
    out = np.empty_like(p)
    for target in range(len(p)):
        rest = np.arange(len(p)) != target
        for record in range(p.shape[1]):
            values, is_in = p[rest, record], member[rest, record]
            outside = center(values[~is_in])
            if mode == "offline":
                out[target, record] = ((1 + a) * outside + (1 - a)) / 2
            elif mode == "all":
                out[target, record] = center(values)
            else:
                out[target, record] = (center(values[is_in]) + outside) / 2
    return out
