"""The second model of the distribution of true risk, on audits of known risk."""

import numpy as np
import pytest
from scipy import optimize, special, stats

from mia_jax import validate
from mia_jax.risk import ash, distribution, noise

THRESHOLDS = np.array([0.6, 0.7, 0.8, 0.9])
DISTANCES = np.sqrt(2) * special.ndtri(THRESHOLDS)
TRUTHS = {
    "thin": (0.1, stats.expon(scale=0.9)),
    "rare": (0.0013, stats.norm(2.5, 0.4)),
    "gamma": (1.0, stats.gamma(1.6, scale=0.2)),
}


def measure(truth: str, num_patients: int, n: int, seed: int):
    """True shares above the thresholds, and measured rank AUCs."""
    rng = np.random.default_rng(seed)
    share, law = TRUTHS[truth]
    leaking = round(share * num_patients)
    levels = (np.arange(leaking) + 0.5) / leaking
    true = np.maximum(np.r_[law.ppf(levels), np.zeros(num_patients - leaking)], 0)
    x = rng.normal(size=(num_patients, 2 * n)).astype(np.float32)
    x[:, :n] += true[:, None]
    ranks = x.argsort(axis=1).argsort(axis=1)[:, :n] + 1
    auc = (ranks.sum(axis=1) - n * (n + 1) / 2) / n**2
    return share * law.sf(DISTANCES), auc


# About three root mean squared errors of either model at 20,000 patients, 128 models.
TOLERANCES = {
    "thin": [0.006, 0.004, 0.0015, 0.001],
    "rare": [0.0015, 0.0004, 0.0004, 0.0005],
    "gamma": [0.037, 0.016, 0.007, 0.0025],
}


@pytest.mark.parametrize("truth", TRUTHS)
def test_both_models_find_the_true_shares(truth):
    expected, auc = measure(truth, 20_000, 64, seed=1)
    naive = (auc[:, None] > THRESHOLDS).mean(axis=0)
    for model in (ash, distribution):
        share, low, high = model.share_above(model.fit(auc, 64, 64), THRESHOLDS)
        assert np.all(np.abs(share - expected) < TOLERANCES[truth]), (share, expected)
        assert np.all((low <= share) & (share <= high))
    # Counting measured AUCs is refused by the same tolerance.
    assert naive[0] - expected[0] > TOLERANCES[truth][0]


def test_maximum_of_the_penalised_likelihood():
    """Against a general optimiser of the same function, written out in full."""
    _, auc = measure("thin", 2000, 32, seed=2)
    counts, likelihood, _ = noise.histogram(auc, 32, 32)
    components = likelihood @ ash._COMPONENTS.T

    def negative(free):
        shares = special.softmax(np.r_[free, 0.0])
        fit = counts[0] @ np.log(components @ shares)
        return -fit - 9.0 * np.log(shares[0])

    start = np.zeros(len(ash._COMPONENTS) - 1)
    best = optimize.minimize(negative, start, options={"maxiter": 2000}).fun
    shares = ash._expectation_maximisation(counts, components)[0]
    found = -counts[0] @ np.log(components @ shares) - 9.0 * np.log(shares[0])
    # EM is slow where the likelihood is flat: .05 of a log-likelihood is nothing.
    assert found < best + 0.05
    assert abs(shares.sum() - 1) < 1e-9


def test_components_are_uniform_up_to_their_ends():
    rows = ash._COMPONENTS
    assert np.allclose(rows.sum(1), 1) and rows[0, 0] == 1 and np.all(rows[1:, 0] == 0)
    for end, row in zip(ash._ENDS, rows[1:], strict=True):
        cells = np.flatnonzero(row)
        full = row[cells[:-1]] if len(cells) > 1 else row[cells]
        assert np.allclose(full, full[0])
        assert abs(noise.GRID[cells[-1]] - end) <= noise.STEP


def test_where_nothing_leaks_nobody_is_exposed():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4000, 128))
    ranks = x.argsort(axis=1).argsort(axis=1)[:, :64] + 1
    auc = (ranks.sum(axis=1) - 64 * 65 / 2) / 64**2
    assert (auc > 0.6).mean() > 0.02
    assert np.all(ash.share_above(ash.fit(auc, 64, 64), THRESHOLDS)[0] < 0.004)


@pytest.mark.parametrize("auc", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("num_patients", [1, 500])
def test_equal_aucs(auc, num_patients):
    share, low, high = ash.share_above(ash.fit(np.full(num_patients, auc), 64, 64), 0.7)
    assert 0 <= low <= share <= high <= 1
    # The density never rises away from chance: even at 1.0 some are placed below .7.
    # One patient alone is outweighed by the ten of the penalty.
    assert share > 0.8 if (auc, num_patients) == (1.0, 500) else share < 0.15


def test_seeded():
    _, auc = measure("thin", 500, 64, seed=4)
    first, again, other = (ash.fit(auc, 64, 64, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.refits, again.refits)
    assert not np.array_equal(first.refits, other.refits)
    assert np.array_equal(first.weights, other.weights)


@pytest.mark.parametrize("auc", [[], [np.nan], [1.01]])
def test_bad_aucs_are_refused(auc):
    with pytest.raises(validate.InputError, match="one AUC per patient"):
        ash.fit(np.array(auc), 8, 8)
