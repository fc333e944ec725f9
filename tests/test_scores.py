"""The statistic against float64 and exact decimal twins, up to logits of 1e4."""

import decimal

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from mia_jax import scores

# Exponents of e^1e4 and digits enough for a product of fourteen such terms.
CONTEXT = decimal.Context(prec=60, Emax=10**8, Emin=-(10**8))


def _naive(logits, labels):
    """log p_y - log(1 - p_y) by log-probabilities in float64."""
    out = []
    for row, label in zip(logits.astype(np.float64), labels, strict=True):
        others = np.delete(row, label)
        out.append(row[label] - scipy.special.logsumexp(others))
    return np.array(out)


def _exact_joint(per_label):
    """-log(prod(1 + e^-s) - 1), added up in 60 digits without a cancellation."""
    out = []
    for row in per_label.astype(float).tolist():
        odds = decimal.Decimal(0)
        for s in row:
            wrong = CONTEXT.exp(decimal.Decimal(-s))
            odds = CONTEXT.fma(odds, 1 + wrong, wrong)
        out.append(-float(CONTEXT.ln(odds)))
    return np.array(out)


@pytest.mark.parametrize("num_classes", [2, 3, 10])
@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
def test_multiclass_equals_float64(num_classes, scale):
    generator = np.random.default_rng(0)
    logits = (scale * generator.standard_normal((200, num_classes))).astype(np.float32)
    labels = generator.integers(0, num_classes, 200)
    found = scores.statistic(jnp.asarray(logits), jnp.asarray(labels), "multiclass")
    # Float32 logits of size `scale` carry an error of 1e-7 of it.
    np.testing.assert_allclose(
        found, _naive(logits, labels), rtol=1e-5, atol=scale * 3e-6
    )


def test_binary_is_the_logit_with_the_labels_sign():
    logits = jnp.array([[1e4], [-3.0], [2.5]])
    found = scores.statistic(logits, jnp.array([1, 0, 0]), "binary")
    np.testing.assert_array_equal(found, [1e4, 3.0, -2.5])


def test_two_outputs_equal_one_output():
    logits = np.random.default_rng(1).standard_normal((50, 2)).astype(np.float32)
    labels = np.arange(50) % 2
    difference = jnp.asarray(logits[:, 1:] - logits[:, :1])
    one = scores.statistic(difference, labels, "binary")
    for task in ("binary", "multiclass"):
        two = scores.statistic(logits, labels, task)
        np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-6)


def test_stays_finite_where_the_route_over_probabilities_does_not():
    logits = jnp.array([[120.0, 0.0]])
    p = jnp.exp(logits - logits.max())[0, 1]
    assert jnp.log(p + 1e-45) == -jnp.inf  # float32 flushes 1e-45 to zero
    assert scores.statistic(logits, jnp.array([0]), "multiclass")[0] == 120.0


def test_leading_axes_broadcast():
    logits, labels = jnp.zeros((3, 5, 4)), jnp.zeros((1, 5), jnp.int32)
    found = scores.statistic(logits, labels, "multiclass")
    np.testing.assert_allclose(found, -np.log(3), rtol=1e-6)
    found = scores.statistic(logits, jnp.zeros((1, 5, 4), jnp.int32), "multilabel")
    np.testing.assert_allclose(found, -np.log(15), rtol=1e-6)


