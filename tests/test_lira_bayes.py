"""LiRA with empirical-Bayes Student t laws, against a twin that refits every target."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats

from mia_jax import leave_one_out, metrics, validate
from mia_jax.attacks import _priors, _student, lira

TRIGAMMA = lambda x: scipy.special.polygamma(1, x)


def _draw(num_models, num_records, seed=0, leak=0.5, balanced=True):
    """Variances with 8 degrees of freedom, members with .8 of the spread."""
    generator = np.random.default_rng(seed)
    uniform = generator.random((num_models, num_records))
    member = uniform.argsort(0) < num_models // 2
    if not balanced:
        member = uniform < 0.4
        member[:3], member[3:6] = True, False
    noise = generator.standard_normal((num_models, num_records))
    noise *= np.where(member, 0.8, 1.0)
    scale = np.sqrt(8 / generator.chisquare(8, num_records))
    return (scale * (noise + leak * member) + 3).astype(np.float32), member


def _prior(squares, freedom):
    """Smyth's moments for one target: lists of sums of squares and freedoms."""
    squares, freedom = np.asarray(squares), np.asarray(freedom, float)
    use = (freedom > 0) & (squares > 1e-10)
    squares, half = squares[use], freedom[use] / 2
    e = np.log(squares / (2 * half)) - scipy.special.digamma(half) + np.log(half)
    excess = e.var(ddof=1) - TRIGAMMA(half).mean()
    if excess <= 1e-7:
        return np.inf, np.exp(e.mean())
    nu = 2 * scipy.optimize.brentq(lambda y: TRIGAMMA(y) - excess, 1e-6, 1e9)
    return nu, np.exp(e.mean() + scipy.special.digamma(nu / 2) - np.log(nu / 2))


def _posterior(prior, squares, freedom):
    nu, scale = prior
    if np.isinf(nu):
        return scale, np.inf
    return (nu * scale + squares) / (nu + freedom), nu + freedom


def _law(nu, x, center, square):
    if np.isinf(nu):
        return scipy.stats.norm(center, np.sqrt(square))
    return scipy.stats.t(nu, center, np.sqrt(square))


def _side(values):
    """Count, mean, sum of squares."""
    n = len(values)
    return n, values.mean() if n else 0.0, ((values - values.mean()) ** 2).sum()


def _twin(x, member, mean_prior=True, variance_ratio=True, num_tuned=None):
    """Everything, priors too, refitted for each target in float64 loops."""
    x, out = x.astype(np.float64), np.empty(x.shape)
    num_models, num_records = x.shape
    for t in range(num_models):
        rest = np.arange(num_models) != t
        sides = [
            (_side(x[rest & member[:, r], r]), _side(x[rest & ~member[:, r], r]))
            for r in range(num_records)
        ]
        ratio = _twin_ratios(sides) if variance_ratio else np.ones(num_records)
        freedom = num_models - 3
        squares = [i[2] / q + o[2] for (i, o), q in zip(sides, ratio, strict=True)]
        prior = _prior(squares, [freedom] * num_records)
        fits = [_posterior(prior, s, freedom) for s in squares]
        m, tau2 = _twin_mean(sides, ratio, fits) if mean_prior else (0.0, np.inf)
        for r in range(num_records):
            out[t, r] = _twin_score(x[t, r], *sides[r], ratio[r], *fits[r], m, tau2)
    return out


def _twin_ratios(sides):
    f = np.array([[i[0] - 1, o[0] - 1] for i, o in sides]) / 2
    seen = np.log([i[2] / o[2] for i, o in sides])
    seen -= scipy.special.digamma(f[:, 0]) - scipy.special.digamma(f[:, 1])
    noise = TRIGAMMA(f).sum(1)
    spread = max(0.0, seen.var(ddof=1) - noise.mean())
    return np.exp(seen.mean() + spread / (spread + noise) * (seen - seen.mean()))


def _twin_mean(sides, ratio, fits):
    u = [(i[1] - o[1]) / np.sqrt(v) for (i, o), (v, _) in zip(sides, fits, strict=True)]
    noise = [q / i[0] + 1 / o[0] for (i, o), q in zip(sides, ratio, strict=True)]
    nu = fits[0][1]
    inflation = 1.0 if np.isinf(nu) else nu / (nu - 2)
    return np.mean(u), max(1e-4, np.var(u, ddof=1) - np.mean(noise) * inflation)


