"""Per-patient clipped sums: ghost norms, explicit gradients, and their oracle."""

import functools

import jax
import jax.numpy as jnp
import jax_privacy
import numpy as np
import pytest
from flax import linen as nn

from mia_jax import config, losses, validate
from mia_jax.dp import clipping
from mia_jax.models import _layers

PATIENTS, RECORDS = 7, 3


class Network(nn.Module):
    """Dense, convolutions, embedding and norms by name."""

    kind: str

    @nn.compact
    def __call__(self, x, is_training):
        if self.kind == "conv2d":
            x = x.reshape(len(x), 6, 6, 2)
            x = nn.relu(nn.Conv(4, (3, 3))(x))
            x = nn.GroupNorm(2)(nn.Conv(4, (3, 3), strides=2, use_bias=False)(x))
        elif self.kind == "conv1d":
            x = nn.Conv(4, (5,), strides=2, padding="VALID")(x.reshape(len(x), 36, 2))
        elif self.kind == "embed":
            x = nn.Embed(5, 4)(jnp.clip(jnp.abs(x * 2), 0, 4).astype(jnp.int32))
            x = nn.Dense(3, use_bias=False)(x)
        elif self.kind == "norm":
            x = nn.LayerNorm()(nn.Dense(9)(nn.relu(nn.LayerNorm()(x))))
        return nn.Dense(1)(nn.tanh(x).reshape(len(x), -1))


class Twice(nn.Module):
    """One layer at two places: norms of its parts do not add up."""

    @nn.compact
    def __call__(self, x, is_training):
        layer = nn.Dense(x.shape[-1])
        return nn.Dense(1)(layer(nn.tanh(layer(x))))


class Stray(nn.Module):
    """A parameter that belongs to no known layer."""

    @nn.compact
    def __call__(self, x, is_training):
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        return nn.Dense(1)(x * scale[None])


def _model(name):
    if name == "mlp":
        return config.plugin("models", "mlp", widths=(8, 5)).call(1)
    if name == "tabresnet":
        return config.plugin("models", "tabresnet", width=8, num_blocks=1).call(1)
    modules = {"twice": Twice, "stray": Stray}
    module = modules[name]() if name in modules else Network(name)
    return _layers.pure(module)


def _case(name, seed=0, records=RECORDS, scale=1.0):
    model = _model(name)
    generator = np.random.default_rng(seed)
    inputs = generator.standard_normal((PATIENTS, records, 72)).astype(np.float32)
    labels = generator.integers(0, 2, (PATIENTS, records)).astype(np.int32)
    used = generator.integers(1, records + 1, PATIENTS)
    used[2] = 0  # absent
    weights = (np.arange(records) < used[:, None]) / np.maximum(used, 1)[:, None]
    params = model.init(jax.random.key(seed), jnp.asarray(inputs[0, :1]))

    def losses_fn(params, x, y, key):
        return scale * losses.cross_entropy(model.apply(params, x), y, "binary")

    given = jax.device_put((inputs, labels, weights.astype(np.float32)))
    return losses_fn, params, given


def _naive(losses_fn, params, given):
    """The gradient of every patient by itself, a list."""
    found = []
    for x, y, w in zip(*given, strict=True):
        loss = lambda p, x=x, y=y, w=w: (losses_fn(p, x, y, None) * w).sum()
        found.append(jax.grad(loss)(params))
    return found


def _norm(tree):
    squares = [
        np.square(np.asarray(v, np.float64)).sum() for v in jax.tree.leaves(tree)
    ]
    return np.sqrt(sum(squares))


def _clipped(gradients, factor_fn):
    factors = [factor_fn(_norm(g)) for g in gradients]
    return jax.tree.map(
        lambda *leaves: sum(f * v for f, v in zip(factors, leaves, strict=True)),
        *gradients,
    )


def _close(found, expected, rtol=1e-5):
    """Relative to the largest entry of the tree: single entries may cancel."""
    largest = max(np.abs(v).max() for v in jax.tree.leaves(expected))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * largest)


