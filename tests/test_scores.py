import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from mia_jax import scores


def _naive(logits, labels):
    """log p_y - log(1 - p_y) by log-probabilities in float64."""
    out = []
    for row, label in zip(logits.astype(np.float64), labels, strict=True):
        others = np.delete(row, label)
        out.append(row[label] - scipy.special.logsumexp(others))
    return np.array(out)


@pytest.mark.parametrize("num_classes", [2, 3, 10])
@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
def test_multiclass_equals_float64(num_classes, scale):
    generator = np.random.default_rng(0)
    logits = (scale * generator.standard_normal((200, num_classes))).astype(np.float32)
    labels = generator.integers(0, num_classes, 200)
    found = np.asarray(scores.statistic(jnp.asarray(logits), jnp.asarray(labels)))
    # Float32 logits of size `scale` carry an error of 1e-7 of it.
    np.testing.assert_allclose(
        found, _naive(logits, labels), rtol=1e-5, atol=scale * 3e-6
    )


def test_binary_is_the_logit_with_the_labels_sign():
    logits = jnp.array([[1e4], [-3.0], [2.5]])
    found = scores.statistic(logits, jnp.array([1, 0, 0]))
    np.testing.assert_array_equal(found, [1e4, 3.0, -2.5])


def test_two_outputs_equal_one_output():
    logits = np.random.default_rng(1).standard_normal((50, 2)).astype(np.float32)
    labels = np.arange(50) % 2
    one = scores.statistic(jnp.asarray(logits[:, 1:] - logits[:, :1]), labels)
    np.testing.assert_allclose(
        scores.statistic(logits, labels), one, rtol=1e-5, atol=1e-6
    )


def test_stays_finite_where_the_route_over_probabilities_does_not():
    logits = jnp.array([[120.0, 0.0]])
    p = jnp.exp(logits - logits.max())[0, 1]
    assert jnp.log(p + 1e-45) == -jnp.inf  # float32 flushes 1e-45 to zero
    assert scores.statistic(logits, jnp.array([0]))[0] == 120.0


def test_leading_axes_broadcast():
    logits = jnp.zeros((3, 5, 4))
    labels = jnp.zeros((1, 5), jnp.int32)
    np.testing.assert_allclose(scores.statistic(logits, labels), -np.log(3), rtol=1e-6)
