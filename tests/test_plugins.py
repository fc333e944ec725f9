"""Conformance: every plug-in found by name keeps its contract, without being listed."""

import inspect

import attack_checks
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from mia_jax import config, leave_one_out


@pytest.mark.parametrize("kind", config.FUNCTIONS)
def test_every_plugin_documents_its_options(kind):
    for name in config.names(kind):
        function = getattr(config.find(kind, name), config.FUNCTIONS[kind])
        options = set(config._parameters(kind, name))
        assert options <= set(config.argument_docs(function)), name
        assert inspect.getdoc(config.find(kind, name)), name


class TestAttack:
    """Through the whole engine: sums over the cohort, tuning, comparison."""

    NAMES = pytest.mark.parametrize("name", config.names("attacks"))

    @NAMES
    def test_own_bits_of_a_patient_enter_none_of_its_scores(self, name):
        attack = config.find("attacks", name)
        change = attack_checks.own_bit_change(attack, attack_checks.planted())
        assert change < 1e-4

    @NAMES
    def test_bits_of_other_models_or_patients_enter(self, name):
        """Else the test above would pass for an attack that knows no mask at all."""
        audit = attack_checks.planted()
        attack = config.find("attacks", name)
        before = attack_checks.engine_scores(attack, audit)
        others = audit._replace(member_mask=np.roll(audit.member_mask, 1, axis=1))
        after = attack_checks.engine_scores(attack, others)
        assert name == "loss" or np.abs(after - before).max() > 1e-3

    @NAMES
    def test_higher_is_member(self, name):
        audit = attack_checks.planted(leak=2.5)
        found = attack_checks.engine_scores(config.find("attacks", name), audit)
        assert found.shape == audit.statistic.shape and found.dtype == np.float32
        members, others = found[audit.record_mask], found[~audit.record_mask]
        better = scipy.stats.mannwhitneyu(members, others).statistic
        assert better / (members.size * others.size) > 0.8

    @NAMES
    @pytest.mark.parametrize(
        "kind", ["constant", "tied", "saturated", "one-sided", "huge", "mixed"]
    )
    def test_scores_are_finite(self, name, kind):
        audit = attack_checks.planted()
        s, member = audit.statistic, audit.record_mask
        statistic = {
            "constant": np.zeros_like(s),
            "tied": np.round(s),
            "saturated": np.where(member, 40.0, s),
            "one-sided": np.where(s[:1] > 0, 1e4, s),
            "huge": 1e4 * np.sign(s),
            "mixed": np.where(np.arange(20)[:, None] == 3, 1e4, s),
        }[kind]
        audit = audit._replace(statistic=statistic.astype(np.float32))
        found = attack_checks.engine_scores(config.find("attacks", name), audit)
        assert np.isfinite(found).all()

    @NAMES
    def test_patients_are_tested_on_numbers_without_masks(self, name):
        audit = attack_checks.planted()
        attack = config.find("attacks", name)
        found = leave_one_out.patient_signal(attack, audit.statistic)
        assert found.shape == audit.statistic.shape and np.isfinite(found).all()
        order = np.argsort(audit.statistic, axis=0)
        assert (np.diff(np.take_along_axis(found, order, 0), axis=0) >= 0).all()


class TestModel:
    @pytest.mark.parametrize("name", config.names("models"))
    def test_records_do_not_see_each_other(self, name):
        model = config.find("models", name).build(3)
        inputs = jax.random.normal(jax.random.key(0), (5, 6))
        params = model.init(jax.random.key(1), inputs[:1])
        together = model.apply(params, inputs)
        alone = jnp.concatenate([model.apply(params, row[None]) for row in inputs])
        assert together.shape == (5, 3) and together.dtype == jnp.float32
        np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("name", config.names("models"))
    def test_dropout_only_with_a_key(self, name):
        model = config.find("models", name).build(2, dropout=0.5)
        inputs = jnp.ones((4, 6))
        params = model.init(jax.random.key(1), inputs[:1])
        np.testing.assert_array_equal(
            model.apply(params, inputs), model.apply(params, inputs)
        )
        trained = model.apply(params, inputs, jax.random.key(2))
        assert (trained != model.apply(params, inputs)).any()
