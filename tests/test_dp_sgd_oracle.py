"""DP-SGD against loops over the drawn patients, and what it promises."""

import itertools
import json

import dp_steps
import jax
import numpy as np
import pytest

from mia_jax import validate
from mia_jax.defences import dp_sgd

FAMILIES = pytest.mark.parametrize("family", dp_steps.FAMILIES)


def _expected(step, drawn, norm, most=5):
    """[weights]: a loop over the drawn units, in float64."""
    total = 0.0
    for unit in drawn:
        records = step.records_of(unit)
        assert len(records) <= most  # else a random part of them
        gradient = step.of_records[records].mean(0)
        length = np.linalg.norm(gradient)
        unclipped = np.isinf(norm) or length <= norm
        clipped = gradient if unclipped else gradient * norm / length
        total = total + clipped / (1.0 if np.isinf(norm) else norm)
    return total / step.batch


def _all_records_used(step, most=5):
    return np.flatnonzero(step.units.count <= most)


@FAMILIES
def test_without_noise_it_is_sgd_over_patients_with_and_without_clip(family):
    step = dp_steps.step(family)
    members = _all_records_used(step)[:30]
    norms = np.array([np.inf, 0.1, 0.5, 2.0])
    for key in range(2):
        drawn = step.drawn(key, members)
        assert 5 < len(drawn) < 25
        hyper = {"noise_multiplier": 0.0, "l2_clip_norm": norms}
        found = step([members] * len(norms), key=key, hyper=hyper)
        for gradient, norm in zip(found, norms, strict=True):
            expected = _expected(step, drawn, norm)
            np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5)


