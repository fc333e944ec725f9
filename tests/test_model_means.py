"""Removal of the model's mean: a naive twin, what it must not touch, and its power."""

import numpy as np
import pytest

from mia_jax.risk import exact, mask_test, model_means, patients


def naive(z, unit_of_record, block):
    """One record at a time, in float64, with all other units' records at hand."""
    z = z.astype(np.float64)
    out = np.zeros_like(z)
    for r in range(z.shape[1]):
        g = z[:, unit_of_record != unit_of_record[r]].mean(1)
        inside = np.stack([g[block == b].mean() for b in block])
        design = np.stack(
            [g - inside, *(1.0 * (block == b) for b in np.unique(block))], 1
        )
        slope = np.linalg.lstsq(design, z[:, r], rcond=None)[0][0]
        left = z[:, r] - slope * g
        left -= left.mean()
        out[:, r] = left / left.std(ddof=1)
    return out


def case(seed, models=24, shock=1.0):
    generator = np.random.default_rng(seed)
    unit = generator.permutation(np.repeat(np.arange(12), [1, 2, 5] * 4))
    x = generator.standard_normal((models, len(unit)))
    x += shock * generator.standard_normal((models, 1)) * generator.random(len(unit))
    return patients.standardise(x), unit


BLOCKS = {
    "one": np.zeros(24, int),
    "two": np.repeat([1, 0], [10, 14]),
    "pairs": np.tile(np.arange(12), 2),
}


@pytest.mark.parametrize("block", BLOCKS)
def test_residuals_are_least_squares(block):
    z, unit = case(0)
    expected = naive(z, unit, BLOCKS[block])
    result = model_means.remove(z.copy(), unit, BLOCKS[block])
    assert result.dtype == np.float32
    # float32 results of order 1.
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=2e-6)


def test_chunks_and_units_larger_than_a_chunk():
    generator = np.random.default_rng(1)
    unit = generator.permutation(np.repeat(np.arange(4), [3000, 1, 1500, 2]))
    z = patients.standardise(generator.standard_normal((16, len(unit))))
    some = generator.choice(len(unit), 20, replace=False)
    expected = np.empty((16, 20))
    wide = z.astype(np.float64)
    for i, r in enumerate(some):
        g = wide[:, unit != unit[r]].mean(1)
        g -= g.mean()
        left = wide[:, r] - (g @ wide[:, r]) / (g @ g) * g
        expected[:, i] = left / left.std(ddof=1)
    result = model_means.remove(z, unit, np.zeros(16, int))
    assert result is z  # in place
    np.testing.assert_allclose(result[:, some], expected, rtol=1e-5, atol=2e-6)


def test_own_scores_never_enter_the_mean():
    """Doubling a unit's leak changes no slope of its own: others alone are its g."""
    z, unit = case(2)
    other = z.copy()
    own = unit == 3
    other[:, own] = patients.standardise(
        np.random.default_rng(3).random((24, own.sum()))
    )
    block = BLOCKS["one"]
    g_before, g_after = (a[:, ~own].mean(1) for a in (z, other))
    np.testing.assert_array_equal(g_before, g_after)
    moved = model_means.remove(other.copy(), unit, block)
    np.testing.assert_allclose(
        moved[:, own], naive(other, unit, block)[:, own], atol=2e-6
    )


def test_what_is_left_unchanged():
    z, unit = case(4)
    alone = model_means.remove(z.copy(), np.zeros_like(unit), BLOCKS["one"])
    np.testing.assert_array_equal(alone, z)  # a single unit has no others
    few = patients.standardise(z[:6])
    np.testing.assert_array_equal(
        model_means.remove(few.copy(), unit, np.zeros(6, int)), few
    )


def test_degenerate_records_become_zero():
    z, unit = case(5)
    z[:, 0] = 0  # constant
    result = model_means.remove(z, unit, BLOCKS["one"])
    np.testing.assert_array_equal(result[:, 0], 0)
    assert np.isfinite(result).all()
    same = patients.standardise(np.repeat(z[:, 1:2], 5, 1))  # nothing but the mean
    result = model_means.remove(same, np.arange(5), BLOCKS["one"])
    np.testing.assert_array_equal(result, 0)


def cohort(kind, shock, num_patients=3000, auc_shift=0.742):
    """Every fifth patient leaks: AUC .7; the shock weighs differently on records."""
    generator = np.random.default_rng(6)
    if kind == "pairs":
        first = generator.random((32, num_patients)) < 0.5
        mask, block = np.concatenate([first, ~first]), np.tile(np.arange(32), 2)
    else:
        mask = generator.random((64, num_patients)).argsort(0).argsort(0) < 32
        block = np.zeros(64, int)
    is_leaky = np.arange(num_patients) % 5 == 0
    x = generator.standard_normal(mask.shape) + auc_shift * mask * is_leaky
    weight = generator.uniform(0.5, 1.5, num_patients)
    x += shock * generator.standard_normal((64, 1)) * weight
    return x.astype(np.float32), mask, np.arange(num_patients), block, is_leaky


@pytest.mark.parametrize("kind", ["independent", "pairs"])
def test_power_is_kept_without_and_won_with_shocks(kind):
    """600 leaky patients: standard error of a power .02."""
    power = {}
    for shock in (0.0, 1.0):
        x, mask, record, block, is_leaky = cohort(kind, shock)
        for model_mean in ("kept", "removed"):
            z = patients.scores(x, record, block, model_mean=model_mean)
            p = patients.test(z, mask, record, block).p_value
            power[shock, model_mean] = (p[is_leaky] < 1e-2).mean()
            assert (p[~is_leaky] < 1e-2).mean() < 0.017  # 3.4 s.e.
    assert abs(power[0, "removed"] - power[0, "kept"]) < 0.03
    assert power[1, "removed"] > power[1, "kept"] + 0.2
    assert abs(power[1, "removed"] - power[0, "removed"]) < 0.06


def test_null_law_is_exact_for_given_scores():
    """All halves of eight models, shocks and all: the rank sum's own law."""
    z, unit = case(7, models=8)
    z = model_means.remove(z, unit, np.zeros(8, int))
    masks = np.array([list(np.binary_repr(i, 8)) for i in range(256)]) == "1"
    masks = masks[masks.sum(1) == 4].T
    column = np.repeat(z[:, :1], masks.shape[1], 1)
    found = mask_test.ranks(
        [(column, np.arange(masks.shape[1]))], masks, np.zeros(8, int)
    )
    u, tail = found.u, exact.survival(4, 4)
    seen = (u[:, None] >= np.arange(17)).mean(0)
    np.testing.assert_allclose(seen, tail, rtol=1e-12)
