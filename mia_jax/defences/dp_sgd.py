"""Differentially private SGD whose unit is the patient.

One step of one model: every member patient is drawn by its own coin; the gradient of
its mean loss over at most `records_per_patient` of its records is clipped once, over
all weights; the sum over patients gets Gaussian noise and is divided by the expected
number of patients, which is public and the same for all models. Removing a patient with
all its records moves the sum by one vector no longer than the clipping norm, so the
subsampled Gaussian mechanism accounts for it (Abadi et al. 2016, arXiv:1607.00133, with
the patient in the place of the example: McMahan et al. 2018, arXiv:1710.06963).

The promise is that of one trained model, to every patient it may have been trained on.
Outside of it stand the collection of shadow models, settings that were chosen by
looking at results, the scaling of inputs, and the loss that tells a run from a
diverged one.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mia_jax import batches, contracts, validate
from mia_jax.dp import accounting, clipping, noise, padding, sampling


class _Batch(NamedTuple):
    """What is static of a step."""

    num_units: int
    expected: int
    padded: int
    sampling_prob: float
    most_records: int


class _Clip(NamedTuple):
    """Options of `clipping.clipped_sum`."""

    rule: str
    method: str
    microbatch: int


def build(
    setup: contracts.Setup,
    epsilon: float = 8.0,
    delta: float = 1e-5,
    noise_multiplier: float = 0.0,
    l2_clip_norm: float = 0.1,
    records_per_patient: int = 5,
    level: str = "patient",
    clipping_rule: str = "flat",
    per_patient_gradients: str = "auto",
    microbatch_size: int = 0,
) -> contracts.Defence:
    """Builds the defence and calibrates its noise.

    Args:
      setup: `batch_size` patients are expected in a step, `epochs` passes are made over
        the expected members.
      epsilon: of the guarantee, with delta; inf = clipping alone, nothing promised.
      delta: at most 1 / (10 expected members).
      noise_multiplier: deviation of the noise over the clipping norm; 0 = the smallest
        that keeps epsilon; above 0, epsilon follows from it and is not read.
      l2_clip_norm: longest gradient of a patient; inf, with epsilon inf = no clipping.
      records_per_patient: drawn afresh at every step from patients who have more.
      level: patient; or record, which protects single records, and nobody with two.
      clipping_rule: flat, automatic (normalised) or per_layer.
      per_patient_gradients: ghost (norms by taps), microbatch (each gradient), or auto.
      microbatch_size: patients per pass, for large batches; 0 = all at once.

    Returns:
      The defence. Gradients are in units of the clipping norm, so that a learning rate
      keeps its meaning when the norm is changed.

    Raises:
      InputError: settings that make no mechanism, or promise nothing by their delta.
    """
    clip = _Clip(clipping_rule, per_patient_gradients, microbatch_size)
    _check(level, l2_clip_norm, records_per_patient, clip)
    _check_noise(epsilon, noise_multiplier)
    is_record = level == "record"
    num_units = setup.num_records if is_record else setup.num_units
    members = setup.member_share * num_units
    _check_batch(setup.batch_size, members, "record" if is_record else setup.unit)
    _check_delta(delta, members)
    num_steps = batches.num_steps(setup.epochs, members, setup.batch_size)
    sampling_prob = sampling.realisable(setup.batch_size / members)
    if not noise_multiplier and math.isfinite(epsilon):
        noise_multiplier = accounting.calibrate(
            epsilon, delta, sampling_prob, num_steps
        )
    mechanism = accounting.Mechanism(noise_multiplier, sampling_prob, num_steps)
    epsilon = accounting.epsilon(mechanism, delta)
    _check_norm(l2_clip_norm, epsilon)
    overflow = padding.overflow_probability(epsilon, delta, num_steps)
    most = padding.most_members(num_units, setup.member_share)
    padded = padding.padded_batch(most, sampling_prob, overflow)
    batch = _Batch(
        num_units,
        setup.batch_size,
        padded,
        sampling_prob,
        1 if is_record else records_per_patient,
    )
    guarantee = None
    if math.isfinite(epsilon):
        unit = "record" if is_record else setup.unit
        promised = {
            "unit": unit,
            "epsilon": epsilon,
            "delta": delta,
            "adjacency": f"add or remove one {unit}",
        }
        how = {"l2_clip_norm": l2_clip_norm, "overflow": overflow}
        guarantee = promised | _mechanism(mechanism, delta, epsilon, batch, clip, how)
    return contracts.Defence(
        _gradient_fn(batch, clip),
        num_steps,
        "record" if is_record else "patient",
        {"noise_multiplier": noise_multiplier, "l2_clip_norm": l2_clip_norm},
        guarantee,
    )


def _gradient_fn(batch: _Batch, clip: _Clip):
    """One step: draw, clip, add noise, divide by what is expected."""

    def gradient_fn(loss_fn, params, data, members, step, key, hyper):
        keys = jax.random.split(jax.random.fold_in(key, step), 4)
        key_coins, key_records, key_loss, key_noise = keys
        patients = sampling.poisson(
            key_coins, members, batch.num_units, batch.sampling_prob, batch.padded
        )
        records, weights = sampling.records(
            key_records, data.units, patients, batch.most_records
        )
        norm = hyper["l2_clip_norm"]
        losses, total = clipping.clipped_sum(
            loss_fn,
            params,
            data.inputs[records],
            data.labels[records],
            weights,
            key_loss,
            clip_norm=norm,
            **clip._asdict(),
        )
        length = jnp.where(jnp.isfinite(norm), norm, 1.0)  # no norm, no unit of length
        total = jax.tree.map(lambda leaf: leaf / length, total)
        total = noise.add(key_noise, total, hyper["noise_multiplier"])
        gradients = jax.tree.map(lambda leaf: leaf / batch.expected, total)
        return losses.sum() / jnp.maximum(patients.is_included.sum(), 1), gradients

    return gradient_fn


def _mechanism(mechanism, delta, epsilon, batch, clip, how) -> dict[str, Any]:
    """The part of the guarantee that says how it is kept."""
    num_steps = mechanism.num_steps
    return {
        **mechanism._asdict(),
        "records_per_patient": batch.most_records,
        "l2_clip_norm": how["l2_clip_norm"],
        "expected_batch": batch.expected,
        "padded_batch": batch.padded,
        "overflow_delta": padding.overflow_delta(how["overflow"], epsilon, num_steps),
        "accountant": accounting.version(),
        "epsilon_rdp": accounting.epsilon_rdp(mechanism, delta),
        "clipping": clip.rule,
        "per_patient_gradients": clip.method,
    }


def _check(level: str, norm: float, most_records: int, clip: _Clip) -> None:
    validate.one_of("defence.level", level, ("patient", "record"))
    validate.one_of("defence.clipping_rule", clip.rule, clipping.RULES)
    validate.one_of("defence.per_patient_gradients", clip.method, clipping.METHODS)
    validate.require(
        clip.microbatch >= 0,
        f"defence.microbatch_size={clip.microbatch}",
        "must be at least 0",
        "0 takes all patients at once",
    )
    validate.require(
        norm > 0,
        f"defence.l2_clip_norm={norm}",
        "must be above 0",
        "0.1 to 1 is common",
    )
    validate.require(
        most_records >= 1,
        f"defence.records_per_patient={most_records}",
        "must be at least 1",
        "set --config.defence.records_per_patient=5",
    )


def _check_noise(epsilon: float, noise_multiplier: float) -> None:
    """No number may be read as "no noise" but epsilon = inf."""
    validate.require(
        0 <= noise_multiplier < math.inf,
        f"defence.noise_multiplier={noise_multiplier}",
        "must be at least 0 and finite",
        "0 calibrates it to --config.defence.epsilon",
    )
    validate.require(
        epsilon > 0 or noise_multiplier > 0,
        f"defence.epsilon={epsilon}",
        "must be above 0",
        "8 is common, 1 is strict; inf promises nothing",
    )


def _check_batch(size: int, members: float, unit: str) -> None:
    """The sampling probability must be the expected batch over the members."""
    validate.require(
        size <= members,
        f"train.batch_size={size}",
        f"must be at most the expected members of a model, {members:g} {unit}s",
        f"set --config.train.batch_size={max(1, int(members) // 2)} or lower",
    )


def _check_delta(delta: float, members: float) -> None:
    """A delta of 1 / members would allow to publish somebody's record."""
    highest = 1 / (10 * members)
    validate.require(
        0 < delta <= highest,
        f"defence.delta={delta:g}",
        f"must be above 0 and at most 1 / (10 members) = {highest:.2g}",
        f"set --config.defence.delta={10 ** math.floor(math.log10(highest)):.0e}",
    )


def _check_norm(norm: float, epsilon: float) -> None:
    validate.require(
        math.isfinite(norm) or math.isinf(epsilon),
        f"defence.l2_clip_norm={norm} with epsilon={epsilon:.3g}",
        "a guarantee needs a finite clipping norm",
        "set --config.defence.l2_clip_norm=0.1, or --config.defence.epsilon=inf",
    )
