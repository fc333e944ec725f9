"""Conformance: every plug-in found by name keeps its contract, without being listed."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from mia_jax import config


@pytest.mark.parametrize("kind", config.FUNCTIONS)
def test_every_plugin_documents_its_options(kind):
    for name in config.names(kind):
        function = getattr(config.find(kind, name), config.FUNCTIONS[kind])
        options = set(config._parameters(kind, name))
        assert options <= set(config.argument_docs(function)), name
        assert inspect.getdoc(config.find(kind, name)), name


class TestAttack:
    def _data(self):
        generator = np.random.default_rng(5)
        member = generator.random((20, 30)).argsort(0) < 10
        statistic = generator.standard_normal((20, 30)) + 2.0 * member
        return jnp.asarray(statistic, jnp.float32), jnp.asarray(member)

    @pytest.mark.parametrize("name", config.names("attacks"))
    def test_own_mask_bit_does_not_enter_the_own_score(self, name):
        statistic, member = self._data()
        attack = config.find("attacks", name)
        before = attack.scores(statistic, member)
        flipped = member.at[4].set(~member[4])
        after = attack.scores(statistic, flipped)
        np.testing.assert_allclose(after[4], before[4], rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("name", config.names("attacks"))
    def test_higher_is_member(self, name):
        statistic, member = self._data()
        found = np.asarray(config.find("attacks", name).scores(statistic, member))
        members, others = found[np.asarray(member)], found[~np.asarray(member)]
        better = scipy.stats.mannwhitneyu(members, others).statistic
        assert better / (members.size * others.size) > 0.8


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
