"""The pairs an attacker decides rightly: formulas of the leave-pair-out engine.

Mean and variance without one model have closed forms, and the constants of the
likelihoods cancel. What is left of the difference of two log-likelihood ratios is,
summed over the patient's records,

    D_ij = (x_j - x_i) ((w_i - w_j) (x_i + x_j) - 2 (w_i mu_i - w_j mu_j)),

i an IN model and j an OUT model, mu_i and w_i = 1 / (2 variance) of IN without i, mu_j
and w_j of OUT without j. In this form nothing cancels in float32, equal x give exactly
0, and all steps of a pair are one fused loop: no matrix of pairs is written.

"lda": w = 1/2 for all records and P mu in place of mu, P the inverse of a covariance
matrix: D_ij = (mu_i - mu_j)' P (x_i - x_j). Only the fits are multiplied by P, so equal
x still give exactly 0.

"selected": D_ij = x_i[r] - x_j[r] of the record r with the largest mu_i - mu_j.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

VARIANCES = ("shrunk", "own", "pooled")
SCORES = ("llr", "lda", "selected")

# Records summed in one fused loop over pairs.
_RECORDS_AT_ONCE = 8
# z has variance 1 over all models. A side a hundred times narrower is saturated: a few
# values, not a normal. Keeps 1 / variance finite.
_SMALLEST_VARIANCE = 1e-4
# Added to D of pairs that are padding: they lose.
_LOSES = -1e30


class Pairs(NamedTuple):
    """Blocks with equal numbers of models, members first: an input of `twice_wins`.

    Attributes:
      x_in, x_out: [patients, records, blocks, IN | OUT] float32.
      is_in, is_out: [patients, blocks, IN | OUT] bool, False = padding.
    """

    x_in: jax.Array
    is_in: jax.Array
    x_out: jax.Array
    is_out: jax.Array


@functools.partial(jax.jit, static_argnames=("variance", "score"))
def twice_wins(
    blocks: list[Pairs],
    weight: jax.Array,
    cohort: jax.Array,
    nu0: jax.Array,
    precision: jax.Array | None = None,
    *,
    variance: str,
    score: str = "llr",
) -> jax.Array:
    """2 * sum of W over the pairs of all blocks: [patients] int32, exact.

    Args: see `differences`.
    """
    total = jnp.zeros(len(weight), jnp.int32)
    inputs = blocks, weight, cohort, nu0, precision
    for difference in differences(*inputs, variance=variance, score=score):
        wins = (difference > 0).astype(jnp.int32) + (difference >= 0)
        total += wins.sum((1, 2, 3))
    return total


def differences(
    blocks: list[Pairs],
    weight: jax.Array,
    cohort: jax.Array,
    nu0: jax.Array,
    precision: jax.Array | None = None,
    *,
    variance: str,
    score: str = "llr",
) -> list[jax.Array]:
    """D of all pairs: for every layout [patients, blocks, IN, OUT]; padding loses.

    Args:
      blocks: one entry per layout.
      weight: [patients, records] float32, 1 = a record of the patient, 0 = padding.
      cohort: [2, patients] float32, prior variance of IN and OUT of "shrunk".
      nu0: prior degrees of freedom of "shrunk".
      precision: [patients, records, records] float32, P of "lda"; else None.
      variance: one of `VARIANCES`; "pooled" for scores other than "llr".
      score: one of `SCORES`.
    """
    varies = [jnp.any(x != 0, (2, 3)) for b in blocks for x in (b.x_in, b.x_out)]
    weight = weight * functools.reduce(jnp.logical_or, varies)
    fit_fn = functools.partial(_fits, weight=weight, nu0=nu0, variance=variance)
    fits_in = fit_fn([b.x_in for b in blocks], [b.is_in for b in blocks], cohort[0])
    fits_out = fit_fn([b.x_out for b in blocks], [b.is_out for b in blocks], cohort[1])
    if score == "lda":
        fits_in, fits_out = (
            [(w, _times(precision, p)) for w, p in fits] for fits in (fits_in, fits_out)
        )
    has_fit = [
        sum(valid.sum((1, 2)) for valid in side) > 1
        for side in ([b.is_in for b in blocks], [b.is_out for b in blocks])
    ]
    usable = (has_fit[0] & has_fit[1])[:, None, None, None]
    fits = [
        [jnp.where(usable, part, 0) for part in (*one, *other)]
        for one, other in zip(fits_in, fits_out)
    ]
    if score == "selected":
        weight = weight * usable[:, :, 0, 0]
        return [_selected(b, weight, f[1], f[3]) for b, f in zip(blocks, fits)]
    return [_difference(b, *f) for b, f in zip(blocks, fits)]


def _times(precision: jax.Array, p: jax.Array) -> jax.Array:
    """P times the fits of every model; in full float32 on any device."""
    exact = jax.lax.Precision.HIGHEST
    return jnp.einsum("pqr,prbm->pqbm", precision, p, precision=exact)


def _fits(
    x: list[jax.Array],
    valid: list[jax.Array],
    cohort: jax.Array,
    *,
    weight: jax.Array,
    nu0: jax.Array,
    variance: str,
) -> list[tuple[jax.Array, jax.Array]]:
    """w = 1 / (2 variance) and w * mean of one side, each model left out of its own.

    Args:
      x: per layout [patients, records, blocks, models of the side] float32.
      valid: per layout [patients, blocks, models of the side] bool.
      cohort: [patients] float32, prior variance; 0 = mean over the patient's records.
      weight: [patients, records] float32, 0 = contributes nothing.
      nu0: prior degrees of freedom.
      variance: one of `VARIANCES`.
    """
    valid = [one[:, None].astype(jnp.float32) for one in valid]
    n = sum(one.sum((2, 3), keepdims=True) for one in valid)
    others, df = jnp.maximum(n - 1, 1), jnp.maximum(n - 2, 1)
    weight = weight[:, :, None, None]
    mean = sum((a * b).sum((2, 3), keepdims=True) for a, b in zip(x, valid))
    mean /= jnp.maximum(n, 1)
    e = [(a - mean) * b for a, b in zip(x, valid)]
    squares = sum((one * one).sum((2, 3), keepdims=True) for one in e)
    fits = []
    for one, is_model in zip(e, valid):
        left = jnp.maximum(squares - one * one * (n / others), 0)
        v = jnp.ones_like(left) if variance == "pooled" else left / df
        if variance == "shrunk":
            own = (v * weight).sum(1, keepdims=True)
            own /= jnp.maximum(weight.sum(1, keepdims=True), 1)
            prior = cohort[:, None, None, None]
            target = jnp.where(prior > 0, prior, own)
            v = (nu0 * target + left) / jnp.maximum(nu0 + n - 2, 1)
        w = weight * is_model * 0.5 / jnp.maximum(v, _SMALLEST_VARIANCE)
        fits.append((w, w * (mean - one / others)))
    return fits


def _difference(b: Pairs, w_in, p_in, w_out, p_out) -> jax.Array:
    """D of one layout; p = w * mean. Sums a few records in every loop over pairs."""
    sides = (b.x_in, w_in, p_in), (b.x_out, w_out, p_out)
    return _over_records(_add_records, _start(b), sides)


def _selected(b: Pairs, weight: jax.Array, p_in, p_out) -> jax.Array:
    """D of one layout at the record with the largest difference of the fitted means.

    Args:
      b: the layout.
      weight: [patients, records] float32, 0 = is never selected.
      p_in, p_out: [patients, records, blocks, models] float32, half the means.
    """
    start = _start(b)
    # Half a mean of z is below sqrt(models): a record of weight 0 is never above.
    unusable = jnp.where(weight > 0, 0.0, _LOSES)[:, :, None, None]
    first = jnp.full_like(start, _LOSES / 2), jnp.zeros_like(start)
    sides = (b.x_in, p_in + unusable), (b.x_out, p_out)
    return start + _over_records(_select_records, first, sides)[1]


def _start(b: Pairs) -> jax.Array:
    """0 for pairs of models, [patients, blocks, IN, OUT]; padding loses."""
    lose = [jnp.where(valid, 0.0, _LOSES) for valid in (b.is_in, b.is_out)]
    return lose[0][..., :, None] + lose[1][..., None, :]


def _over_records(step_fn, carry, sides):
    """Runs `step_fn(carry, *sides)` over a few records at a time."""
    num_records = sides[0][0].shape[1]
    if num_records <= _RECORDS_AT_ONCE:
        return step_fn(carry, *sides)
    num_steps = num_records // _RECORDS_AT_ONCE
    parts = jax.tree.map(
        lambda a: jnp.moveaxis(
            a.reshape(len(a), num_steps, _RECORDS_AT_ONCE, *a.shape[2:]), 1, 0
        ),
        sides,
    )
    return jax.lax.scan(lambda c, part: (step_fn(c, *part), None), carry, parts)[0]


def _add_records(difference: jax.Array, side_in, side_out) -> jax.Array:
    """Adds the terms of some records, [patients, records, blocks, models] each."""
    for r in range(side_in[0].shape[1]):
        x_i, w_i, p_i = (part[:, r, :, :, None] for part in side_in)
        x_j, w_j, p_j = (part[:, r, :, None, :] for part in side_out)
        slope = (w_i - w_j) * (x_i + x_j) - 2 * (p_i - p_j)
        difference += (x_j - x_i) * slope
    return difference


def _select_records(carry, side_in, side_out):
    """Keeps the largest mu_i - mu_j so far and x_i - x_j of that record."""
    largest, difference = carry
    for r in range(side_in[0].shape[1]):
        x_i, p_i = (part[:, r, :, :, None] for part in side_in)
        x_j, p_j = (part[:, r, :, None, :] for part in side_out)
        is_larger = p_i - p_j > largest
        largest = jnp.where(is_larger, p_i - p_j, largest)
        difference = jnp.where(is_larger, x_i - x_j, difference)
    return largest, difference
