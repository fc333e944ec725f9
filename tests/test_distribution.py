"""The denoised distribution of true AUCs, on simulated audits of known risk."""

import numpy as np
import pytest
from scipy import optimize, special, stats

from mia_jax import validate
from mia_jax.risk import distribution, noise

THRESHOLDS = np.array([0.6, 0.7, 0.8, 0.9])
DISTANCES = np.sqrt(2) * special.ndtri(THRESHOLDS)
# Truths after the science of the project: share of patients that leak, law of their d.
TRUTHS = {
    "thin": (0.1, stats.expon(scale=0.9)),
    "rare": (0.0013, stats.norm(2.5, 0.4)),
    "gamma": (1.0, stats.gamma(1.6, scale=0.2)),
}


def true_shares(truth: str) -> np.ndarray:
    """[thresholds] share of patients whose true AUC is above each threshold."""
    share, law = TRUTHS[truth]
    return share * law.sf(DISTANCES)


def draw(truth: str, num_patients: int, rng: np.random.Generator) -> np.ndarray:
    """[patients] true distances, stratified so that the shares hold without noise."""
    share, law = TRUTHS[truth]
    leaking = round(share * num_patients)
    levels = (np.arange(leaking) + 0.5) / max(leaking, 1)
    distances = np.r_[law.ppf(levels), np.zeros(num_patients - leaking)]
    return rng.permutation(np.maximum(distances, 0))


def measure(distances: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """[patients] rank AUCs of n normal scores with and n without each patient."""
    x = rng.normal(size=(len(distances), 2 * n))
    x[:, :n] += distances[:, None]
    ranks = x.argsort(axis=1).argsort(axis=1)[:, :n] + 1
    return (ranks.sum(axis=1) - n * (n + 1) / 2) / n**2


def exposed(auc: np.ndarray, n: int, seed: int = 0) -> tuple:
    return distribution.share_above(distribution.fit(auc, n, n, seed), THRESHOLDS)


# Tolerances: about three root mean squared errors of the fit at 5,000 patients and 128
# models, from 25 simulated audits of each truth.
@pytest.mark.parametrize(
    ("truth", "tolerance"),
    [
        ("thin", [0.015, 0.008, 0.006, 0.004]),
        ("rare", [0.003, 0.0005, 0.0005, 0.0005]),
        ("gamma", [0.024, 0.009, 0.005, 0.001]),
    ],
)
def test_true_shares_are_recovered_where_naive_shares_are_not(truth, tolerance):
    rng = np.random.default_rng(7)
    auc = measure(draw(truth, 5000, rng), 64, rng)
    share, low, high = exposed(auc, 64)
    truths = true_shares(truth)
    assert np.all(np.abs(share - truths) < tolerance), (share, truths)
    assert np.sum((low <= truths) & (truths <= high)) >= 3, (low, truths, high)
    naive = (auc[:, None] > THRESHOLDS).mean(axis=0)
    # Counting measured AUCs, the wrong variant, fails the same check at .6.
    assert naive[0] - truths[0] > tolerance[0], (naive, truths)


def test_shares_do_not_depend_on_the_number_of_models():
    rng = np.random.default_rng(3)
    true = draw("gamma", 5000, rng)
    few, many = measure(true, 32, rng), measure(true, 128, rng)
    gap = exposed(few, 32)[0][1] - exposed(many, 128)[0][1]
    naive_gap = (few > 0.7).mean() - (many > 0.7).mean()
    assert abs(gap) < 0.015 and naive_gap > 0.025, (gap, naive_gap)


@pytest.mark.slow
@pytest.mark.parametrize("truth", ["thin", "gamma"])
def test_the_band_covers(truth):
    """40 audits; a band of true coverage .95 fails (under 32 covered) at 1e-3."""
    rng = np.random.default_rng(11)
    covered = np.zeros(4)
    share, law = TRUTHS[truth]
    for _ in range(40):
        # Independent patients: the band includes their sampling.
        leaks = rng.random(2000) < share
        true = np.where(leaks, law.rvs(2000, random_state=rng), 0)
        _, low, high = exposed(measure(true, 128, rng), 128)
        covered += (low <= true_shares(truth)) & (true_shares(truth) <= high)
    assert np.all(covered >= 32), covered


def small_group_error(num_groups: int) -> float:
    """Mean error of the share above .7 in groups of 60 patients."""
    rng = np.random.default_rng(5)
    shares = []
    for _ in range(num_groups):
        true = TRUTHS["gamma"][1].rvs(60, random_state=rng)
        shares.append(exposed(measure(true, 64, rng), 64)[0][1])
    return float(np.mean(shares) - true_shares("gamma")[1])


@pytest.mark.slow
def test_small_groups_are_not_made_risky_by_the_penalty(monkeypatch):
    """Standard error of the mean over 30 groups: .007."""
    assert abs(small_group_error(30)) < 0.015
    monkeypatch.setattr(distribution, "_PENALTY", 1.0)  # Efron's
    assert small_group_error(30) > 0.025


@pytest.mark.parametrize("n", [8, 64, 256])
@pytest.mark.parametrize("num_patients", [1, 40, 3000])
@pytest.mark.parametrize(
    ("auc", "expected"), [(1.0, 1.0), (0.5, 0.0), (0.0, 0.0), (0.3, 0.0)]
)
def test_equal_aucs(auc, num_patients, n, expected):
    share, low, high = exposed(np.full(num_patients, auc), n)
    # The penalty leaves its mark on one patient, not on many.
    assert np.allclose(share, expected, atol=0.12 / num_patients + 1e-4)
    assert np.all((low >= 0) & (low <= share) & (share <= high) & (high <= 1))


def test_no_leak():
    rng = np.random.default_rng(1)
    auc = measure(np.zeros(4000), 64, rng)
    assert (auc > 0.6).mean() > 0.02  # looks like a leak
    assert np.all(exposed(auc, 64)[0] < 0.002)


def test_everybody_leaks():
    rng = np.random.default_rng(2)
    auc = measure(rng.normal(3.0, 0.3, 2000), 64, rng)
    share, low, _ = exposed(auc, 64)
    assert np.all(share[:3] > 0.99) and np.all(low[:3] > 0.98)


def test_unequal_counts():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(3000, 100)) + np.where(np.arange(100) < 30, 0.742, 0)
    ranks = x.argsort(axis=1).argsort(axis=1)[:, :30] + 1
    auc = (ranks.sum(axis=1) - 30 * 31 / 2) / (30 * 70)
    share, _, _ = distribution.share_above(
        distribution.fit(auc, 30, 70), [0.65, 0.70, 0.75]
    )
    assert share[0] > 0.97 and share[2] < 0.05  # everybody is at .70