MODELS = ["mlp", "tabresnet", "conv2d", "conv1d", "embed", "norm"]
EXPLICIT = pytest.param("microbatch", marks=pytest.mark.slow)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("method", ["ghost", EXPLICIT])
def test_equals_the_naive_loop(name, method):
    losses_fn, params, given = _case(name)
    gradients = _naive(losses_fn, params, given)
    limit = float(np.median([_norm(g) for g in gradients]))  # half are clipped
    values, found = clipping.clipped_sum(
        losses_fn, params, *given, None, clip_norm=limit, method=method
    )
    _close(found, _clipped(gradients, lambda n: min(1.0, limit / max(n, 1e-30))))
    own = [float((losses_fn(params, x, y, None) * w).sum()) for x, y, w in zip(*given)]
    np.testing.assert_allclose(values, own, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", MODELS)
def test_auto_takes_taps_where_they_cover_everything(name):
    losses_fn, params, given = _case(name)
    assert clipping.method_of(losses_fn, params, *given[:2]).method == "ghost"


@pytest.mark.parametrize("name", ["twice", "stray"])
def test_what_taps_do_not_cover_is_refused_or_done_one_by_one(name):
    losses_fn, params, given = _case(name)
    clip = functools.partial(clipping.clipped_sum, losses_fn, params, *given, None)
    with pytest.raises(validate.InputError, match='method="ghost"'):
        clip(clip_norm=0.1, method="ghost")
    choice = clipping.method_of(losses_fn, params, *given[:2])
    assert choice.method == "microbatch" and choice.reason
    _, found = clip(clip_norm=0.1)
    gradients = _naive(losses_fn, params, given)
    _close(found, _clipped(gradients, lambda n: min(1.0, 0.1 / max(n, 1e-30))))


def test_pure_functions_have_no_taps():
    losses_fn = lambda params, x, y, key: jnp.square(x @ params["w"] - y)
    params = {"w": jnp.ones(72)}
    _, _, given = _case("mlp")
    assert clipping.method_of(losses_fn, params, *given[:2]).method == "microbatch"
    _, found = clipping.clipped_sum(losses_fn, params, *given, None, clip_norm=0.5)
    gradients = _naive(losses_fn, params, given)
    _close(found, _clipped(gradients, lambda n: min(1.0, 0.5 / max(n, 1e-30))))


def test_norm_of_a_dense_layer_by_hand():
    """Inputs (1, 2), (3, 4), errors (1, 0), (0, 1): weight 30, bias 2 (a + 1 rule)."""
    x = jnp.array([[[1.0, 2.0], [3.0, 4.0]]])
    module = nn.Dense(2)
    params = module.init(jax.random.key(0), x[0])["params"]

    def losses_fn(params, x, y, key):
        return (module.apply({"params": params}, x) * y).sum(-1)

    errors = jnp.array([[[1.0, 0.0], [0.0, 1.0]]])
    ones = jnp.ones((1, 2))
    _, found = clipping.clipped_sum(
        losses_fn, params, x, errors, ones, None, clip_norm=1.0, method="ghost"
    )
    kernel = np.array([[1.0, 3.0], [2.0, 4.0]])
    np.testing.assert_allclose(found["kernel"], kernel / np.sqrt(32), rtol=1e-6)
    np.testing.assert_allclose(found["bias"], np.ones(2) / np.sqrt(32), rtol=1e-6)


@pytest.mark.filterwarnings("ignore:optax.global_norm:DeprecationWarning")
def test_equals_jax_privacy():
    losses_fn, params, given = _case("mlp")
    one = lambda params, x, y, w: (losses_fn(params, x, y, None) * w).sum()
    expected = jax_privacy.clipped_grad(
        one, l2_clip_norm=0.2, batch_argnums=(1, 2, 3), keep_batch_dim=False
    )(params, *given)
    _, found = clipping.clipped_sum(losses_fn, params, *given, None, clip_norm=0.2)
    _close(found, expected)


@pytest.mark.parametrize("method", ["ghost", "microbatch"])
def test_no_limit_is_the_plain_gradient(method):
    losses_fn, params, given = _case("tabresnet")
    x, y, w = given
    flat = lambda v: v.reshape(-1, *v.shape[2:])
    plain = jax.grad(lambda p: (losses_fn(p, flat(x), flat(y), None) * flat(w)).sum())
    _, found = clipping.clipped_sum(
        losses_fn, params, *given, None, clip_norm=np.inf, method=method
    )
    _close(found, plain(params))


@pytest.mark.parametrize("rule", clipping.RULES)
def test_no_patient_moves_the_sum_by_more_than_the_limit(rule):
    losses_fn, params, (x, y, w) = _case("mlp", scale=1e4)
    clip = lambda w: clipping.clipped_sum(
        losses_fn, params, x, y, w, None, clip_norm=0.3, rule=rule
    )[1]
    whole = clip(w)
    for patient in range(PATIENTS):
        less = clip(w.at[patient].set(0.0))
        moved = _norm(jax.tree.map(jnp.subtract, whole, less))
        assert moved <= 0.3 * (1 + 1e-4)
        assert moved > 0.29 or patient == 2


def test_clipping_each_record_would_move_it_further():
    """The planted bug: records clipped one by one, as record-level DP does."""
    losses_fn, params, (x, y, w) = _case("mlp", scale=1e4)
    alone = lambda v: v.reshape(-1, 1, *v.shape[2:])
    sum_of = lambda w: clipping.clipped_sum(
        losses_fn, params, alone(x), alone(y), alone(w), None, clip_norm=0.3
    )[1]
    patient = int(np.argmax(np.asarray(w > 0).sum(1)))
    moved = jax.tree.map(jnp.subtract, sum_of(w), sum_of(w.at[patient].set(0.0)))
    assert _norm(moved) > 0.3 * 1.1


def test_automatic_rule():
    losses_fn, params, given = _case("mlp")
    gradients = _naive(losses_fn, params, given)
    _, found = clipping.clipped_sum(
        losses_fn, params, *given, None, clip_norm=0.2, rule="automatic"
    )
    _close(found, _clipped(gradients, lambda n: 0.2 / (n + 0.01)))


@pytest.mark.parametrize("method", ["ghost", "microbatch"])
def test_microbatches_change_rounding_only(method):
    losses_fn, params, given = _case("mlp")
    clip = functools.partial(
        clipping.clipped_sum, losses_fn, params, *given, None, method=method
    )
    whole_losses, whole = clip(clip_norm=0.2, microbatch=PATIENTS)
    for size in (1, 3, 16):
        parts_losses, parts = clip(clip_norm=0.2, microbatch=size)
        _close(parts, whole)
        np.testing.assert_allclose(parts_losses, whole_losses, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", ["ghost", "microbatch"])
def test_padding_may_hold_anything(method):
    losses_fn, params, (x, y, w) = _case("mlp")
    poisoned = jnp.where((w > 0)[..., None], x, jnp.nan)
    clip = lambda x: clipping.clipped_sum(
        losses_fn, params, x, y, w, None, clip_norm=0.2, method=method
    )
    for a, b in zip(*map(jax.tree.leaves, (clip(x), clip(poisoned))), strict=True):
        np.testing.assert_array_equal(a, b)


def test_mapped_over_models_equals_one_after_the_other():
    losses_fn, params, given = _case("mlp")
    several = jax.tree.map(lambda v: jnp.stack([v, 2 * v, -v]), params)
    limits = jnp.array([0.1, jnp.inf, 0.3])
    one = lambda params, limit: clipping.clipped_sum(
        losses_fn, params, *given, None, clip_norm=limit
    )[1]
    together = jax.jit(jax.vmap(one))(several, limits)
    for m in range(3):
        alone = one(jax.tree.map(lambda v, m=m: v[m], several), limits[m])
        _close(jax.tree.map(lambda v, m=m: v[m], together), alone)


def test_a_norm_without_the_bias_would_be_noticed(monkeypatch):
    """The planted bug: what the bias adds is left out of the norm."""
    from mia_jax.dp import _norms

    right = _norms.dense
    wrong = lambda inputs, errors, has_bias: right(inputs, errors, False)
    monkeypatch.setattr(_norms, "dense", wrong)
    losses_fn, params, given = _case("mlp")
    gradients = _naive(losses_fn, params, given)
    _, found = clipping.clipped_sum(losses_fn, params, *given, None, clip_norm=0.05)
    expected = _clipped(gradients, lambda n: min(1.0, 0.05 / max(n, 1e-30)))
    with pytest.raises(AssertionError):
        _close(found, expected)
