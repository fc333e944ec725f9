"""The ledger, its padding, and the ceiling: golden values and closed forms."""

import math

import dp_accounting
import numpy as np
import pytest
from scipy import stats

from mia_jax import validate
from mia_jax.dp import accounting, ceiling, padding

NEIGHBOURS = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE


def _gaussian_epsilon(mu, delta):
    """Balle and Wang 2018, arXiv:1805.06530, theorem 8, solved by bisection."""
    phi = stats.norm.cdf
    excess = lambda e: (
        phi(mu / 2 - e / mu) - math.exp(e) * phi(-mu / 2 - e / mu) - delta
    )
    low, high = 0.0, 50.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return high


# By dp-accounting 0.6.0, computed apart from this code; the last column is RDP.
GOLDEN = [
    (1.0, 0.01, 1000, 1e-5, 1.82824, 2.10137),
    (1.0, 0.1, 100, 1e-5, 7.04660, 7.90385),
    (4.0, 0.2, 1000, 1e-6, 8.54686, 9.11823),
    (1.0, 1.0, 1, 1e-5, 4.37718, 4.72851),
]


@pytest.mark.parametrize(("s", "q", "steps", "delta", "pld", "rdp"), GOLDEN)
def test_epsilon(s, q, steps, delta, pld, rdp):
    mechanism = accounting.Mechanism(s, q, steps)
    assert accounting.epsilon(mechanism, delta) == pytest.approx(pld, abs=2e-5)
    assert accounting.epsilon_rdp(mechanism, delta) == pytest.approx(rdp, abs=2e-5)
    coarse = accounting.epsilon(mechanism, delta, step=1e-3)
    assert pld - 1e-5 <= coarse <= pld + 1e-3 <= rdp


@pytest.mark.parametrize("s", [0.5, 1.0, 3.0])
def test_epsilon_of_one_gaussian_in_closed_form(s):
    found = accounting.epsilon(accounting.Mechanism(s, 1.0, 1), 1e-5)
    # An upper bound, by less than the grid's step in each direction.
    exact = _gaussian_epsilon(1 / s, 1e-5)
    assert exact - 1e-9 <= found <= exact + 3e-4


@pytest.mark.parametrize(
    ("epsilon", "q", "steps", "delta", "noise"),
    [
        (1, 0.0866, 400, 1e-4, 5.6237),
        (4, 0.0866, 400, 1e-4, 1.8463),
        (8, 0.0866, 400, 1e-4, 1.1794),
        (8, 0.05, 1000, 1e-5, 1.1904),
        (100, 0.0866, 400, 1e-4, None),
        (1000, 0.0866, 400, 1e-4, None),
    ],
)
def test_calibrated_noise_keeps_epsilon_and_wastes_little(
    epsilon, q, steps, delta, noise
):
    found = accounting.calibrate(float(epsilon), delta, q, steps)
    if noise:
        assert found == pytest.approx(noise, rel=5e-4)
    achieved_fn = lambda s: accounting.epsilon(accounting.Mechanism(s, q, steps), delta)
    assert achieved_fn(found) <= epsilon < achieved_fn(0.99 * found)


def test_no_noise_promises_nothing():
    mechanism = accounting.Mechanism(0.0, 0.1, 10)
    assert accounting.epsilon(mechanism, 1e-5) == math.inf
    assert accounting.epsilon_rdp(mechanism, 1e-5) == math.inf


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: accounting.epsilon(accounting.Mechanism(-1.0, 0.1, 10), 1e-5),
        lambda: accounting.epsilon(accounting.Mechanism(1.0, 0.0, 10), 1e-5),
        lambda: accounting.epsilon(accounting.Mechanism(1.0, 1.1, 10), 1e-5),
        lambda: accounting.epsilon(accounting.Mechanism(1.0, 0.1, 0), 1e-5),
        lambda: accounting.epsilon(accounting.Mechanism(1.0, 0.1, 10), 0.0),
        lambda: accounting.calibrate(0.0, 1e-5, 0.1, 10),
        lambda: accounting.calibrate(math.inf, 1e-5, 0.1, 10),
    ],
)
def test_numbers_that_make_no_mechanism(wrong):
    with pytest.raises(validate.InputError):
        wrong()


class TestPadding:
    @pytest.mark.parametrize(
        ("members", "batch", "steps", "delta", "epsilon", "p", "padded"),
        [
            (2956, 256, 400, 1e-5, 8, 8.4e-14, 376),
            (2956, 256, 400, 1e-5, 1, 6.7e-11, 359),
            (50_000, 1024, 2000, 1e-6, 8, 1.7e-15, 1283),
        ],
    )
    def test_golden(self, members, batch, steps, delta, epsilon, p, padded):
        found = padding.overflow_probability(epsilon, delta, steps)
        assert found == pytest.approx(p, rel=0.02)
        assert padding.padded_batch(members, batch / members, found) == padded
        spent = padding.overflow_delta(found, epsilon, steps)
        assert spent == pytest.approx(0.01 * delta, rel=1e-9)

    def test_it_is_the_smallest_that_fits(self):
        fits = lambda size: stats.binom.sf(size, 200, 0.3) <= 1e-6
        size = padding.padded_batch(200, 0.3, 1e-6)
        assert fits(size) and not fits(size - 1)
        assert padding.padded_batch(200, 1.0, 1e-6) == 200

    def test_members_stay_below_the_bound(self):
        most = padding.most_members(4730, 0.5)
        assert stats.binom.sf(most, 4730, 0.5) <= 1e-12
        assert stats.binom.sf(most - 2, 4730, 0.5) > 1e-12
        assert padding.most_members(4730, 1.0) == 4730

    def test_large_epsilon_asks_for_no_impossible_probability(self):
        assert padding.overflow_probability(5000.0, 1e-5, 200) > 0
        assert padding.overflow_probability(math.inf, 1e-5, 200) > 0