def test_likelihood_is_the_law_of_measured_aucs():
    """Against simulation: 20,000 patients at one d, standard error .0035 at .5."""
    rng = np.random.default_rng(6)
    edges, clip = noise.bins(64, 64)
    likelihood = noise.likelihood_of(edges, 64, 64)
    assert np.allclose(likelihood.sum(axis=0), 1) and likelihood.min() >= 0
    for index in (0, 15, 36):  # d = 0, .75, 1.8
        true = np.full(20000, noise.GRID[index])
        auc = np.clip(measure(true, 64, rng), clip, 1 - clip)
        measured = np.sqrt(2) * special.ndtri(auc)
        found = (measured[:, None] <= edges).mean(axis=0)
        # The law is skewed, the model normal: at 64 models a side they differ by .03.
        assert np.abs(found - likelihood[:-1, index].cumsum()).max() < 0.035
        # Without the sqrt(2) of the axis the noise would be too small.
        sd = measured.std() / np.sqrt(2)
        wrong = special.ndtr((edges - noise.GRID[index]) / sd)
        assert np.abs(found - wrong).max() > 0.06


def test_low_aucs_never_speak_for_a_leak():
    for n in (8, 64):
        likelihood = noise.likelihood_of(noise.bins(n, n)[0], n, n)
        assert np.all(np.diff(likelihood.cumsum(axis=0), axis=1) < 1e-12)


def test_gradient():
    rng = np.random.default_rng(8)
    edges, _ = noise.bins(64, 64)
    likelihood = noise.likelihood_of(edges, 64, 64)
    counts = rng.poisson(20.0, (3, len(likelihood))).astype(float)
    point = rng.normal(size=18)

    def value(flat):
        return distribution._objective(flat.reshape(3, 6), counts, likelihood)[0]

    gradient = distribution._objective(point.reshape(3, 6), counts, likelihood)[1]
    # Central differences of a sum near 4e4 are good to about 1e-4 of the gradient.
    numeric = optimize.approx_fprime(point, value, 1e-6)
    assert np.allclose(gradient.ravel(), numeric, rtol=1e-3, atol=0.1)


