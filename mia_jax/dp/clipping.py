"""Sums of gradients, each patient's clipped once: the sum moves by at most C a patient.

The loss of patient p is L_p = sum_r w_pr loss_pr over the patient's records; g_p is its
gradient over all parameters. Abadi et al. 2016 (arXiv:1607.00133, algorithm 1), with
the patient in place of the record.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from mia_jax import contracts, validate
from mia_jax.dp import taps

RULES = ("flat", "automatic", "per_layer")
METHODS = ("auto", "ghost", "microbatch")

_MICROBATCH = 16  # patients whose gradients are in memory at once
_STABILITY = 0.01  # gamma of automatic clipping (arXiv:2206.07136, section 4)


class Choice(NamedTuple):
    """How per-patient gradients are made.

    Attributes:
      method: "ghost" or "microbatch".
      reason: why, in words.
    """

    method: str
    reason: str


def method_of(
    losses_fn: contracts.LossFn, params, inputs, labels, key=None, *, rule="flat"
) -> Choice:
    """What method "auto" means for a model; by abstract evaluation alone.

    Args:
      losses_fn: as in `clipped_sum`; so are the others, of which only shapes matter.
      params: arrays or shapes.
      inputs: [patients, records, ...].
      labels: [patients, records, ...].
      key: as in `clipped_sum`.
      rule: as in `clipped_sum`.

    Returns:
      The choice.
    """
    return _choose(losses_fn, params, inputs, labels, key, rule)[0]


def clipped_sum(
    losses_fn: contracts.LossFn,
    params: contracts.Params,
    inputs: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike,
    key: jax.Array | None,
    *,
    clip_norm: ArrayLike,
    rule: str = "flat",
    method: str = "auto",
    microbatch: int = 0,
) -> tuple[jax.Array, contracts.Params]:
    """The sum over patients of clipped gradients, not divided by anything.

    With g_p as above and C the clipping norm, patient p adds
      flat: min(1, C / |g_p|) g_p;
      automatic: C / (|g_p| + 0.01) g_p (Bu et al. 2022, arXiv:2206.07136, AUTO-S);
      per_layer: each layer's part clipped to C / sqrt(layers) (McMahan et al. 2018,
        arXiv:1710.06963, section 2.3).
    Whatever the patient's records are, the norm of this is at most C, up to rounding.

    Args:
      losses_fn: (params, inputs [batch, ...], labels [batch, ...], key) -> [batch]
        float32: each record's loss, which depends on no other record.
      params: float32 pytree.
      inputs: [patients, records, ...].
      labels: [patients, records, ...].
      weights: [patients, records] float32: 1 / (records used), 0 on padding; all zero
        for an absent patient. What stands in padding changes nothing, be it NaN.
      key: for dropout. "ghost" hands it to `losses_fn` (one for each microbatch), which
        draws for the whole batch; "microbatch" hands each patient another. None: none.
      clip_norm: C, positive scalar, may be traced; inf clips nothing, in every rule.
      rule: "flat", "automatic" or "per_layer".
      method: "ghost": norms by taps, then one weighted backward pass; "microbatch":
        the gradient of each patient, a few at a time; "auto": ghost where taps cover
        every parameter exactly once and the rule is not per_layer.
      microbatch: patients at a time; 0 = all ("ghost") or 16 ("microbatch"). Changes
        memory and speed, and the sum only by rounding (and dropout's draws).

    Returns:
      L_p [patients] float32 and the sum, like `params`.

    Raises:
      validate.InputError: an unknown rule or method, or "ghost" where taps do not
        cover every parameter.
    """
    validate.one_of("rule", rule, RULES)
    validate.one_of("method", method, METHODS)
    is_used = weights > 0
    # 0 * NaN is NaN: padding must hold numbers before it is weighted with zero.
    inputs, labels = _where(is_used, inputs), _where(is_used, labels)
    covered = None
    if method != "microbatch":
        choice, covered = _choose(losses_fn, params, inputs, labels, key, rule)
        if method == "ghost" and choice.method != "ghost":
            _refuse(covered, rule)
        method = choice.method
    is_ghost = method == "ghost"
    size = min(microbatch or (len(weights) if is_ghost else _MICROBATCH), len(weights))
    scale = {"clip_norm": clip_norm, "rule": rule}
    if is_ghost:
        factor_fn = functools.partial(_factors, **scale)
        tapped_fn = taps.tapped(losses_fn, covered)
        is_whole = size == len(weights)
        part_fn = functools.partial(_ghost, tapped_fn, factor_fn, is_whole, params)
    else:
        clip_fn = functools.partial(_clip, **scale)
        part_fn = functools.partial(_explicit, losses_fn, clip_fn, params)
    return _in_parts(part_fn, params, (inputs, labels, weights), key, size)


def _choose(losses_fn, params, inputs, labels, key, rule):
    """The choice, and the coverage where it was looked at."""
    if rule == "per_layer":
        return Choice("microbatch", "per_layer needs the norm of every layer"), None
    covered = taps.coverage(losses_fn, params, inputs, labels, key)
    if covered.is_complete:
        return Choice("ghost", "every parameter belongs to one tapped layer"), covered
    return Choice("microbatch", f"{covered.what}: {covered.reason}"), covered


def _refuse(covered: taps.Coverage | None, rule: str) -> None:
    """Raises: why "ghost" is impossible."""
    remedy = 'set method="auto" or method="microbatch"'
    if covered is None:
        raise validate.InputError(
            f'rule="{rule}" with method="ghost"',
            "needs the norm of every layer",
            remedy,
        )
    raise validate.InputError(
        f'{covered.what} with method="ghost"', covered.reason, remedy
    )


def _where(is_used: jax.Array, values: jax.Array) -> jax.Array:
    """Zeros where a record is padding."""
    is_used = is_used.reshape(is_used.shape + (1,) * (values.ndim - is_used.ndim))
    return jnp.where(is_used, values, jnp.zeros((), values.dtype))


def _factors(norms: jax.Array, *, clip_norm: ArrayLike, rule: str) -> jax.Array:
    """[patients] float32, what each gradient is multiplied with."""
    limit = jnp.asarray(clip_norm, jnp.float32)
    if rule == "automatic":
        return jnp.where(jnp.isinf(limit), 1.0, limit / (norms + _STABILITY))
    # Not min(1, C/n): that is NaN for C = n = 0 or inf. A NaN norm stays NaN.
    return jnp.where(norms <= limit, 1.0, limit / norms)


def _ghost(tapped_fn, factor_fn, is_whole, params, part, ids, key):
    """Two pullbacks of one forward pass: norms first, then the weighted gradient."""
    inputs, labels, weights = part
    num_patients = len(weights)
    flat = lambda values: values.reshape(-1, *values.shape[2:])
    # One key for a whole batch; microbatches must not repeat each other's dropout.
    is_shared = key is None or is_whole
    part_key = key if is_shared else jax.random.fold_in(key, ids[0])

    def patient_losses(params, probe):
        losses = tapped_fn(params, probe, flat(inputs), flat(labels), part_key)
        return _weighted(losses.reshape(weights.shape), weights)

    probe = jnp.zeros(num_patients, jnp.float32)
    losses, pullback = jax.vjp(patient_losses, params, probe)
    # XLA drops the parameters' gradients from this pass: nothing reads them.
    squared_norms = pullback(jnp.ones_like(losses))[1]
    factors = factor_fn(jnp.sqrt(jnp.maximum(squared_norms, 0.0)))
    return losses, pullback(factors)[0]


def _explicit(losses_fn, clip_fn, params, part, ids, key):
    """The gradient of every patient in memory."""

    def patient_loss(params, inputs, labels, weights, patient):
        own_key = key if key is None else jax.random.fold_in(key, patient)
        return _weighted(losses_fn(params, inputs, labels, own_key), weights)

    gradient_fn = jax.vmap(jax.value_and_grad(patient_loss), (None, 0, 0, 0, 0))
    losses, gradients = gradient_fn(params, *part, ids)
    return losses, clip_fn(gradients)


def _weighted(losses: jax.Array, weights: jax.Array) -> jax.Array:
    """Sum over a patient's records, the last axis."""
    return jnp.sum(jnp.where(weights > 0, losses, 0.0) * weights, -1)


def _clip(gradients, *, clip_norm: ArrayLike, rule: str):
    """The clipped sum over the first axis of gradients [patients, ...]."""
    leaves, tree = jax.tree.flatten(gradients)
    squares = [jnp.sum(jnp.square(v).reshape(len(v), -1), 1) for v in leaves]
    layers = _layers(gradients) if rule == "per_layer" else [range(len(leaves))]
    limit = clip_norm / math.sqrt(len(layers))
    found = list(leaves)
    for layer in layers:
        norms = jnp.sqrt(sum(squares[i] for i in layer))
        factors = _factors(norms, clip_norm=limit, rule=rule)
        for i in layer:
            found[i] = jnp.tensordot(factors, leaves[i], 1)
    return jax.tree.unflatten(tree, found)


def _layers(tree) -> list[list[int]]:
    """Places of the leaves that lie in the same node: kernel and bias of a layer."""
    layers: dict[tuple, list[int]] = {}
    for i, (path, _) in enumerate(jax.tree.leaves_with_path(tree)):
        layers.setdefault(path[:-1], []).append(i)
    return list(layers.values())


def _in_parts(part_fn: Callable, params, batch, key, size: int):
    """Runs `part_fn` on so many patients at a time and adds the gradients up."""
    num_patients = len(batch[2])
    num_parts = -(-num_patients // size)
    ids = jnp.arange(num_parts * size, dtype=jnp.int32)
    if num_parts == 1 and num_patients == size:
        return part_fn(batch, ids, key)
    split = lambda v: _padded(v, len(ids)).reshape(num_parts, size, *v.shape[1:])

    def step(total, inputs):
        losses, gradients = part_fn(*inputs, key)
        return jax.tree.map(jnp.add, total, gradients), losses

    start = jax.tree.map(jnp.zeros_like, params)
    xs = jax.tree.map(split, batch), ids.reshape(num_parts, size)
    total, losses = lax.scan(step, start, xs)
    return losses.reshape(-1)[:num_patients], total


def _padded(values: jax.Array, length: int) -> jax.Array:
    """Absent patients (zeros, weights too) up to a length."""
    rest = [(0, length - len(values))] + [(0, 0)] * (values.ndim - 1)
    return jnp.pad(values, rest)
