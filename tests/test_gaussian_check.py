"""The Gaussian check: scipy's transformations, calibration in the tail, saturation."""

import numpy as np
import pytest
import scipy.stats

from mia_jax.risk import gaussian_check


def cohort(seed, num_models=64, num_records=3000, d=1.0):
    """Normal records of any location and scale, one per patient; members d higher."""
    generator = np.random.default_rng(seed)
    shape = num_models, num_records
    mask = generator.random(shape).argsort(0).argsort(0) < num_models // 2
    x = generator.standard_normal(shape) + d * mask
    x = x * np.exp(generator.standard_normal(num_records)) + 5
    return x.astype(np.float32), mask, np.arange(num_records)


@pytest.mark.parametrize("n", [20, 32, 128])
def test_deviates_are_those_of_scipy(n):
    x = np.random.default_rng(0).gamma(2.0, size=(n, 40))
    z = (x - x.mean(0)) / x.std(0)
    np.testing.assert_allclose(
        gaussian_check._z_skewness((z**3).mean(0), n),
        scipy.stats.skewtest(x).statistic,
        rtol=1e-10,
    )
    np.testing.assert_allclose(
        gaussian_check._z_kurtosis((z**4).mean(0), n),
        scipy.stats.kurtosistest(x).statistic,
        rtol=1e-10,
    )


def test_statistic_is_the_sum_over_sides():
    x, mask, record = cohort(1, 48, 5)
    mask[:, 0] = np.arange(48) < 20  # unequal sides
    shape, distinct, is_tested = gaussian_check._measure(x, mask, record)
    for r in range(5):
        sides = [x[mask[:, r], r], x[~mask[:, r], r]]
        both = sum(scipy.stats.normaltest(side).statistic for side in sides)
        skew = sum(scipy.stats.skewtest(side).statistic ** 2 for side in sides)
        kurtosis = sum(scipy.stats.kurtosistest(side).statistic for side in sides)
        found = shape.both[r], shape.skewness[r], shape.kurtosis[r]
        np.testing.assert_allclose(found, (both, skew, kurtosis), rtol=1e-5, atol=1e-5)
    assert (distinct == 48).all() and is_tested.all()


@pytest.mark.parametrize("num_models", [20, 64])
def test_p_values_are_uniform_in_the_tail_where_chi_squared_is_rejected(num_models):
    """40,000 normal records. P(p <= .001) / .001 has s.e. .16, chi-squared 4 to 6."""
    mask = np.arange(num_models)[:, None].repeat(40_000, 1) < num_models // 2
    x = np.random.default_rng(2).standard_normal(mask.shape)
    shape, _ = gaussian_check._shape(x, mask)
    null = gaussian_check._null(num_models // 2, num_models // 2)
    for values, simulated in zip(shape, null):
        p = gaussian_check._p_values(values, simulated)
        assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.005)
        assert np.mean(p <= 0.001) < 0.0017
    naive = scipy.stats.chi2.sf(shape.both, 4)
    assert np.mean(naive <= 0.001) > 0.0025


def test_normal_records_pass():
    found = gaussian_check.check(*cohort(3))
    keys = (
        "share_rejected num_records_tested fdr share_saturated share_tied share_skewed"
        " share_heavy_tailed note"
    )
    assert list(found) == keys.split()
    assert found["num_records_tested"] == 3000 and found["fdr"] == 0.05
    assert found["share_rejected"] < 0.002
    assert found["share_skewed"] < 0.002 and found["share_heavy_tailed"] < 0.002
    assert found["share_saturated"] == 0.0 and found["share_tied"] < 0.01


def test_a_leak_alone_is_no_violation():
    """Members 4 sd higher: bimodal over all models, normal within the sides."""
    x, mask, record = cohort(4, d=4.0)
    assert gaussian_check.check(x, mask, record)["share_rejected"] < 0.002
    pooled = scipy.stats.normaltest(x).pvalue  # the wrong variant
    assert np.mean(pooled < 0.001) > 0.5


def test_skewed_and_heavy_tailed_records_are_told_apart():
    x, mask, record = cohort(5, 128, 2000)
    generator = np.random.default_rng(6)
    x[:, :400] = generator.exponential(size=(128, 400))
    x[:, 400:600] = generator.standard_t(2, (128, 200))
    x[:, 600:1000] = generator.random((128, 400))  # light tails
    found = gaussian_check.check(x, mask, record)
    assert 0.45 < found["share_rejected"] < 0.53
    assert 0.2 < found["share_skewed"] < 0.32  # single outliers of t2 skew it too
    assert 0.2 < found["share_heavy_tailed"] < 0.32
    assert f"{100 * found['share_rejected']:.1f} %" in found["note"]


def test_saturated_tied_and_constant_records_are_counted():
    x, mask, record = cohort(7, 64, 100)
    x[:, 0] = 3.1  # constant
    x[:, 1] = np.minimum(x[:, 1], np.sort(x[:, 1])[20])  # 44 models at the ceiling
    x[1, 2] = x[0, 2]  # one tie
    x[~mask[:, 3], 3] = 0.1  # constant on one side: 33 distinct values
    found = gaussian_check.check(x, mask, record)
    assert found["num_records_tested"] == 98
    assert found["share_saturated"] == 0.02
    assert found["share_tied"] == 0.04


def test_too_few_models_are_not_tested():
    x, mask, record = cohort(8, 12, 20)
    found = gaussian_check.check(x, mask, record)
    assert found["num_records_tested"] == 0
    assert found["share_rejected"] is found["share_skewed"] is None
    assert found["note"].startswith("Not tested")


def test_chunks_and_the_order_of_records_change_nothing(monkeypatch):
    x, mask, record = cohort(9, 32, 50)
    x[:, :10] = np.exp(x[:, :10])
    whole = gaussian_check.check(x, mask, record)
    monkeypatch.setattr(gaussian_check, "_COLUMNS", 7)
    order = np.random.default_rng(10).permutation(50)
    assert gaussian_check.check(x[:, order], mask, record[order]) == whole
