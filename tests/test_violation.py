"""The run's own check of its guarantee: silent below the ceiling, loud above."""

import json

import numpy as np
import pytest
from scipy import stats

from mia_jax.dp import accounting, ceiling
from mia_jax.risk import violation

CURVE = ceiling.curve(accounting.Mechanism(1.0, 1.0, 1))  # mu = 1


def _scores(seed, mu, num_models=256, num_units=300):
    generator = np.random.default_rng(seed)
    mask = generator.random((num_models, num_units)).argsort(0) < num_models // 2
    return generator.standard_normal(mask.shape) + mu * mask, mask


def test_the_best_attack_that_is_allowed_raises_no_alarm():
    """At the ceiling: at most 5 % of runs, here 0 to 12 of 100 (P(more) < .002)."""
    alarms = [violation.test(*_scores(s, 1.0), CURVE, 0.05) for s in range(100)]
    assert sum(one.is_violated for one in alarms) <= 12
    assert not any(one.is_flagged.any() for one in alarms)


def test_a_little_more_is_found_at_the_strict_level():
    found = [violation.test(*_scores(s, 1.08), CURVE) for s in range(10)]
    assert all(one.is_violated and one.level == 0.001 for one in found)
    assert all(one.excess > 0 for one in found)
    # 8 % too much is nowhere near enough for a patient's own counts.
    assert not any(one.is_flagged.any() for one in found)


def test_gross_leaks_are_located():
    score, mask = _scores(0, 1.0)
    leaky = np.arange(300) < 20
    score += 3 * mask * leaky
    found = violation.test(score, mask, CURVE)
    assert found.is_flagged[leaky].mean() > 0.9 and not found.is_flagged[~leaky].any()


def test_the_dependence_of_a_models_patients_raises_no_alarm():
    """A shock that all patients of a model share widens the test, not the excess."""
    alarms = 0
    for seed in range(40):
        score, mask = _scores(seed, 0.8)
        shock = np.random.default_rng(seed + 1000).standard_normal((256, 1))
        alarms += violation.test(score + 0.5 * shock, mask, CURVE, 0.05).is_violated
    assert alarms <= 6


def test_excess_is_unbiased_with_uneven_masks():
    """Units in a quarter of the models: rates given membership are weighted right."""
    generator = np.random.default_rng(0)
    mask = generator.random((400, 500)).argsort(0) < 100
    score = generator.standard_normal(mask.shape) + mask
    is_above = score > stats.norm.ppf(0.9)
    expected = stats.norm.sf(stats.norm.ppf(0.9) - 1) - np.e * 0.1
    found = violation._excess(is_above, mask, 1.0)
    assert found.mean() == pytest.approx(expected, abs=5 * found.std() / 20)


def test_few_models_decide_nothing():
    assert violation.test(*_scores(0, 3.0, num_models=6), CURVE) is None


def test_it_is_json():
    found = violation.test(*_scores(0, 1.0), CURVE).to_json()
    assert json.loads(json.dumps(found)) == found
    assert found["num_tests"] == 12 and found["num_units_flagged"] == 0