def _twin_score(x, in_, out, ratio, v, nu, m, tau2):
    y_in, y_out, var_in, var_out = in_[1], out[1], v * ratio / in_[0], v / out[0]
    c, tau2 = m * np.sqrt(v), v * tau2
    u_in = 1 / (1 / var_in + 1 / (var_out + tau2))
    u_out = 1 / (1 / var_out + 1 / (var_in + tau2))
    m_in = (y_in / var_in + (y_out + c) / (var_out + tau2)) * u_in
    m_out = (y_out / var_out + (y_in - c) / (var_in + tau2)) * u_out
    law_in = _law(nu, x, m_in, v * ratio + u_in)
    return law_in.logpdf(x) - _law(nu, x, m_out, v + u_out).logpdf(x)


def _scores(x, member, **options):
    """As the engine scores, with priors and sums of all records."""
    record = np.arange(member.shape[1])
    return leave_one_out.scores(lira, np.asarray(x), member, record, **options)


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("mean_prior", [True, False])
@pytest.mark.parametrize("variance_ratio", [True, False])
def test_equals_refitting_everything_for_every_target(
    balanced, mean_prior, variance_ratio
):
    x, member = _draw(14, 60, balanced=balanced)
    x[2, 5], x[9, 7] = 1e4, -1e4  # logits of a saturated model
    options = {"mean_prior": mean_prior, "variance_ratio": variance_ratio}
    found = _scores(x, member, **options)
    expected = _twin(x, member, **options)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=5e-5)


def test_equal_variances_are_pooled_to_a_normal_law():
    """nu0 is infinite where log variances differ by chance only: no Student t."""
    x, member = _draw(14, 60)
    x = (0.5 * member + _equal_variances(14, 60)).astype(np.float32)
    prior = lira.tune(x, member, variance_ratio=False)
    assert (prior.inverse_freedom == 0).all()
    found = _scores(x, member, variance_ratio=False)
    expected = _twin(x, member, variance_ratio=False)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=5e-5)


def _equal_variances(num_models, num_records):
    """Columns whose spread within any half is nearly the same."""
    generator = np.random.default_rng(3)
    column = np.linspace(-1, 1, num_models)
    return np.stack([generator.permutation(column) for _ in range(num_records)], 1)


