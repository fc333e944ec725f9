"""LiRA on several statistics of one record: views, or labels."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from mia_jax import leave_one_out, metrics
from mia_jax.attacks import _channels, lira

FORMS = [
    {"mode": "online", "variance": "record"},
    {"mode": "online", "variance": "fixed"},
    {"mode": "online", "variance": "bayes"},
    {"mode": "offline", "variance": "bayes"},
]


def _draw(num_models, num_records, num_channels, seed=0, leak=0.5, correlation=0.6):
    """Channels of one correlation; `leak` for all or one number a channel."""
    generator = np.random.default_rng(seed)
    member = generator.random((num_models, num_records)).argsort(0) < num_models // 2
    covariance = np.full((num_channels, num_channels), correlation)
    np.fill_diagonal(covariance, 1.0)
    noise = generator.standard_normal((num_models, num_records, num_channels))
    x = noise @ np.linalg.cholesky(covariance).T + leak * member[..., None]
    return x.astype(np.float32), member


def _scores(x, member, **options):
    """As the engine scores, with priors and sums of all records."""
    record = np.arange(member.shape[1])
    return leave_one_out.scores(lira, np.asarray(x), member, record, **options)


@pytest.mark.parametrize("channels", ["sum", "multivariate"])
@pytest.mark.parametrize("form", FORMS[1:3], ids=str)
def test_one_channel_is_the_same_in_every_way(channels, form):
    x, member = _draw(16, 48, 1)
    found = _scores(x, member, channels=channels, **form)
    flat = _scores(x[..., 0], member, **form)
    np.testing.assert_allclose(found, flat, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_sum_adds_the_scores_of_each_channel(form):
    """Each channel has its own fixed variance and priors: labels differ in scale."""
    x, member = _draw(16, 48, 3)
    x *= np.float32([0.1, 1, 10])
    found = _scores(x, member, channels="sum", **form)
    parts = [_scores(x[..., k], member, **form) for k in range(3)]
    np.testing.assert_allclose(found, sum(parts), rtol=2e-5, atol=5e-5)


def test_mean_scores_the_mean_statistic():
    x, member = _draw(16, 48, 3)
    found = _scores(x, member, channels="mean")
    expected = _scores(x.mean(-1), member)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def _decorrelated(x):
    """One record after the other, by matrix square roots in float64."""
    out = np.empty(x.shape)
    for r in range(x.shape[1]):
        values = x[:, r].astype(np.float64)
        n, k = values.shape
        scale = values.std(0, ddof=1)
        z = (values - values.mean(0)) / scale
        products = z[:, :, None] * z[:, None, :]
        correlation = np.corrcoef(values.T)
        noise = n**2 / (n - 1) ** 3 * products.var(0)
        off = ~np.eye(k, dtype=bool)
        shrinkage = noise[off].sum() / (correlation[off] ** 2).sum()
        shrinkage = np.clip(shrinkage, 1e-3, 1.0)
        shrunk = np.where(off, (1 - shrinkage) * correlation, 1.0)
        root = scipy.linalg.sqrtm(np.linalg.inv(shrunk)).real
        out[:, r] = z @ root * scale
    return out


@pytest.mark.parametrize("num_channels", [2, 5, 20])
def test_decorrelation_equals_a_matrix_square_root(num_channels):
    x, _ = _draw(24, 12, num_channels, leak=0.0)
    x = x * np.geomspace(0.1, 10, num_channels).astype(np.float32) + np.float32(100)
    found = np.asarray(_channels.decorrelated(jnp.asarray(x)))
    expected = _decorrelated(x)
    scale = expected.std(0, keepdims=True)
    # 20 channels of 24 models: eigenvalues from .1 to 10, and an offset of 1e3 spreads.
    np.testing.assert_allclose(found / scale, expected / scale, atol=3e-3)
    if num_channels == 5:
        x, _ = _draw(4000, 2, 5, leak=0.0, correlation=0.6)
        turned = np.asarray(_channels.decorrelated(jnp.asarray(x)))
        corr = np.corrcoef(turned[:, 0].T)
        assert np.abs(corr - np.eye(5)).max() < 0.02


@pytest.mark.parametrize("variance", ["record", "bayes"])
def test_multivariate_refits_every_target(variance):
    """Log ratio of the laws of all turned channels, without each target."""
    x, member = _draw(16, 48, 3)
    found = _scores(x, member, channels="multivariate", variance=variance)
    turned = _decorrelated(x)
    if variance == "bayes":
        expected = _scores(turned.astype(np.float32), member, channels="sum")
    else:
        expected = np.zeros(member.shape)
        for t in range(16):
            for r in range(48):
                rest = np.arange(16) != t
                for sign, side in ((1, member[:, r]), (-1, ~member[:, r])):
                    shadows = turned[rest & side, r]
                    law = scipy.stats.norm(shadows.mean(0), shadows.std(0))
                    expected[t, r] += sign * law.logpdf(turned[t, r]).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-4)


@pytest.mark.slow
def test_multivariate_is_the_optimal_direction_with_many_models():
    """Against the exact log ratio of known laws: x' inverse(Sigma) delta."""
    delta = np.array([1.0, 0.0, 0.0])
    x, member = _draw(256, 30, 3, leak=delta, correlation=0.8)
    covariance = np.full((3, 3), 0.8) + 0.2 * np.eye(3)
    weights = np.linalg.solve(covariance, delta)
    exact = (x - delta / 2) @ weights
    found = _scores(x, member, channels="multivariate")
    correlation = np.corrcoef(found.ravel(), exact.ravel())[0, 1]
    assert correlation > 0.97
    plain = _scores(x, member, channels="sum")
    assert np.corrcoef(plain.ravel(), exact.ravel())[0, 1] < correlation - 0.1


def _auc(x, member, channels):
    found = _scores(x, member, channels=channels)
    return metrics.aucs_by_model(found, member).mean()


@pytest.mark.slow
def test_one_leaking_channel_among_correlated_ones():
    x, member = _draw(64, 512, 4, leak=np.array([1.0, 0, 0, 0]), correlation=0.7)
    together, summed = (_auc(x, member, c) for c in ("multivariate", "sum"))
    # Theory: d = 1.58 for the best direction, AUC .87; a single channel has .76.
    assert together > summed + 0.05
    assert 0.78 < together < 0.88


def test_independent_channels_add_up():
    x, member = _draw(64, 512, 4, leak=0.4, correlation=0.0)
    summed = _auc(x, member, "sum")
    assert summed > _auc(np.ascontiguousarray(x[..., :1]), member, "sum") + 0.05


@pytest.mark.parametrize("channels", ["sum", "multivariate"])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_own_mask_bits_do_not_enter(channels, form):
    x, member = _draw(16, 48, 3)
    flipped = member.copy()
    flipped[4, 20:23] = ~flipped[4, 20:23]
    before, after = (
        _scores(x, mask, channels=channels, **form) for mask in (member, flipped)
    )
    np.testing.assert_allclose(after[4], before[4], rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("channels", ["sum", "multivariate"])
def test_equal_and_constant_channels_stay_finite(channels):
    x, member = _draw(16, 48, 3)
    x[:, :3, 1] = x[:, :3, 0]
    x[:, 3] = 7.0
    x[:, 4, 2] = -1e4
    for form in FORMS:
        assert np.isfinite(_scores(x, member, channels=channels, **form)).all()
