"""The engine, with small attacks whose answers are plain to see."""

import os
import types

import attack_checks
import jax.numpy as jnp
import numpy as np
import pytest
import threadpoolctl

from mia_jax import contracts, leave_one_out
from mia_jax.attacks import lira, loss, quantile, rmia


def _engine(attack, audit, **options):
    return attack_checks.engine_scores(attack, audit, **options)


@pytest.mark.parametrize(
    "attack, options",
    [
        (lira, {"variance": "fixed"}),
        (rmia, {"mode": "offline"}),
        (rmia, {"population_reference": "out"}),
        (loss, {"population": "class"}),
        (quantile, {}),
    ],
)
def test_chunks_equal_the_whole_array(attack, options, monkeypatch):
    audit = attack_checks.planted()
    whole = _engine(attack, audit, **options)
    monkeypatch.setattr(leave_one_out, "RECORD_CHUNK", 16)
    chunked = _engine(attack, audit, **options)
    np.testing.assert_allclose(chunked, whole, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("attack", [rmia, quantile])
def test_threads_change_no_bit(attack, monkeypatch):
    audit = attack_checks.planted()
    several = _engine(attack, audit)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    np.testing.assert_array_equal(_engine(attack, audit), several)


def test_writes_into_a_mapped_file(tmp_path):
    audit = attack_checks.planted()
    out = np.lib.format.open_memmap(
        tmp_path / "scores.npy", "w+", np.float32, audit.statistic.shape
    )
    np.save(tmp_path / "statistic.npy", audit.statistic)
    mapped = np.load(tmp_path / "statistic.npy", mmap_mode="r")
    arrays = mapped, audit.member_mask, audit.context.patient_of_record
    found = leave_one_out.scores(rmia, *arrays, out=out)
    assert found is out
    np.testing.assert_array_equal(found, _engine(rmia, audit))


def test_cohort_sums_add_up_and_what_is_tuned_is_handed_over(monkeypatch):
    monkeypatch.setattr(leave_one_out, "RECORD_CHUNK", 7)
    monkeypatch.setattr(leave_one_out, "TUNE_RECORDS", 10)
    audit = attack_checks.planted()
    sampled = {}

    def tune(statistic, member_mask, scale=1.0):
        sampled.update(statistic=statistic, member_mask=member_mask)
        return {"shift": np.arange(len(statistic), dtype=np.float32)[:, None]}

    def scores(statistic, member_mask, scale=1.0, cohort=None, tuned=None):
        return scale * (jnp.zeros_like(statistic) + cohort + tuned["shift"])

    attack = types.SimpleNamespace(
        scores=scores,
        tune=tune,
        cohort_sums=lambda statistic, member_mask, scale: statistic.sum(),
    )
    found = _engine(attack, audit, scale=2.0)
    total = audit.statistic.astype(np.float64).sum()
    expected = 2.0 * (total + np.arange(20))[:, None] + np.zeros((1, 70))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    chosen = np.arange(0, 70, 7)
    np.testing.assert_array_equal(sampled["statistic"], audit.statistic[:, chosen])
    np.testing.assert_array_equal(sampled["member_mask"], audit.record_mask[:, chosen])


def test_a_comparison_gets_one_target_and_its_own_mask():
    audit = attack_checks.planted()
    calls = {}

    def compare(signals, member_mask, context, prepared, power=1):
        target = int(np.flatnonzero((audit.statistic == signals.query).all(1))[0])
        calls[target] = (member_mask.copy(), context, prepared)
        return signals.query**power + signals.population

    attack = types.SimpleNamespace(
        scores=lambda s, member_mask, power: contracts.Signals(s, 10.0 * s),
        compare=compare,
        prepare=lambda context, power: context.labels.sum() + power,
    )
    found = _engine(attack, audit, power=2)
    s = audit.statistic
    np.testing.assert_allclose(found, s**2 + 10 * s, rtol=1e-5, atol=1e-6)
    assert sorted(calls) == list(range(20))
    for target, (member_mask, context, prepared) in calls.items():
        np.testing.assert_array_equal(member_mask, audit.record_mask[target])
        assert context is audit.context
        assert prepared == audit.context.labels.sum() + 2


def test_without_a_context_patients_are_known_and_nothing_else():
    audit = attack_checks.planted()

    def compare(signals, member_mask, context):
        assert context.labels is None and context.features is None
        assert signals.population is None
        return context.patient_of_record

    attack = types.SimpleNamespace(
        scores=lambda s, member_mask: contracts.Signals(s, None), compare=compare
    )
    arrays = audit.statistic, audit.member_mask, audit.context.patient_of_record
    found = leave_one_out.scores(attack, *arrays)
    np.testing.assert_array_equal(found[3], audit.context.patient_of_record)


def test_what_a_target_raises_is_raised_and_blas_is_free_again():
    audit = attack_checks.planted()

    def compare(signals, member_mask, context):
        raise ZeroDivisionError("one target")

    attack = types.SimpleNamespace(
        scores=lambda s, member_mask: contracts.Signals(s, None), compare=compare
    )
    before = threadpoolctl.threadpool_info()
    with pytest.raises(ZeroDivisionError, match="one target"):
        _engine(attack, audit)
    assert threadpoolctl.threadpool_info() == before


def test_channels_come_along_the_last_axis(monkeypatch):
    monkeypatch.setattr(leave_one_out, "RECORD_CHUNK", 12)
    audit = attack_checks.planted()
    views = np.stack([audit.statistic, -audit.statistic, audit.statistic**2], -1)
    shapes = set()

    def scores(statistic, member_mask, channels):
        shapes.add(statistic.shape)
        return statistic.max(-1)

    attack = types.SimpleNamespace(scores=scores)
    found = _engine(attack, audit._replace(statistic=views), channels="max")
    np.testing.assert_array_equal(found, views.max(-1))
    assert shapes == {(20, 4, 3), (20, 2, 3)}  # a third of the records at a time


class TestPatientSignal:
    def test_is_the_statistic_itself_by_default(self):
        audit = attack_checks.planted()
        found = leave_one_out.patient_signal(types.SimpleNamespace(), audit.statistic)
        assert found is audit.statistic

    def test_is_the_mean_over_channels(self):
        views = np.random.default_rng(0).standard_normal((4, 50, 3)).astype(np.float32)
        found = leave_one_out.patient_signal(types.SimpleNamespace(), views)
        np.testing.assert_allclose(found, views.mean(2), rtol=1e-6)
        expected = -np.logaddexp(0.0, -views.astype(np.float64)).mean(2)
        found = leave_one_out.patient_signal(loss, views, population="none")
        np.testing.assert_allclose(found, expected, rtol=1e-5)

    def test_in_chunks_equals_the_whole(self, monkeypatch):
        audit = attack_checks.planted()
        whole = leave_one_out.patient_signal(rmia, audit.statistic, mode="offline")
        monkeypatch.setattr(leave_one_out, "RECORD_CHUNK", 9)
        chunked = leave_one_out.patient_signal(rmia, audit.statistic, mode="offline")
        np.testing.assert_allclose(chunked, whole, rtol=1e-6)
        assert whole.dtype == np.float32
