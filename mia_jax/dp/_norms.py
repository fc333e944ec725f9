"""Squared norms of each patient's parameter gradient, layer by layer.

A layer's input x and the error b of its output (the loss gradient with respect to the
output) determine the gradient of its parameters. Its norm costs less than the gradient
itself: Goodfellow 2015 (arXiv:1510.01799) for single positions, Li et al. 2021
(arXiv:2110.05679, section 4) for sequences.

`find` chooses the rule of a Flax (Linen) layer. The rules take float32 arrays with
patients first and return [patients] float32. Where they add inner products they add
the rounding error too: a patient whose records nearly cancel must not seem smaller than
its gradient, or clipping would let more than its share pass.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import flax.errors
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen import linear
from jax import lax

# A norm must not be coarser than the gradient that it bounds.
_PRECISION = lax.Precision.HIGHEST

# Rounding error of a sum of products of inner products, as a share of
# (sum_t |x_t| |b_t|)^2: up to 7 * 2^-24 measured for 2 to 30 positions and 8 to 2000
# inputs; 16 * 2^-24 adds at most 5e-7 * positions to a norm of unrelated records.
_ROUNDING = 2.0**-20


# (layer params, inputs [batch, ...], errors [batch, ...], patients) -> [patients]
Rule = Callable[..., jax.Array]


def find(module: nn.Module, args: tuple, kwargs: dict, outputs: jax.Array):
    """The rule of a layer, or as text why it has none.

    Args:
      module: a bound module that owns parameters and has no parts with parameters.
      args: what it was called with; the first is its input, records first.
      kwargs: what it was called with.
      outputs: its output, records first.

    Returns:
      A `Rule`, or the reason as a string that follows the module's name.
    """
    leaves = jax.tree.leaves(module.variables["params"])
    if any(leaf.dtype != jnp.float32 for leaf in (*leaves, outputs)):
        # The rules would bound another gradient than the one that is rounded.
        return "does not compute in float32"
    if set(module.variables) != {"params"}:
        return "keeps state beside its parameters"
    if type(module) is nn.Dense and not (module.dot_general or module.dot_general_cls):
        return _dense(module.use_bias)
    if type(module) is nn.Embed:
        return _embed(module.num_embeddings)
    if isinstance(module, nn.Conv):
        if module.feature_group_count != 1:
            return "has feature groups"
        if _each(module, module.input_dilation) != _each(module, 1):
            return "has input dilation"
        if _is_plain(module):
            return _conv(module)
    return _explicit(module, args, kwargs, outputs)


def _dense(has_bias: bool) -> Rule:
    def rule(params, inputs, errors, num_patients):
        del params
        return dense(_rows(inputs, num_patients), _rows(errors, num_patients), has_bias)

    return rule


def _embed(num_embeddings: int) -> Rule:
    def rule(params, ids, errors, num_patients):
        del params
        # A table of one row is used whatever the id.
        ids = ids if num_embeddings > 1 else jnp.zeros_like(ids)
        ids = ids.reshape(num_patients, -1)
        return embed(ids, _rows(errors, num_patients), num_embeddings)

    return rule


def _conv(module: nn.Conv) -> Rule:
    kernel = _kernel(module)
    strides = _each(module, module.strides)
    dilation = _each(module, module.kernel_dilation)
    padding = linear.canonicalize_padding(module.padding, len(kernel))
    has_bias = module.use_bias

    def rule(params, inputs, errors, num_patients):
        del params
        images = inputs.reshape(-1, *inputs.shape[-len(kernel) - 1 :])
        found = patches(images, kernel, strides, padding, dilation)
        found = found.reshape(num_patients, -1, found.shape[-1])
        return dense(found, _rows(errors, num_patients), has_bias)

    return rule


def _explicit(module: nn.Module, args, kwargs, outputs) -> Rule | str:
    """The rule of any other layer, if it can be called alone on a patient's records."""
    if any(hasattr(value, "shape") for value in jax.tree.leaves((args[1:], kwargs))):
        return "has several arrays as inputs"
    alone = module.clone(parent=None, name=None)

    def apply_fn(params, inputs):
        return alone.apply({"params": params}, inputs, *args[1:], **kwargs)

    try:
        record = jax.eval_shape(apply_fn, module.variables["params"], args[0][:1])
    except flax.errors.FlaxError:
        # It draws random numbers or reads other modules: no copy can repeat its call.
        return "cannot be called outside its model"
    if record.shape != (1, *outputs.shape[1:]):
        return "does not treat records one by one"

    def rule(params, inputs, errors, num_patients):
        by_patient = lambda v: v.reshape(num_patients, -1, *v.shape[1:])
        return explicit(apply_fn, params, by_patient(inputs), by_patient(errors))

    return rule


def _rows(values: jax.Array, num_patients: int) -> jax.Array:
    """[patients, positions, features]: all leading axes of a patient in one."""
    return values.reshape(num_patients, -1, values.shape[-1])


def _kernel(module: nn.Conv) -> tuple[int, ...]:
    size = module.kernel_size
    return (size,) if isinstance(size, int) else tuple(size)


def _each(module: nn.Conv, value) -> tuple[int, ...]:
    """One number per axis of space, as Flax reads strides and dilations."""
    value = 1 if value is None else value
    return (value,) * len(_kernel(module)) if isinstance(value, int) else tuple(value)


