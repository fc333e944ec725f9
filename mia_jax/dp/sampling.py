"""Poisson sampling of patients into a batch of static size, and of their records.

Each member flips its own coin at every step; the order of members, the other coins and
the size of the batch have no part in it. The coins are the bits that the accountant
assumes: P(included) is a whole multiple of 2^-32, with no rounding in between.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mia_jax import batches, contracts

_COIN = 2.0**32  # equally likely words of a coin


class Patients(NamedTuple):
    """The patients of one step.

    Attributes:
      unit: [padded] int32, unit numbers; the padding repeats unit 0.
      is_included: [padded] bool, False = padding.
      num_included: int32 scalar, patients drawn; more than `padded` = overflow.
    """

    unit: jax.Array
    is_included: jax.Array
    num_included: jax.Array


def realisable(sampling_prob: float) -> float:
    """The next probability at or above one that 32-bit coins can have."""
    return float(-(-sampling_prob * _COIN // 1)) / _COIN


def poisson(
    key: jax.Array,
    members: contracts.Members,
    num_units: int,
    sampling_prob: float,
    padded: int,
) -> Patients:
    """Draws every member with the same probability, independently.

    A unit's coin belongs to its number, so that adding or removing another member
    moves no coin.

    Args:
      key: of the model and step.
      members: the model's units.
      num_units: static; unit numbers are below it.
      sampling_prob: static, in (0, 1]; a multiple of 2^-32 (`realisable`).
      padded: static size of the batch.

    Returns:
      The patients drawn, in ascending order of their numbers. Of an overflow the
      highest are left out: its probability must be accounted for (`padding`).

    Reference: Mironov et al. 2019, arXiv:1908.10530, section 3, Poisson sampling.
    """
    coins = jax.random.bits(key, (num_units,))
    if sampling_prob < 1:
        is_drawn = coins < jnp.uint32(round(sampling_prob * _COIN))
    else:
        is_drawn = jnp.ones_like(coins, bool)
    place = jnp.arange(len(members.index))
    is_drawn = is_drawn[members.index] & (place < members.count)
    places = jnp.nonzero(is_drawn, size=padded, fill_value=len(place))[0]
    is_included = places < len(place)
    unit = members.index[jnp.where(is_included, places, 0)]
    unit = jnp.where(is_included, unit, 0)
    return Patients(unit, is_included, is_drawn.sum(dtype=jnp.int32))


def records(
    key: jax.Array, units: contracts.Units, patients: Patients, most: int
) -> tuple[jax.Array, jax.Array]:
    """Up to `most` records of every patient: all of them, or a fresh random subset.

    Args:
      key: of the model and step; every patient draws with a key of its own, made of
        this one and its number.
      units: who has which records.
      patients: of the step.
      most: static, records per patient.

    Returns:
      record: [padded, most] int32, record numbers; padding repeats a record.
      weight: [padded, most] float32, 1 / (records used), 0 on padding.
    """
    count = units.count[patients.unit]
    used = jnp.minimum(count, most)
    keys_fn = lambda unit: jax.random.bits(jax.random.fold_in(key, unit), (6,))
    keys = jax.vmap(keys_fn)(patients.unit)  # [padded, rounds]
    place = jnp.broadcast_to(jnp.arange(most), (len(count), most))
    is_used = (place < used[:, None]) & patients.is_included[:, None]
    place = jnp.where(place < used[:, None], place, 0)
    over_records = lambda a: jnp.repeat(a, most, axis=0)
    drawn = batches.permute(
        place.reshape(-1).astype(jnp.uint32),
        over_records(keys).T,
        over_records(count.astype(jnp.uint32)),
    )
    record = units.records[
        units.start[patients.unit][:, None] + drawn.reshape(place.shape)
    ]
    weight = is_used / jnp.maximum(used, 1).astype(jnp.float32)[:, None]
    return record, weight.astype(jnp.float32)
