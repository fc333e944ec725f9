"""Losses against float64 twins of their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import special

from mia_jax import losses


def _sample(num_outputs=3, seed=0):
    generator = np.random.default_rng(seed)
    return generator.standard_normal((20, num_outputs)) * 5, generator


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_multiclass_and_binary_equal_float64(smoothing):
    logits, generator = _sample()
    labels = generator.integers(0, 3, 20)
    log_p = special.log_softmax(logits, axis=1)
    target = np.eye(3)[labels] * (1 - smoothing) + smoothing / 3
    found = losses.cross_entropy(jnp.float32(logits), labels, "multiclass", smoothing)
    np.testing.assert_allclose(found, -(target * log_p).sum(1), rtol=1e-5, atol=1e-6)

    one = logits[:, :1]
    two = np.concatenate([np.zeros_like(one), one], 1)
    y = jnp.asarray(labels % 2)
    binary = losses.cross_entropy(jnp.float32(one), y, "binary", smoothing)
    pair = losses.cross_entropy(jnp.float32(two), y, "multiclass", smoothing)
    np.testing.assert_allclose(binary, pair, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_multilabel_is_the_mean_of_a_float64_loop_over_labels(smoothing):
    logits, generator = _sample(4)
    labels = generator.integers(0, 2, (20, 4))
    expected = np.zeros(20)
    for record in range(20):
        for label in range(4):
            target = labels[record, label] * (1 - smoothing) + smoothing / 2
            p = special.expit(logits[record, label])
            loss = -target * np.log(p) - (1 - target) * np.log(1 - p)
            expected[record] += loss / 4
    found = losses.cross_entropy(jnp.float32(logits), labels, "multilabel", smoothing)
    # 1 - p loses digits of float64 alone: 5e-6 at logits of 15.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    summed = expected * 4
    assert not np.allclose(found, summed, rtol=0.1)


def test_multilabel_of_equal_labels_is_the_binary_loss():
    """The scale does not grow with the labels, so learning rates carry over."""
    logits, generator = _sample(1)
    y = jnp.asarray(generator.integers(0, 2, 20))
    one = losses.cross_entropy(jnp.float32(logits), y, "binary", 0.1)
    same = jnp.tile(jnp.float32(logits), 14), jnp.tile(y[:, None], 14)
    np.testing.assert_allclose(
        losses.cross_entropy(*same, "multilabel", 0.1), one, rtol=1e-6
    )


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_gradient_is_the_error_of_the_sigmoid(task):
    logits, generator = _sample(1 if task == "binary" else 4)
    labels = generator.integers(0, 2, logits.shape)
    given = labels[:, 0] if task == "binary" else labels
    total = lambda z: losses.cross_entropy(z, jnp.asarray(given), task).sum()
    found = jax.grad(total)(jnp.float32(logits))
    expected = (special.expit(logits) - labels) / logits.shape[1]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_stays_finite_for_large_logits():
    logits = jnp.array([[1e4, -1e4]])
    found = losses.cross_entropy(logits, jnp.array([[0, 1]]), "multilabel")
    assert found[0] == 1e4
    assert losses.cross_entropy(logits, jnp.array([[1, 0]]), "multilabel")[0] == 0.0
    assert optax.sigmoid_binary_cross_entropy(logits, jnp.array([[0, 1]])).sum() == 2e4