def _is_plain(module: nn.Conv) -> bool:
    """Whether it is a plain convolution with zero padding."""
    is_custom = module.conv_general_dilated or module.conv_general_dilated_cls
    padding = module.padding
    is_zero = not isinstance(padding, str) or padding in ("SAME", "SAME_LOWER", "VALID")
    return type(module) is nn.Conv and not is_custom and module.mask is None and is_zero


def dense(inputs: jax.Array, errors: jax.Array, has_bias: bool) -> jax.Array:
    """Of the weights (and bias) of a product, summed over positions.

    |sum_t x_t b_t^T|^2 = sum_tu (x_t . x_u)(b_t . b_u); the bias adds (b_t . b_u).

    Args:
      inputs: [patients, positions, inputs].
      errors: [patients, positions, outputs].
      has_bias: whether there is a bias.

    Returns:
      [patients] float32: by inner products where 2 positions^2 < inputs * outputs, else
      by forming the gradients.
    """
    positions = inputs.shape[1]
    if 2 * positions**2 < inputs.shape[2] * errors.shape[2]:
        return _total((_inner(inputs) + float(has_bias)) * _inner(errors))
    weights = _einsum("pti,pto->pio", inputs, errors)
    total = jnp.sum(jnp.square(weights), (1, 2))
    return total + jnp.sum(jnp.square(errors.sum(1)), 1) if has_bias else total


def embed(ids: jax.Array, errors: jax.Array, num_embeddings: int) -> jax.Array:
    """Of a table of embeddings: sum_tu [id_t = id_u] (b_t . b_u).

    Args:
      ids: [patients, positions] int; negative ones count from the end of the table.
      errors: [patients, positions, features].
      num_embeddings: rows of the table.

    Returns:
      [patients] float32: by inner products where 2 positions^2 is less than the size of
      the table, else by forming the gradients.
    """
    ids = jnp.where(ids < 0, ids + num_embeddings, ids)
    if 2 * ids.shape[1] ** 2 < num_embeddings * errors.shape[2]:
        is_same = ids[:, :, None] == ids[:, None, :]
        return _total(jnp.where(is_same, _inner(errors), 0.0))
    rows = lambda ids, errors: jax.ops.segment_sum(errors, ids, num_embeddings)
    return jnp.sum(jnp.square(jax.vmap(rows)(ids, errors)), (1, 2))


def explicit(
    apply_fn: Callable[[Any, jax.Array], jax.Array],
    params: Any,
    inputs: jax.Array,
    errors: jax.Array,
) -> jax.Array:
    """Of any layer, by forming each patient's gradient: for small or rare layers.

    Args:
      apply_fn: (params, inputs [records, ...]) -> outputs [records, ...].
      params: the layer's parameters.
      inputs: [patients, records, ...].
      errors: [patients, records, ...], as the outputs.

    Returns:
      [patients] float32.
    """

    def squared_norm(inputs, errors):
        gradient = jax.vjp(lambda params: apply_fn(params, inputs), params)[1](errors)
        return sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(gradient))

    return jax.vmap(squared_norm)(inputs, errors)


def patches(
    inputs: jax.Array,
    kernel: Sequence[int],
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    dilation: Sequence[int],
) -> jax.Array:
    """What a convolution multiplies with its kernel: then it is a dense layer.

    Made of strided slices: on CPU far faster than a convolution with unit kernels.

    Args:
      inputs: [batch, *space, channels].
      kernel: its size along each axis of space.
      strides: of the kernel.
      padding: "SAME", "SAME_LOWER", "VALID" or a pair for each axis.
      dilation: of the kernel.

    Returns:
      [batch, *space of the output, kernel positions * channels].
    """
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(inputs.shape[1:-1], reach, strides, padding)
    config = [(0, 0, 0), *((low, high, 0) for low, high in padding), (0, 0, 0)]
    padded = lax.pad(inputs, jnp.zeros((), inputs.dtype), config)
    space = [
        (size - r) // s + 1 for size, r, s in zip(padded.shape[1:-1], reach, strides)
    ]
    found = []
    for offset in itertools.product(*map(range, kernel)):
        start = [o * d for o, d in zip(offset, dilation)]
        stop = [a + (n - 1) * s + 1 for a, n, s in zip(start, space, strides)]
        ends = (0, *start, 0), (len(padded), *stop, padded.shape[-1])
        found.append(lax.slice(padded, *ends, (1, *strides, 1)))
    return jnp.concatenate(found, -1)


def _inner(values: jax.Array) -> jax.Array:
    """[patients, positions, positions] inner products of a patient's positions."""
    return _einsum("pti,pui->ptu", values, values)


def _total(products: jax.Array) -> jax.Array:
    """[patients] sum of [patients, positions, positions], rounded up, never below 0."""
    roots = jnp.sqrt(jnp.diagonal(products, axis1=1, axis2=2))
    return jnp.maximum(products.sum((1, 2)), 0.0) + _ROUNDING * roots.sum(1) ** 2


def _einsum(subscripts: str, *operands: jax.Array) -> jax.Array:
    return jnp.einsum(subscripts, *operands, precision=_PRECISION)