@pytest.mark.parametrize("tail", ["one_sided", "two_sided"])
@pytest.mark.parametrize("balanced", [True, False])
def test_offline_uses_out_models_alone(tail, balanced):
    x, member = _draw(14, 60, balanced=balanced)
    x[2, 5], x[9, 7] = 1e4, -1e4
    found = _scores(x, member, mode="offline", tail=tail)
    expected = np.empty(x.shape)
    for t in range(len(x)):
        rest = ~member & (np.arange(len(x)) != t)[:, None]
        sides = [_side(x[rest[:, r], r].astype(float)) for r in range(x.shape[1])]
        prior = _prior([s[2] for s in sides], [s[0] - 1 for s in sides])
        for r, (n, mean, squares) in enumerate(sides):
            v, nu = _posterior(prior, squares, n - 1)
            law = _law(nu, x[t, r], mean, v * (1 + 1 / n))
            value = float(x[t, r])
            is_one = tail == "one_sided"
            expected[t, r] = -(law.logsf(value) if is_one else law.logpdf(value))
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=5e-5)
    without_members = np.where(member, np.float32(100), x)
    changed = _scores(without_members, member, mode="offline", tail=tail)
    is_out = ~member
    np.testing.assert_allclose(changed[is_out], found[is_out], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("freedom", [1.0, 1.5, 3.0, 7.0, 31.0, 255.0, 1e4, np.inf])
def test_student_tail_and_peak(freedom):
    """Against SciPy's."""
    z = np.float32([-1e4, -30, -3, -1, -0.1, 0, 1e-3, 0.1, 0.5, 1, 2, 3, 5, 10, 30])
    inverse = jnp.full(z.shape, 1 / freedom, jnp.float32)
    law = _student._Law(jnp.asarray(z), jnp.ones(z.shape), inverse)
    reference = _law(freedom, z, 0, 1)
    expected = reference.logsf(z.astype(float))
    found = _student._log_upper_tail(law)
    # Above a chance of 1 - 1e-38 float32 has nothing but 0.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-37)
    peak = float(_student._log_peak(jnp.float32(1 / freedom)))
    assert peak == pytest.approx(reference.logpdf(0), abs=2e-7)


class TestGolden:
    @pytest.mark.parametrize(
        ("variances", "expected"),
        [
            ([0.5, 1, 2, 4, 0.25], (4.507460, 1.032930)),
            ([0.5, 1, 2, 8, 0.05], (1.386545, 0.455755)),
        ],
    )
    def test_moments_of_the_variance(self, variances, expected):
        squares = 4 * np.array([variances])
        found = _priors.variance_prior(squares, np.array(4))
        np.testing.assert_allclose(np.ravel(found), expected, atol=6e-7)

    def test_inverse_trigamma(self):
        assert _priors.inverse_trigamma(np.array(0.5)) == pytest.approx(
            2.459953, abs=5e-7
        )
        y = np.geomspace(1e-3, 1e6, 40)
        np.testing.assert_allclose(_priors.inverse_trigamma(TRIGAMMA(y)), y, rtol=1e-8)
        assert np.isinf(_priors.inverse_trigamma(np.array([0.0, -1.0]))).all()


def test_priors_are_recovered():
    x, member = _draw(32, 10_000, leak=0.5)
    prior = lira.tune(x, member)
    assert 1 / prior.inverse_freedom == pytest.approx(8, rel=0.1)
    assert prior.variance == pytest.approx(1, rel=0.05)
    assert np.exp(prior.log_ratio) == pytest.approx(0.64, rel=0.02)
    assert prior.log_ratio_variance.max() < 0.01
    assert prior.mean == pytest.approx(0.5, rel=0.05)
    assert prior.mean_variance.max() < 0.02
    for part in prior:
        assert part.shape == (32, 1) and part.dtype == np.float32


def test_without_tuned_numbers_the_statistic_given_decides():
    x, member = _draw(14, 60)
    alone = lira.scores(jnp.asarray(x), jnp.asarray(member))
    np.testing.assert_allclose(alone, _scores(x, member), rtol=2e-5, atol=2e-5)
    with pytest.raises(validate.InputError, match="without tuned"):
        jax.jit(lira.scores)(jnp.asarray(x), jnp.asarray(member))


def test_a_side_of_one_model_needs_the_mean_prior():
    x, member = _draw(14, 60)
    member[:, 0] = np.arange(14) == 0  # the only member: none is left without it
    assert np.isfinite(_scores(x, member)).all()
    with pytest.raises(validate.InputError, match="mean_prior"):
        lira.tune(x, member, mean_prior=False)
    with pytest.raises(validate.InputError, match="offline"):
        lira.tune(x, ~member, mode="offline")


@pytest.mark.parametrize(
    "options",
    [{}, {"mean_prior": False}, {"variance_ratio": False}, {"mode": "offline"}],
    ids=str,
)
def test_own_mask_bits_enter_neither_priors_nor_scores(options):
    x, member = _draw(14, 60)
    flipped = member.copy()
    flipped[4, :5] = ~flipped[4, :5]
    before, after = (lira.tune(x, mask, **options) for mask in (member, flipped))
    for a, b in zip(after, before, strict=True):
        np.testing.assert_allclose(a[4], b[4], rtol=1e-5, atol=1e-6)
    assert any(np.any(a != b) for a, b in zip(after, before, strict=True))
    before, after = (_scores(x, mask, **options) for mask in (member, flipped))
    np.testing.assert_allclose(after[4], before[4], rtol=1e-4, atol=1e-4)


def _simulate(num_models, num_records, generator, ratio_spread=0.0):
    """A tenth leaks 2 sd, the rest .3; variances with 8 degrees of freedom."""
    member = generator.random((num_models, num_records)).argsort(0) < num_models // 2
    scale = np.sqrt(8 / generator.chisquare(8, num_records))
    leak = np.where(generator.random(num_records) < 0.1, 2.0, 0.3)
    spread = np.exp(ratio_spread * generator.standard_normal(num_records))
    noise = generator.standard_normal((num_models, num_records))
    x = scale * (np.where(member, spread, 1.0) * noise + leak * member)
    return x.astype(np.float32), member


def _mean_auc(x, member, **options):
    return metrics.aucs_by_model(_scores(x, member, **options), member).mean()


@pytest.mark.slow
def test_few_models_gain_by_the_priors():
    """M = 16: record .585, fixed .594, bayes .618 in a simulation of 20,000 records.

    Here 16 targets of 4,096 records: the standard error of a mean AUC is about .003, of
    differences on the same draws less; the margin of .008 is 3 of it or more.
    """
    x, member = _simulate(16, 4_096, np.random.default_rng(1))
    auc = {v: _mean_auc(x, member, variance=v) for v in ("record", "fixed", "bayes")}
    assert auc["fixed"] > auc["record"]
    assert auc["bayes"] > auc["fixed"] + 0.008
    without = _mean_auc(x, member, variance="bayes", mean_prior=False)
    assert auc["bayes"] > without + 0.008 and without > auc["record"] + 0.004


def test_many_models_lose_nothing_where_the_spread_of_members_differs():
    """IN sd differs by record: one variance for both sides would be the wrong model."""
    x, member = _simulate(64, 2_048, np.random.default_rng(2), ratio_spread=0.4)
    record = _mean_auc(x, member, variance="record")
    assert _mean_auc(x, member, variance="bayes") > record
    assert _mean_auc(x, member, variance_ratio=False) < record - 0.015
