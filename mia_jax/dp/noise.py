"""Gaussian noise on a tree: a key of its own for every leaf."""

import jax
import jax.numpy as jnp

from mia_jax import contracts


def add(key: jax.Array, tree: contracts.Params, scale: jax.Array) -> contracts.Params:
    """Adds independent noise of one standard deviation to every entry.

    The normal numbers are float32, made from 32-bit words: the guarantee is that of
    real numbers, as in every public DP-SGD (Mironov 2012,
    https://doi.org/10.1145/2382196.2382264, on what that may leave open).

    Args:
      key: of the model and step.
      tree: arrays, float32.
      scale: float32 scalar, standard deviation; 0 = the tree as it is.

    Returns:
      The tree with noise.
    """
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    noisy = [
        leaf + scale * jax.random.normal(key, leaf.shape, jnp.float32)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(structure, noisy)