# noise, q, steps: AUC, TPR at .1, .01, .001, advantage, PPV at FPR .01 and prior .1
CEILINGS = {
    (5.6237, 0.0866, 400): (0.58673, 0.1660, 0.0220, 0.00275, 0.1231, 0.197),
    (1.8463, 0.0866, 400): (0.75793, 0.3892, 0.0948, 0.01945, 0.3792, 0.513),
    (1.1794, 0.0866, 400): (0.87978, 0.6539, 0.2717, 0.08999, 0.5936, 0.751),
    (1.0, 0.1, 100): (0.79409, 0.4692, 0.1461, 0.03878, 0.4388, 0.619),
}


class TestCeiling:
    @pytest.mark.parametrize("numbers", CEILINGS)
    def test_golden(self, numbers):
        curve = ceiling.curve(accounting.Mechanism(*numbers))
        found = [ceiling.auc(curve), *ceiling.tpr_at(curve, [0.1, 0.01, 0.001])]
        found += [ceiling.advantage(curve), ceiling.ppv(curve, 0.1, 0.01)]
        np.testing.assert_allclose(found, CEILINGS[numbers], rtol=3e-3)

    @pytest.mark.parametrize("s", [0.5, 1.0, 3.0])
    def test_one_gaussian_in_closed_form(self, s):
        curve, mu = ceiling.curve(accounting.Mechanism(s, 1.0, 1)), 1 / s
        assert ceiling.auc(curve) == pytest.approx(
            stats.norm.cdf(mu / math.sqrt(2)), abs=1e-6
        )
        fpr = np.array([0.001, 0.01, 0.1, 0.5])
        expected = stats.norm.cdf(stats.norm.ppf(fpr) + mu)
        np.testing.assert_allclose(ceiling.tpr_at(curve, fpr), expected, rtol=1e-4)
        advantage = 2 * stats.norm.cdf(mu / 2) - 1
        assert ceiling.advantage(curve) == pytest.approx(advantage, abs=1e-5)

    def test_a_curve_is_concave_and_ends_at_one(self):
        curve = ceiling.curve(accounting.Mechanism(1.1794, 0.0866, 400))
        grid = np.linspace(0, 1, 400)
        tpr = ceiling.tpr_at(curve, grid)
        assert (np.diff(tpr) >= 0).all() and (np.diff(tpr, 2) <= 1e-9).all()
        assert (tpr >= grid - 1e-12).all() and tpr[-1] == 1

    def test_below_what_epsilon_and_delta_say_at_every_epsilon(self):
        """The public way: delta at an epsilon, from the accountant itself."""
        mechanism = accounting.Mechanism(1.8463, 0.0866, 400)
        curve = ceiling.curve(mechanism)
        accountant = dp_accounting.pld.PLDAccountant(NEIGHBOURS, 1e-3)
        accountant.compose(mechanism.event())
        for epsilon in (0.0, 0.5, 1.0, 2.0, 4.0):
            delta = accountant.get_delta(epsilon)
            assert ceiling.delta_at(curve, epsilon) == pytest.approx(delta, rel=1e-4)

    def test_the_test_for_non_members_is_the_same_one_reflected(self):
        """From the privacy loss of adding the unit, which is computed apart."""
        mechanism = accounting.Mechanism(1.0, 0.1, 100)
        curve = ceiling.curve(mechanism)
        pld = accounting.accountant(mechanism, 1e-3)._pld
        added = pld._pmf_add.to_dense_pmf()
        place = added._lower_loss + np.arange(len(added._probs))
        loss = place * added._discretization
        order = np.argsort(-loss)
        tpr = added._infinity_mass + np.cumsum(added._probs[order])
        fpr = np.cumsum(added._probs[order] * np.exp(-loss[order]))
        mirrored = ceiling.Curve(1 - tpr[::-1], 1 - fpr[::-1])
        grid = np.linspace(0.01, 0.99, 99)
        a, b = (ceiling.tpr_at(one, grid) for one in (curve, mirrored))
        np.testing.assert_allclose(a, b, atol=1e-3)

    def test_overflow_lifts_it(self):
        curve = ceiling.curve(accounting.Mechanism(1.0, 1.0, 1))
        lifted = ceiling.with_delta(curve, 0.01)
        assert ceiling.tpr_at(lifted, 0.1) == pytest.approx(
            float(ceiling.tpr_at(curve, 0.1)) + 0.01
        )
        assert lifted.tpr.max() == 1
