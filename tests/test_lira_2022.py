"""The authors' settings, against a twin of their procedure that refits every target."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from mia_jax import leave_one_out, validate
from mia_jax.attacks import lira, lira_2022

FORMS = [
    {"mode": mode, "variance": variance}
    for mode in ("online", "offline")
    for variance in ("record", "fixed")
]


def _draw(num_models, num_records, num_channels=1, balanced=True, seed=0):
    generator = np.random.default_rng(seed)
    uniform = generator.random((num_models, num_records))
    member = uniform.argsort(0) < num_models // 2
    if not balanced:
        member = uniform < 0.5
        member[:3], member[3:6] = True, False
    shape = (num_models, num_records, num_channels)
    x = 2.0 + generator.standard_normal((1, *shape[1:]))
    x = x + generator.standard_normal(shape) + member[..., None]
    return x.astype(np.float32), member


def _cut(x, side):
    """The first so many models of a side: the fewest that a record has."""
    values = [x[side[:, r], r] for r in range(x.shape[1])]
    size = min(map(len, values))
    return np.array([v[:size] for v in values])  # [records, models, channels]


def _twin(x, member, mode, variance):
    """Scores, and the sizes of the log densities that they are differences of."""
    x, out, size = x.astype(np.float64), np.empty(member.shape), np.empty(member.shape)
    for t in range(len(x)):
        rest = np.arange(len(x)) != t
        in_, out_ = (_cut(x[rest], side[rest]) for side in (member, ~member))
        if variance == "fixed":
            spread = [np.std(in_ if mode == "online" else out_)] * 2
        else:
            spread = [np.std(values, 1) for values in (in_, out_)]
        densities = [
            scipy.stats.norm.logpdf(x[t], np.median(values, 1), sd + 1e-30)
            for values, sd in zip((in_, out_), spread, strict=True)
        ]
        found = densities[0] - densities[1] if mode == "online" else -densities[1]
        out[t] = found.mean(1)
        size[t] = np.abs(densities).sum(0).mean(1)
    return out, size


def _check(found, x, member, mode, variance):
    """float32 keeps 7 digits of each log density: of an outlier they cancel."""
    expected, size = _twin(x, member, mode, variance)
    assert (
        np.abs(found - expected) < 2e-5 * (1 + np.abs(expected)) + 2e-6 * size
    ).all()


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize(("num_models", "balanced"), [(16, True), (15, False)])
def test_equals_the_authors_procedure_for_every_target(form, balanced, num_models):
    x, member = _draw(num_models, 30, 2, balanced)
    x[2, 5], x[9, 7] = 1e4, -1e4
    _check(_scores(x, member, **form), x, member, **form)


@functools.cache
def _jitted(**options):
    return jax.jit(functools.partial(lira_2022.scores, **options))


def _scores(x, member, **options):
    return np.asarray(_jitted(**options)(jnp.asarray(x), jnp.asarray(member)))


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_chunks_know_the_smallest_count_of_all_records(form, monkeypatch):
    """One record in the last chunk has fewer members than all others."""
    x, member = _draw(16, 50, 2)
    member[:, 49] = np.arange(16) < 4
    monkeypatch.setattr(leave_one_out, "RECORD_CHUNK", 10)
    found = leave_one_out.scores(lira_2022, x, member, np.arange(50), **form)
    _check(found, x, member, **form)
    if form["mode"] == "online":
        alone = leave_one_out.scores(
            lira_2022, x[:, :49], member[:, :49], np.arange(49), **form
        )
        assert np.abs(found[:, :49] - alone).max() > 0.1


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_own_mask_bits_do_not_enter(form):
    x, member = _draw(16, 30, 2)
    flipped = member.copy()
    flipped[4, 20:23] = ~flipped[4, 20:23]
    before, after = (_scores(x, mask, **form) for mask in (member, flipped))
    np.testing.assert_allclose(after[4], before[4], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", FORMS[::3], ids=str)
def test_one_channel_is_the_plain_statistic(form):
    x, member = _draw(16, 30)
    flat = _scores(x[..., 0], member, **form)
    np.testing.assert_allclose(_scores(x, member, **form), flat, rtol=1e-6, atol=1e-6)


def test_mean_scores_the_mean_statistic():
    x, member = _draw(16, 30, 2)
    found = _scores(x, member, channels="mean")
    expected = _twin(x.mean(-1, keepdims=True), member, "online", "record")[0]
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


def test_channels_of_densities_are_averaged_not_summed():
    x, member = _draw(16, 30, 2)
    x[..., 1] = x[..., 0]
    both, one = _scores(x, member), _scores(x[..., :1], member)
    np.testing.assert_allclose(both, one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_saturated_sides_and_ties_stay_finite(form):
    x, member = _draw(16, 30, 2)
    x[:, 0] = 7.0
    x[member[:, 1], 1] = 7.0
    x[:, 2:6] = np.round(x[:, 2:6])
    x[0, 7] = 1e8
    assert np.isfinite(_scores(x, member, **form)).all()


def test_ties_equal_the_authors_procedure():
    x, member = _draw(16, 30, 2)
    x = np.round(x)
    _check(_scores(x, member, variance="fixed"), x, member, "online", "fixed")


def test_raw_fixed_spread_is_not_the_residual_one():
    """The documented difference from `lira`: it holds the spread between records."""
    x, member = _draw(16, 30)
    arrays = jnp.asarray(x[..., 0]), jnp.asarray(member)
    ours = np.asarray(lira.scores(*arrays, variance="fixed"))
    theirs, _ = _twin(x, member, "online", "fixed")
    # Records differ by sd 1 beside the models' 1: half the precision.
    assert np.std(theirs) / np.std(ours) == pytest.approx(0.5, abs=0.1)


def test_bad_input_is_refused():
    x, member = _draw(3, 5)
    with pytest.raises(validate.InputError, match="3 models"):
        lira_2022.scores(jnp.asarray(x), jnp.asarray(member))
    x, member = _draw(8, 5)
    for name in ("mode", "variance", "channels"):
        with pytest.raises(validate.InputError, match=f"attack.{name}"):
            lira_2022.scores(jnp.asarray(x), jnp.asarray(member), **{name: "bayes"})
