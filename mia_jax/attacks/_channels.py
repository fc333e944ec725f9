"""Several statistics of one record: views, or the labels of a multilabel record."""

import jax
import jax.numpy as jnp

# Least shrinkage of a correlation: identical channels stay invertible in float32.
_LEAST_SHRINKAGE = 1e-3

CHANNELS = ("mean", "sum", "multivariate")


def split(
    statistic: jax.Array, member_mask: jax.Array, channels: str
) -> tuple[jax.Array, jax.Array]:
    """The statistic as the chosen way needs it, and a mask of the same rank.

    Args:
      statistic: [models, records] or [models, records, channels] float32.
      member_mask: [models, records] bool.
      channels: mean, sum or multivariate; without a channel axis all are the same.
    """
    if statistic.ndim == 2:
        return statistic, member_mask
    if channels == "mean":
        return statistic.mean(-1), member_mask
    if channels == "multivariate":
        statistic = decorrelated(statistic)
    return statistic, member_mask[..., None]


def total(scores: jax.Array) -> jax.Array:
    """Adds the scores of the channels: [models, records(, channels)] -> 2 axes."""
    return scores if scores.ndim == 2 else scores.sum(-1)


def decorrelated(x: jax.Array) -> jax.Array:
    """Channels of each record turned to be uncorrelated over models, mask-free.

    ZCA-cor whitening (Kessy, Lewin and Strimmer 2018, arXiv:1512.00809), scaled back to
    each channel's own standard deviation: of all whitened channels these stay closest
    to the given ones, so "higher = member" keeps its sense, and one channel stays as it
    is. The correlation is of all models, whatever their membership. So no mask enters
    and no target need be deleted; as the total covariance is the one within sides plus
    a multiple of delta delta^T, it leads to the same direction as the latter. It is
    shrunk to the identity by the intensity of Schaefer and Strimmer 2005 (section 2,
    https://doi.org/10.2202/1544-6115.1175), of each record.

    Args:
      x: [models, records, channels] float32.

    Returns:
      The same shape, with mean 0 over models.
    """
    num_models, _, num_channels = x.shape
    x = x - x.mean(0, keepdims=True)
    scale = jnp.sqrt((x**2).sum(0, keepdims=True) / (num_models - 1))
    z = x / jnp.where(scale > 0, scale, 1.0)
    bias = num_models / (num_models - 1)  # of `ddof=1`
    product = jnp.einsum("mrk,mrl->rkl", z, z) / num_models
    squares = jnp.einsum("mrk,mrl->rkl", z**2, z**2) / num_models
    # Unbiased correlation and the variance of it, from the products of each model.
    correlation = product * bias
    noise = (squares - product**2) * (bias**2 / (num_models - 1))
    identity = jnp.eye(num_channels)[None]
    off = 1.0 - identity
    signal = jnp.maximum((correlation**2 * off).sum((1, 2)), 1e-12)
    shrinkage = (noise * off).sum((1, 2)) / signal
    shrinkage = jnp.clip(shrinkage, _LEAST_SHRINKAGE, 1.0)[:, None, None]
    values, vectors = jnp.linalg.eigh(identity + (1.0 - shrinkage) * correlation * off)
    turn = jnp.einsum("rki,ri,rli->rkl", vectors, values**-0.5, vectors)
    return jnp.einsum("mrk,rkl->mrl", z, turn) * scale
