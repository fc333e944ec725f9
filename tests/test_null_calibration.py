"""The whole patient test where nothing leaks, over designs, sizes and shocks.

Given all models' scores, patients' masks are independent, and so are their p-values:
shocks that all patients share do not make the counts below overdispersed.
"""

import itertools

import numpy as np
import pytest
import scipy.stats

from mia_jax.risk import exact, multiplicity, patients, signed_rank

DESIGNS = ("independent", "pairs", "two blocks")
MODELS = (16, 64, 256)
# Records per patient, and patients.
SIZES = ((1, 1000), (3, 600), (10, 200), (50, 40))
REPEATS = 3
LEVELS = (0.01, 0.001)
# Of every single check below. With 6 groups of cohorts and 7 checks each, the whole
# test of the null raises a false alarm in fewer than one of 200 seeds.
FALSE_ALARM = 1e-4


def halves(generator, models, num_patients):
    return generator.random((models, num_patients)).argsort(0).argsort(0) < models // 2


def draw_masks(generator, kind, models, num_patients):
    """Masks and blocks of a design."""
    if kind == "independent":
        return halves(generator, models, num_patients), np.zeros(models, int)
    if kind == "pairs":
        first = generator.random((models // 2, num_patients)) < 0.5
        return np.concatenate([first, ~first]), np.tile(np.arange(models // 2), 2)
    sizes = models // 4, models - models // 4
    parts = [halves(generator, size, num_patients) for size in sizes]
    return np.concatenate(parts), np.repeat([0, 1], sizes)


def draw_scores(generator, kind, models, num_patients, k, has_shock):
    """Records of a patient correlated, and one shock per model with its own weights.

    Within complementary pairs shocks are mostly opposite: what the number or the choice
    of a model's members does to all patients, the other model of the pair has reversed.
    """
    x = generator.standard_normal((models, num_patients, k), np.float32)
    x += 0.7 * generator.standard_normal((models, num_patients, 1), np.float32)
    if has_shock:
        shock = generator.standard_normal((models, 1, 1), np.float32)
        if kind == "pairs":
            shock = 0.4 * shock
            opposite = generator.standard_normal((models // 2, 1, 1), np.float32)
            shock += np.concatenate([opposite, -opposite])
        x += shock * generator.uniform(0.5, 1.5, (num_patients, k)).astype(np.float32)
    return x


def attainable(kind, models):
    """All p-values that the test of one column can give, ascending."""
    if kind == "pairs":
        return signed_rank.survival(models // 2)[::-1]
    if kind == "independent":
        return exact.survival(models // 2, models // 2)[::-1]
    sizes = models // 4, models - models // 4
    return exact.survival_of_blocks([(s // 2, s // 2) for s in sizes])[::-1]


def randomise(generator, p, possible):
    """Uniform where the law is exact: between a p-value and the next smaller one."""
    # Two ways of adding up one law agree to 1e-12.
    index = np.searchsorted(possible, p * (1 - 1e-9))
    low = np.where(index > 0, possible[index - 1], 0)
    return low + generator.random(len(p)) * (p - low)


def failures(uniform, p_value):
    """Names of the checks that fail.

    Args:
      uniform: randomised p-values of the sums over records.
      p_value: of the patients; these may be larger than uniform.
    """
    failed = []
    if scipy.stats.kstest(uniform, "uniform").pvalue < FALSE_ALARM:
        failed.append("Kolmogorov-Smirnov")
    for level in LEVELS:
        num = int((uniform <= level).sum())
        if scipy.stats.binomtest(num, len(uniform), level).pvalue < FALSE_ALARM:
            failed.append(f"tail of sums at {level}")
        num = int((p_value <= level).sum())
        if scipy.stats.binom.sf(num - 1, len(p_value), level) < FALSE_ALARM:
            failed.append(f"tail of patients at {level}")
    return failed


def run(generator, kind, has_shock, models, k, num, model_mean="removed", block=None):
    """One cohort without leak: randomised p-values of sums, p-values of patients."""
    mask, blocks = draw_masks(generator, kind, models, num)
    x = draw_scores(generator, kind, models, num, k, has_shock).reshape(models, -1)
    record = np.repeat(np.arange(num), k)
    block = blocks if block is None else block(models)
    z = patients.scores(x, record, block, model_mean=model_mean)
    found = patients.test(z, mask, record, block)
    law = kind if block is blocks else "independent"
    return randomise(generator, found.p_sum, attainable(law, models)), found.p_value


@pytest.mark.slow
def test_p_values_of_216_cohorts_without_leak_are_uniform():
    num_cohorts = 0
    for number, (kind, has_shock) in enumerate(
        itertools.product(DESIGNS, (False, True))
    ):
        generator = np.random.default_rng([0, number])
        cells = itertools.product(MODELS, SIZES, range(REPEATS))
        found = [
            run(generator, kind, has_shock, models, k, num)
            for models, (k, num), _ in cells
        ]
        num_cohorts += len(found)
        uniform, p_value = (np.concatenate(part) for part in zip(*found))
        assert failures(uniform, p_value) == [], (kind, has_shock)
        # Not from being too careful: the smaller p-value of two is doubled, no more.
        assert (p_value <= 0.01).mean() > 0.006, (kind, has_shock)
        is_any = [(multiplicity.adjust(p).bh <= 0.05).any() for _, p in found]
        bound = scipy.stats.binom.ppf(1 - FALSE_ALARM, len(found), 0.05)
        assert sum(is_any) <= bound, (kind, has_shock)
    assert num_cohorts >= 200


@pytest.mark.slow
@pytest.mark.parametrize("has_shock", [False, True])
def test_the_wrong_test_fails_the_same_checks(has_shock):
    """The rank sum over all models of complementary pairs is wrong with shocks.

    Without shocks it is right: the scores of a pair are then two independent draws.
    """
    generator = np.random.default_rng([1, has_shock])
    one_fn = lambda models: np.zeros(models, int)
    cells = itertools.product(MODELS, SIZES[:2], range(4))
    found = [
        run(generator, "pairs", has_shock, models, k, num, "kept", one_fn)
        for models, (k, num), _ in cells
    ]
    failed = failures(*(np.concatenate(part) for part in zip(*found)))
    assert bool(failed) == has_shock, failed
    if has_shock:
        assert "tail of patients at 0.001" in failed


@pytest.mark.slow
@pytest.mark.parametrize("kind", DESIGNS)
def test_false_discoveries_stay_within_their_level(kind):
    """40 cohorts of 500 patients, 10 % with a leak, shocks: mean share of false ones.

    Bound: level plus 3.7 standard errors, false alarm 1e-4.
    """
    generator = np.random.default_rng([2, DESIGNS.index(kind)])
    shares, power = [], []
    for cohort in range(40):
        k, models = (1, 3)[cohort % 2], (64, 128)[cohort // 2 % 2]
        mask, block = draw_masks(generator, kind, models, 500)
        x = draw_scores(generator, kind, models, 500, k, has_shock=True)
        is_leaky = np.arange(500) < 50
        x += 1.5 * (mask & is_leaky)[..., None]
        record = np.repeat(np.arange(500), k)
        z = patients.scores(x.reshape(models, -1), record, block)
        p_value = patients.test(z, mask, record, block).p_value
        is_found = multiplicity.adjust(p_value).bh <= 0.05
        shares.append((is_found & ~is_leaky).sum() / max(is_found.sum(), 1))
        power.append(is_found[is_leaky].mean())
    error = np.std(shares, ddof=1) / np.sqrt(len(shares))
    assert np.mean(shares) <= 0.05 + 3.7 * error
    assert np.mean(power) > 0.7