def test_epsilon_inf_and_norm_inf_are_plain_sgd_by_their_settings():
    options = {"noise_multiplier": 0.0, "epsilon": np.inf, "l2_clip_norm": np.inf}
    step = dp_steps.Step(**options)
    assert step.defence.guarantee is None
    members = _all_records_used(step)[:30]
    expected = _expected(step, step.drawn(4, members), np.inf)
    found = step(members, key=4)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_models_together_are_models_alone():
    """Also where noise and norm differ along the model axis."""
    step = dp_steps.step("mlp")
    noises, norms = np.array([[0, 1, 2], [np.inf, 0.1, 0.5]], np.float32)
    hyper = {"noise_multiplier": noises, "l2_clip_norm": norms}
    members, keys = [np.arange(30), np.arange(9, 40), np.arange(12)], np.arange(3)
    together = step(members, key=keys, step=7, hyper=hyper)
    data, *lanes = step.arguments(members, key=keys, step=7)
    lanes.insert(3, hyper)
    alone = jax.jit(step.lane)
    for m, found in enumerate(together):
        own = jax.tree.map(lambda v, m=m: v[m], lanes)
        expected = dp_steps.flat(alone(*jax.device_put((data, *own))), 1)[0]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_records_are_units_of_their_own():
    step = dp_steps.Step(level="record")
    assert step.defence.unit == step.defence.guarantee["unit"] == "record"
    assert step.defence.guarantee["records_per_patient"] == 1
    assert (
        step.num_units == (~step.dataset.is_test[step.dataset.patient_of_record]).sum()
    )
    members = np.arange(0, step.num_units, 2)
    drawn = step.drawn(1, members)
    assert len(drawn) > 3
    found = step(members, key=1, hyper={"noise_multiplier": 0.0})[0]
    expected = _expected(step, drawn, 0.1, most=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_households_are_clipped_as_one():
    step = dp_steps.Step(cohort=dp_steps.Cohort(per_household=2))
    assert step.defence.guarantee["unit"] == "household"
    assert step.defence.guarantee["adjacency"] == "add or remove one household"
    assert step.num_units == 24
    members = _all_records_used(step)
    drawn = step.drawn(1, members)
    assert len(drawn) > 2
    found = step(members, key=1, hyper={"noise_multiplier": 0.0})[0]
    expected = _expected(step, drawn, 0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    less = step([members, drawn[1:]], key=1, scale=1e4)
    more = step([members, drawn], key=1, scale=1e4)
    assert np.linalg.norm((more - less)[1]) * step.batch == pytest.approx(1, abs=1e-3)


def test_a_fresh_subset_of_a_patients_records_makes_its_mean():
    step = dp_steps.Step(records_per_patient=2)
    unit = int(np.flatnonzero(step.units.count == 4)[0])
    hyper = {"noise_multiplier": 0.0, "l2_clip_norm": np.inf}
    found = step([unit], step=np.arange(192), hyper=hyper) * step.batch
    found = found[found.any(1)]
    pairs = itertools.combinations(step.records_of(unit), 2)
    means = np.stack([step.of_records[list(pair)].mean(0) for pair in pairs])
    distance = np.linalg.norm(found[:, None] - means, axis=2)
    assert distance.min(1).max() < 1e-5
    counts = np.bincount(distance.argmin(1), minlength=6)
    # About 16 of each pair: none is left out, none is half of all.
    assert len(found) > 60 and counts.min() > 0 and counts.max() < len(found) / 2


class TestGuarantee:
    SETUP = dp_steps.Cohort().setup

    def test_it_says_what_was_done(self):
        options = {"epsilon": 2.0, "delta": 1e-3, "records_per_patient": 3}
        defence = dp_sgd.build(self.SETUP, **options)
        found = defence.guarantee
        assert json.loads(json.dumps(found)) == found
        assert found["unit"] == "patient" and 1.99 < found["epsilon"] <= 2.0
        assert found["adjacency"] == "add or remove one patient"
        assert found["epsilon_rdp"] > found["epsilon"]
        assert found["num_steps"] == defence.num_steps == 10
        assert found["noise_multiplier"] == defence.hyper["noise_multiplier"]
        assert found["sampling_prob"] * 24 == found["expected_batch"] == 12
        assert found["overflow_delta"] == pytest.approx(1e-5)
        assert 24 < found["padded_batch"] <= 48 and found["records_per_patient"] == 3

    def test_sampling_is_never_rarer_than_accounted_for(self):
        setup = self.SETUP._replace(batch_size=7)
        found = dp_sgd.build(setup, noise_multiplier=2.0, delta=1e-3).guarantee
        assert 0 <= found["sampling_prob"] - 7 / 24 < 2.0**-32

    def test_given_noise_says_its_epsilon(self):
        found = dp_sgd.build(self.SETUP, noise_multiplier=3.0, delta=1e-3).guarantee
        assert found["noise_multiplier"] == 3.0 and found["epsilon"] < 8

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"delta": 0.1}, r"1 / \(10 members\)"),
            ({"delta": 0.0}, "delta=0"),
            ({"delta": np.nan}, "delta=nan"),
            ({"epsilon": 0.0}, "epsilon=0"),
            ({"epsilon": np.nan}, "epsilon=nan"),
            ({"epsilon": -np.inf}, "epsilon=-inf"),
            ({"noise_multiplier": -1.0}, "noise_multiplier=-1"),
            ({"noise_multiplier": np.inf}, "noise_multiplier=inf"),
            ({"noise_multiplier": 1.0, "l2_clip_norm": np.inf}, "finite clipping norm"),
            ({"l2_clip_norm": np.inf}, "finite clipping norm"),
            ({"l2_clip_norm": 0.0}, "l2_clip_norm=0"),
            ({"l2_clip_norm": np.nan}, "l2_clip_norm=nan"),
            ({"level": "person"}, "level"),
            ({"clipping_rule": "none"}, "clipping_rule"),
            ({"per_patient_gradients": "slow"}, "per_patient_gradients"),
            ({"microbatch_size": -1}, "microbatch_size=-1"),
            ({"records_per_patient": 0}, "records_per_patient=0"),
            ({"batch_size": 25}, "train.batch_size=25"),
        ],
    )
    def test_settings_that_promise_nothing_are_refused(self, options, words):
        options = {"delta": 1e-3, **options}
        setup = self.SETUP._replace(batch_size=options.pop("batch_size", 12))
        with pytest.raises(validate.InputError, match=words) as error:
            dp_sgd.build(setup, **options)
        assert len(str(error.value).splitlines()) == 3
