"""Predictions of a group of models for every record, in evaluation mode and float32."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mia_jax import contracts, scores


def predict(
    model: contracts.Model,
    task: contracts.Task,
    record_chunk: int,
    maps_models: bool,
    params: contracts.Params,
    inputs: jax.Array,
    labels: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Logits of all models for all records, and the statistic of the records' labels.

    Of "multilabel" the statistic of every label by itself: what they have in common
    is lost in a number per record, and that number can be made from them.

    Args:
      model: the network.
      task: static.
      record_chunk: records at a time, so that activations stay in the cache.
      maps_models: True: one model after another, which suits a CPU's cache; False:
        all at once by vmap (accelerators).
      params: of the group, each leaf [models, ...].
      inputs: [records, ...] float32.
      labels: [records] int32; "multilabel": [records, outputs].

    Returns:
      Logits [models, records, outputs] and statistic [models, records] ("multilabel":
      [models, records, outputs]), float32.
    """
    one_model = lambda params: _in_chunks(
        lambda part: model.apply(params, part), inputs, record_chunk
    )
    over_models = lax.map if maps_models else _vmap
    logits = over_models(one_model, params)
    if task == "multilabel":
        return logits, scores.per_label(logits, labels[None])
    return logits, scores.statistic(logits, labels[None], task)


def of_one_model(
    model: contracts.Model,
    record_chunk: int,
    params: contracts.Params,
    inputs: np.ndarray,
) -> np.ndarray:
    """Logits [records, outputs] float32 of a single model, on the host.

    Args:
      model: the network.
      record_chunk: records at a time.
      params: of the model, without an axis of models.
      inputs: [records, ...] float32.
    """

    def all_records(params, inputs):
        apply = lambda part: model.apply(params, part)
        return _in_chunks(apply, inputs, record_chunk)

    return np.asarray(jax.jit(all_records)(params, inputs))


def _vmap(function: Callable, argument: contracts.Params) -> jax.Array:
    return jax.vmap(function)(argument)


def _in_chunks(function: Callable, inputs: jax.Array, chunk: int) -> jax.Array:
    """`function` of all rows in chunks; the last overlaps the one before."""
    num_rows = len(inputs)
    if num_rows <= chunk:
        return function(inputs)
    starts = [*range(0, num_rows - chunk, chunk), num_rows - chunk]
    part = lambda start: function(lax.dynamic_slice_in_dim(inputs, start, chunk))
    parts = lax.map(part, jnp.asarray(starts))
    last = num_rows - chunk * (len(starts) - 1)  # rows that only the last chunk has
    rows = [parts[:-1].reshape(-1, *parts.shape[2:]), parts[-1, chunk - last :]]
    return jnp.concatenate(rows)
