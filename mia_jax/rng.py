"""Randomness by name and global id: one root key, streams folded from it.

    root key -> model id -> purpose -> step

So the number of devices or workers, the order of groups and a resume change no bit.
Host code takes a counter-based NumPy generator built from the same names.
"""

import zlib

import jax
import numpy as np


def _number(purpose: str) -> int:
    """A fixed 31-bit number of a purpose; `hash` would differ between processes."""
    return zlib.crc32(purpose.encode()) & 0x7FFFFFFF


def root(seed: int) -> jax.Array:
    """The root key of a run, a typed PRNG key (threefry)."""
    return jax.random.key(seed, impl="threefry2x32")


def stream(key: jax.Array, purpose: str) -> jax.Array:
    """The key of one purpose, e.g. `stream(key, "batches")`."""
    return jax.random.fold_in(key, _number(purpose))


def of_model(key: jax.Array, model_id: jax.Array | int) -> jax.Array:
    """The key of one model, by its global id in the run (int32 scalar)."""
    return jax.random.fold_in(key, model_id)


def host(seed: int, purpose: str, *ids: int) -> np.random.Generator:
    """A NumPy generator (Philox) for host code, e.g. `host(seed, "masks", block)`."""
    entropy = np.random.SeedSequence([seed, _number(purpose), *ids])
    return np.random.Generator(np.random.Philox(entropy))