class TestMultilabel:
    def _sample(self, scale, num_labels=5, seed=2):
        generator = np.random.default_rng(seed)
        logits = scale * generator.standard_normal((200, num_labels))
        return logits.astype(np.float32), generator.integers(0, 2, (200, num_labels))

    def test_each_label_has_its_right_sign_and_the_logits_come_back(self):
        logits, labels = self._sample(5.0)
        found = scores.per_label(logits, labels)
        np.testing.assert_array_equal(found, (2 * labels - 1) * logits)
        np.testing.assert_array_equal(scores.per_label(found, labels), logits)

    @pytest.mark.parametrize("num_labels", [1, 2, 14])
    @pytest.mark.parametrize("scale", [0.1, 3.0, 30.0, 1e3, 1e4])
    @pytest.mark.parametrize("side", ["mixed", "right", "wrong"])
    def test_joint_equals_exact_decimals(self, num_labels, scale, side):
        given = self._sample(scale, num_labels)[0]
        given = {"mixed": given, "right": abs(given), "wrong": -abs(given)}[side]
        found = np.asarray(scores.joint(jnp.asarray(given)))
        assert found.dtype == np.float32 and np.isfinite(found).all()
        # Half a dozen float32 roundings; absolute where the logit crosses zero.
        np.testing.assert_allclose(found, _exact_joint(given), rtol=1e-6, atol=1e-6)

    def test_joint_is_exact_where_both_formulas_meet(self):
        """1 - P from .2 to 1e-41: over the change at 1e-7, past float32's 1e-38."""
        s = np.linspace(2, 95, 2000, dtype=np.float32)[:, None] + np.float32([0, 1, 5])
        found = np.asarray(scores.joint(jnp.asarray(s)))
        np.testing.assert_allclose(found, _exact_joint(s), rtol=5e-7)
        assert (np.diff(found) > 0).all()

    def test_naive_formulas_fail_where_joint_does_not(self):
        s = np.full((1, 5), 100.0, np.float32)
        p = np.prod(scipy.special.expit(s.astype(float)), axis=1)
        assert p == 1.0  # so log p - log(1 - p) is infinite even in float64
        assert scores.joint(jnp.asarray(s))[0] == pytest.approx(100 - np.log(5))

    def test_joint_of_one_label_is_that_label(self):
        s = np.float32([-1e4, -20, -1, 0, 0.5, 3, 20, 90, 1e4])[:, None]
        found = scores.joint(jnp.asarray(s))
        np.testing.assert_allclose(found, s[:, 0], rtol=1e-6, atol=1e-7)

    def test_log_probability_can_be_had_back(self):
        s = self._sample(4.0)[0]
        log_p = -np.logaddexp(0, -s.astype(float)).sum(1)
        found = -np.logaddexp(0, -np.asarray(scores.joint(jnp.asarray(s)), float))
        np.testing.assert_allclose(found, log_p, rtol=1e-5)

    def test_statistic_is_the_joint_of_the_labels(self):
        logits, labels = self._sample(4.0)
        found = scores.statistic(logits, labels, "multilabel")
        right = np.where(labels == 1, logits, -logits)
        np.testing.assert_allclose(found, _exact_joint(right), rtol=1e-5, atol=1e-6)
        summed = right.sum(1)
        assert np.abs(found - summed).max() > 1  # the plain sum is something else


class TestSoftmaxMultiHot:
    def test_equals_the_published_formula(self):
        generator = np.random.default_rng(3)
        logits = (20 * generator.standard_normal((300, 5))).astype(np.float32)
        labels = generator.integers(0, 2, (300, 5))
        labels[0], labels[1], labels[2:, 0], labels[2:, 1] = 0, 1, 1, 0
        log_p = scipy.special.log_softmax(logits.astype(np.float64), axis=1)
        own, rest = (np.exp(log_p) * labels).sum(1), (np.exp(log_p) * ~(labels > 0))
        expected = np.log(own + 2.0**-149) - np.log(rest.sum(1) + 2.0**-149)
        found = np.asarray(scores.softmax_multi_hot(logits, labels))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)

    def test_rows_of_none_or_all_labels_say_nothing_and_stay_finite(self):
        logits = jnp.array([[3.0, -1.0], [1e4, -1e4]])
        for value, bound in ((0, -103.2789), (1, 103.2789)):
            labels = jnp.full((2, 2), value)
            found = scores.softmax_multi_hot(logits, labels)
            np.testing.assert_allclose(found, bound, rtol=1e-6)

    def test_it_does_not_see_what_the_sigmoids_say(self):
        """Sure of the absent label, or sure of both: the same to the softmax."""
        logits, labels = jnp.array([[0.0, -10.0], [5.0, -5.0]]), jnp.array([[1, 0]] * 2)
        unsure, sure = scores.softmax_multi_hot(logits, labels)
        assert unsure == sure == 10.0
        unsure, sure = scores.statistic(logits, labels, "multilabel")
        assert unsure < 0.1 and sure > 4.0

    def test_is_made_of_a_per_label_statistic(self):
        generator = np.random.default_rng(4)
        logits = generator.standard_normal((20, 3)).astype(np.float32)
        labels = generator.integers(0, 2, (20, 3))
        again = scores.per_label(scores.per_label(logits, labels), labels)
        expected = scores.softmax_multi_hot(logits, labels)
        found = scores.softmax_multi_hot(again, labels)
        np.testing.assert_array_equal(found, expected)
