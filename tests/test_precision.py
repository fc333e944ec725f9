"""The plan's precision, against the golden tables of the project's statistics."""

import math

import numpy as np
import pytest
from scipy import stats

from mia_jax import validate
from mia_jax.risk import exact, precision, signed_rank

# M: sd at .5, .7, .9; critical AUC / smallest AUC found with 90 % power for one exposed
# patient among N = 1, 5,000, 65,000, 200,000; and for 1 % of the patients discovered.
GOLDEN = {
    32: (0.104, 0.093, 0.055, ".676/.779 .910/.953 .949/.977 .961/.983 .832/.900"),
    64: (0.073, 0.065, 0.038, ".621/.704 .800/.858 .833/.885 .847/.896 .735/.804"),
    128: (0.051, 0.046, 0.027, ".584/.646 .715/.768 .740/.791 .751/.800 .667/.724"),
    256: (0.036, 0.032, 0.019, ".560/.605 .653/.695 .672/.713 .679/.720 .618/.662"),
}


@pytest.mark.parametrize("num_models", GOLDEN)
def test_golden_standard_deviations(num_models):
    for auc, sd in zip((0.5, 0.7, 0.9), GOLDEN[num_models][:3], strict=True):
        # The golden values have three digits.
        assert abs(precision.half_width(num_models, auc) / 1.959964 - sd) <= 5.1e-4


@pytest.mark.parametrize("num_models", GOLDEN)
def test_golden_critical_aucs_and_detection_limits(num_models):
    cells = GOLDEN[num_models][3].split()
    designs = [(1, "single"), *((n, "bonferroni") for n in (5000, 65000, 200000))]
    for (num_patients, level), cell in zip(
        [*designs, (5000, "one_percent")], cells, strict=True
    ):
        alpha = 5e-4 if level == "one_percent" else 0.05 / num_patients
        critical, limit = map(float, cell.split("/"))
        # Half a unit of the third digit.
        assert abs(precision.critical_auc(num_models, alpha) - critical) <= 5.1e-4
        found = precision.detection_limit(
            num_models, num_patients, power=0.9, level=level
        )
        # The golden limits were found on a grid: two units.
        assert abs(found - limit) <= 2e-3


@pytest.mark.parametrize(
    ("num_models", "sd", "threshold", "limit", "chance", "tolerance"),
    [
        (64, 0.0727, 0.813, 0.872, 0.761, 0.030),
        (128, 0.0512, 0.720, 0.762, 0.684, 0.010),
        (256, 0.0362, 0.656, 0.685, 0.630, 0.004),
        (512, 0.0255, 0.610, 0.631, 0.592, 0.002),
    ],
)
def test_normal_approximation(num_models, sd, threshold, limit, chance, tolerance):
    """5,912 patients by the normal law, power .8: the exact law is reached from above.

    The normal tail is too heavy so far out (a rank AUC cannot pass 1), and the noise at
    the limit is smaller than .96 of that at .5; both fade as models are added.
    """
    error = precision.null_sd(num_models)
    assert abs(error - sd) <= 5.1e-5
    normal = 0.5 + stats.norm.isf(0.05 / 5912) * error
    assert abs(normal - threshold) <= 1e-3
    assert abs(normal + 0.8416 * 0.96 * error - limit) <= 1e-3

    exact_threshold = precision.critical_auc(num_models, 0.05 / 5912)
    exact_limit = precision.detection_limit(num_models, 5912)
    assert 0 < threshold - exact_threshold < tolerance
    assert 0 < limit - exact_limit < tolerance
    assert abs(precision.critical_auc(num_models, 1 / 5912) - chance) < tolerance


def test_detection_limit_is_found_with_its_power():
    """Simulated patients at the limit: 4,000, standard error .006."""
    rng = np.random.default_rng(0)
    limit = precision.detection_limit(64, 1000, power=0.8)
    x = rng.normal(size=(4000, 64))
    x[:, :32] += np.sqrt(2) * stats.norm.ppf(limit)
    ranks = x.argsort(axis=1).argsort(axis=1)[:, :32] + 1
    u = (ranks.sum(axis=1) - 32 * 33 / 2).astype(int)
    found = (exact.survival(32, 32)[u] <= 0.05 / 1000).mean()
    # Normal noise at an AUC of .8 with 32 models a side: allow .04.
    assert abs(found - 0.8) < 0.04


@pytest.mark.parametrize("num_models", [6, 7, 12])
def test_null_sd_is_that_of_the_exact_law(num_models):
    n_in, n_out = num_models // 2, num_models - num_models // 2
    survival = exact.survival(n_in, n_out)
    law = survival - np.r_[survival[1:], 0]
    auc = np.arange(len(law)) / (n_in * n_out)
    sd = np.sqrt(law @ auc**2 - (law @ auc) ** 2)
    assert math.isclose(precision.null_sd(num_models), sd, rel_tol=1e-12)
    assert math.isclose(precision.smallest_p(num_models), survival[-1], rel_tol=1e-12)


