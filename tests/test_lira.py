import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from mia_jax import leave_one_out, validate
from mia_jax.attacks import lira


def _draw(num_models, num_records, seed=0, leak=0.5, balanced=True):
    generator = np.random.default_rng(seed)
    uniform = generator.random((num_models, num_records))
    member = uniform.argsort(0) < num_models // 2
    if not balanced:
        member = uniform < 0.35
        member[:3], member[3:6] = True, False
    statistic = generator.standard_normal((num_models, num_records)) + leak * member
    return statistic.astype(np.float32), member


def _refit(statistic, member, mode, variance):
    """Refits both Gaussians for every target in float64: the definition."""
    x = statistic.astype(np.float64)
    out = np.empty_like(x)
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        sides = [
            np.ma.array(x[rest], mask=member[rest] != is_in) for is_in in (True, False)
        ]
        mean = [side.mean(0).filled(np.nan) for side in sides]
        var = [side.var(0).filled(np.nan) for side in sides]
        if variance == "fixed":
            freedom = [(side.count(0) - 1).sum() for side in sides]
            squares = [(side.var(0) * side.count(0)).sum() for side in sides]
            var = [s / f for s, f in zip(squares, freedom, strict=True)]
        sd = np.sqrt(var)
        if mode == "offline":
            out[i] = -scipy.stats.norm.logsf(x[i], mean[1], sd[1])
        else:
            ratio = [
                scipy.stats.norm.logpdf(x[i], m, s)
                for m, s in zip(mean, sd, strict=True)
            ]
            out[i] = ratio[0] - ratio[1]
    return out


@pytest.mark.parametrize("mode", ["online", "offline"])
@pytest.mark.parametrize("variance", ["record", "fixed"])
@pytest.mark.parametrize("balanced", [True, False])
def test_closed_form_equals_refitting_for_every_target(mode, variance, balanced):
    statistic, member = _draw(24, 40, balanced=balanced)
    found = lira.scores(jnp.asarray(statistic), jnp.asarray(member), mode, variance)
    expected = _refit(statistic, member, mode, variance)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


def test_golden_value():
    generator = np.random.default_rng(7)
    x = generator.standard_normal((8, 3))
    member = np.argsort(generator.random((8, 3)), 0) < 4
    x = (x + member).astype(np.float32)
    found = np.asarray(lira.scores(jnp.asarray(x), jnp.asarray(member)))
    column = [3.447071, -99.863764, 3.374529, -72.59963]
    column += [3.019611, 4.559134, -237.267384, -18.928047]
    np.testing.assert_allclose(found[:, 0], column, rtol=1e-5)
    np.testing.assert_allclose(found.sum(), -497.367743070083, rtol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 50.0, 1000.0])
@pytest.mark.parametrize("outlier", [0.0, 10.0, 100.0, 1000.0])
def test_float32_is_exact_for_offsets_and_outliers(offset, outlier):
    statistic, member = _draw(256, 10)
    statistic[5] += outlier
    statistic = (offset + (0.1 if offset else 1.0) * statistic).astype(np.float32)
    found = lira.scores(jnp.asarray(statistic), jnp.asarray(member))
    expected = _refit(statistic, member, "online", "record")
    error = np.abs(found - expected) / np.maximum(1, np.abs(expected))
    assert error.max() < 5e-5


@pytest.mark.parametrize("variance", ["record", "fixed"])
def test_saturated_sides_stay_finite(variance):
    statistic, member = _draw(16, 6)
    statistic[:, 0] = 7.0
    statistic[member[:, 1], 1] = 7.0
    found = lira.scores(jnp.asarray(statistic), jnp.asarray(member), variance=variance)
    assert np.isfinite(found).all()


def test_far_tails_of_the_offline_attack_stay_finite():
    statistic, member = _draw(16, 6)
    statistic[0] = [1e4, -1e4, 1e6, -1e6, 1e8, -1e8]
    found = lira.scores(jnp.asarray(statistic), jnp.asarray(member), mode="offline")
    assert np.isfinite(found).all()


@pytest.mark.parametrize("variance", ["record", "fixed"])
def test_chunks_equal_the_whole_array(variance, monkeypatch):
    statistic, member = _draw(16, 50)
    patient_of_record = np.arange(50) // 2
    member = member[:, ::2]
    monkeypatch.setattr(leave_one_out, "RECORD_CHUNK", 7)
    chunked = leave_one_out.scores(
        lira, statistic, member, patient_of_record, variance=variance
    )
    mask = jnp.asarray(member[:, patient_of_record])
    whole = lira.scores(jnp.asarray(statistic), mask, variance=variance)
    np.testing.assert_allclose(chunked, whole, rtol=2e-5, atol=1e-5)


def test_unknown_option_lists_the_known_ones():
    statistic, member = _draw(8, 2)
    with pytest.raises(validate.InputError, match="offline, online"):
        lira.scores(statistic, member, mode="onlin")