def test_fits_in_one_run_equal_fits_apart():
    rng = np.random.default_rng(9)
    auc = measure(draw("thin", 2000, rng), 64, rng)
    counts, likelihood = noise.histogram(auc, 64, 64)[:2]
    counts = rng.multinomial(2000, counts[0] / 2000, size=5).astype(float)
    start, scale = np.zeros((1, 6)) + 0.5, np.eye(6)
    together = distribution._minimise(counts, likelihood, start, scale)
    for row, one in zip(counts, together, strict=True):
        alone = distribution._minimise(row[None], likelihood, start, scale)
        # Shares, not coefficients: some directions of these hardly matter.
        assert np.allclose(
            distribution._weights(one[None])[0, 10:].sum(),
            distribution._weights(alone)[0, 10:].sum(),
            atol=5e-4,
        )


def test_basis_is_an_atom_and_orthonormal_columns():
    basis = distribution._BASIS
    assert basis.shape == (101, 6)
    assert np.allclose(basis.T @ basis, np.eye(6), atol=1e-12)
    assert np.allclose(basis[1:, 1:].sum(axis=0), 0, atol=1e-12)
    assert np.all(basis[0] == [1, 0, 0, 0, 0, 0])


def test_seeded():
    auc = measure(
        draw("thin", 500, np.random.default_rng(0)), 64, np.random.default_rng(1)
    )
    first, again = exposed(auc, 64, seed=1), exposed(auc, 64, seed=1)
    other = exposed(auc, 64, seed=2)
    assert np.array_equal(first, again)
    assert np.array_equal(first[0], other[0]) and not np.array_equal(first[1], other[1])


def test_share_above_counts_cells():
    weights = np.zeros(101)
    weights[[0, 20]] = 0.25, 0.75  # a quarter at chance, the rest at d = 1
    known = distribution.Distribution(
        special.ndtr(noise.GRID / np.sqrt(2)), weights, np.stack([weights] * 2)
    )
    at = special.ndtr(np.array([0.9, 1.0, 1.0125, 1.1]) / np.sqrt(2))
    share, low, high = distribution.share_above(known, at)
    assert np.allclose(share, [0.75, 0.375, 0.1875, 0.0])
    assert np.allclose(low, share) and np.allclose(high, share)
    assert distribution.share_above(known, [0.0, 0.49, 0.5, 1.0])[0].tolist() == [
        1.0,
        1.0,
        0.75,
        0.0,
    ]
    assert np.ndim(distribution.share_above(known, 0.7)[0]) == 0


def test_reportable():
    assert distribution.is_reportable(30, 8, 8)
    assert not distribution.is_reportable(29, 128, 128)
    assert not distribution.is_reportable(5000, 7, 25)


@pytest.mark.parametrize("auc", [[], [0.5, np.nan], [0.5, 1.01], [[0.5]]])
def test_bad_aucs_are_refused(auc):
    with pytest.raises(validate.InputError, match="one AUC per patient"):
        distribution.fit(np.array(auc), 8, 8)


def test_exposure_is_the_share_of_the_fit_and_its_refits_agree_on_the_error():
    rng = np.random.default_rng(12)
    auc = measure(draw("thin", 4000, rng), 64, rng)
    share, error = distribution.exposure(auc, 64, 64, 0.7)
    fitted, low, high = distribution.share_above(distribution.fit(auc, 64, 64), 0.7)
    assert abs(share - fitted) < 1e-12
    # The sd of 30 refits is itself 13 % uncertain: three of its errors.
    assert abs((high - low) / 2 / 1.96 / error - 1) < 0.4


@pytest.mark.slow
def test_exposure_covers_where_patients_share_masks():
    """60 cohorts of 500 units of two copies; copies taken as 1,000 patients miss."""
    rng = np.random.default_rng(13)
    truth, unit = true_shares("gamma")[1], np.arange(1000) // 2
    hits = np.zeros(2)
    for _ in range(60):
        true = TRUTHS["gamma"][1].rvs(500, random_state=rng)
        auc = measure(true, 64, rng).repeat(2)
        for row, units in enumerate((unit, None)):
            share, error = distribution.exposure(auc, 64, 64, 0.7, units)
            hits[row] += abs(share - truth) < 1.96 * error
    # Coverage .95 gives fewer than 50 of 60 with chance 5e-4.
    assert hits[0] >= 50 and hits[1] < hits[0]
    alone = distribution.exposure(auc, 64, 64, 0.7)[1]
    shared = distribution.exposure(auc, 64, 64, 0.7, unit)[1]
    # Twice the copies: the ridge is not copied, so sqrt 2 but for its share.
    assert abs(shared / alone - np.sqrt(2)) < 0.01