def test_null_sd_is_half_the_variance_formula_at_chance():
    for num_models in (8, 33, [8, 24]):
        width = precision.half_width(num_models, 0.5) / stats.norm.ppf(0.975)
        assert math.isclose(precision.null_sd(num_models), width, rel_tol=1e-9)


def test_smallest_p():
    assert precision.smallest_p(16) == 1 / 12870  # 7.8e-5: sixteen prove nothing
    assert precision.smallest_p(16, num_parts=2) == 2 / 12870
    assert precision.smallest_p(2, num_parts=2) == 1.0
    assert precision.smallest_p([4, 6]) == 1 / (6 * 20)  # masks are drawn per block
    assert precision.smallest_p([2] * 10) == 2.0**-10  # pairs: the sign test
    assert precision.smallest_p(7) == 1 / 35


def test_models_needed():
    assert precision.models_needed(5912) == 20
    # Patients with several records have two tests, and need two models more.
    assert precision.models_needed(5912, num_parts=2) == 22
    for num_patients in (1, 10, 4730, 10**6):
        needed = precision.models_needed(num_patients)
        assert precision.smallest_p(needed) <= 0.05 / num_patients
        assert precision.smallest_p(needed - 2) > 0.05 / num_patients


def test_blocks():
    # One block is the number; two see a little less than as many models at once.
    assert precision.critical_auc([32], 1e-4) == precision.critical_auc(32, 1e-4)
    whole, split = precision.null_sd(64), precision.null_sd([32, 32])
    assert whole < split < 1.05 * whole
    assert precision.detection_limit(64, 500) < precision.detection_limit([32, 32], 500)
    assert precision.detection_limit([32, 32], 500) < precision.detection_limit(32, 500)


def test_two_parts_halve_alpha():
    halved = precision.critical_auc(64, 0.5e-3)
    assert precision.critical_auc(64, 1e-3, num_parts=2) == halved
    assert precision.detection_limit(64, 99, num_parts=2) > precision.detection_limit(
        64, 99
    )


def test_more_models_see_more():
    odd_and_even = [precision.detection_limit(m, 100) for m in range(24, 70)]
    # A discrete test: not quite monotone, but never a step of .02 back.
    assert np.all(np.diff(odd_and_even) < 0.02)
    assert odd_and_even[-1] < odd_and_even[0] - 0.1


def test_an_audit_too_small_has_no_limit():
    assert precision.critical_auc(16, 0.05 / 5912) == math.inf
    assert math.isnan(precision.detection_limit(16, 5912))
    assert math.isnan(precision.detection_limit(20, 5912))  # only AUC = 1 would do


def test_bad_arguments():
    with pytest.raises(validate.InputError, match="at least 2"):
        precision.null_sd(1)
    with pytest.raises(validate.InputError, match="at least 2"):
        precision.smallest_p([8, 1])
    with pytest.raises(validate.InputError, match="did you mean 'bonferroni'"):
        precision.detection_limit(64, 10, level="bonferoni")
    with pytest.raises(validate.InputError, match="one half"):
        precision.detection_limit(64, 10, power=80)
    with pytest.raises(validate.InputError, match="a patient"):
        precision.models_needed(0)


@pytest.mark.parametrize("alpha", [0.05, 1e-5, 1e-9])
def test_expansion_of_large_designs(alpha):
    """512 models, exactly and by the expansion that takes over above."""
    expansion = precision._expansion_critical(256, 256, alpha)
    assert abs(expansion - precision.critical_auc(512, alpha)) < 3e-4
    normal = 0.5 + stats.norm.isf(alpha) * precision.null_sd(512)
    steps = 1 / 256**2 if alpha == 0.05 else 0
    assert abs(expansion - precision.critical_auc(512, alpha)) <= steps + abs(
        normal - precision.critical_auc(512, alpha)
    )


def test_complementary_pairs_are_planned_for_the_signed_rank():
    """Simulated patients at the limit: 4,000, standard error .006."""
    n = 48
    limit = precision.detection_limit([2] * n, 1000, power=0.8)
    d = np.random.default_rng(1).standard_normal((n, 4000)) + stats.norm.ppf(limit)
    p = signed_rank.p_values(signed_rank.rank_sums(d))
    assert abs((p <= 0.05 / 1000).mean() - 0.8) < 0.04
    # As many models in one block see a little more; the sign test far less.
    assert precision.detection_limit(96, 1000) < limit < 0.8
    sign = stats.binom.isf(0.05 / 1000, n, 0.5) / n
    assert precision.critical_auc([2] * n, 0.05 / 1000) < sign - 0.02
    assert math.isnan(precision.detection_limit([2] * 8, 1000))


def test_table():
    table = precision.table(5000)
    assert list(table) == ["num_models", "half_width", "detection_limit"]
    assert table["num_models"].iloc[[0, -1]].tolist() == [16, 1024]
    assert np.isnan(table["detection_limit"][0])  # sixteen models prove nothing
    for column in ("half_width", "detection_limit"):
        assert (np.diff(table[column].dropna()) < 0).all()
    row = table[table["num_models"] == 128].iloc[0]
    assert row["detection_limit"] == precision.detection_limit(128, 5000)
    assert row["half_width"] == precision.half_width(128)
