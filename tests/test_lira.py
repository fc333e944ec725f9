import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from mia_jax import leave_one_out, validate
from mia_jax.attacks import lira


def _draw(num_models, num_records, seed=0, leak=0.5, balanced=True):
    generator = np.random.default_rng(seed)
    uniform = generator.random((num_models, num_records))
    member = uniform.argsort(0) < num_models // 2
    if not balanced:
        member = uniform < 0.35
        member[:3], member[3:6] = True, False
    statistic = generator.standard_normal((num_models, num_records)) + leak * member
    return statistic.astype(np.float32), member


def _refit(statistic, member, mode, variance, tail="one_sided"):
    """Refits both Gaussians for every target in float64: the definition."""
    x = statistic.astype(np.float64)
    out = np.empty_like(x)
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        sides = [
            np.ma.array(x[rest], mask=member[rest] != is_in) for is_in in (True, False)
        ]
        mean = [side.mean(0).filled(np.nan) for side in sides]
        var = [side.var(0).filled(np.nan) for side in sides]
        if variance == "fixed":
            freedom = [(side.count(0) - 1).sum() for side in sides]
            squares = [(side.var(0) * side.count(0)).sum() for side in sides]
            var = [s / f for s, f in zip(squares, freedom, strict=True)]
        sd = np.sqrt(var)
        if mode == "offline" and tail == "two_sided":
            out[i] = -scipy.stats.norm.logpdf(x[i], mean[1], sd[1])
        elif mode == "offline":
            out[i] = -scipy.stats.norm.logsf(x[i], mean[1], sd[1])
        else:
            ratio = [
                scipy.stats.norm.logpdf(x[i], m, s)
                for m, s in zip(mean, sd, strict=True)
            ]
            out[i] = ratio[0] - ratio[1]
    return out


def _scores(statistic, member, **options):
    """As the engine scores, with priors and sums of all records."""
    record = np.arange(member.shape[1])
    return leave_one_out.scores(lira, np.asarray(statistic), member, record, **options)


@pytest.mark.parametrize("mode", ["online", "offline"])
@pytest.mark.parametrize("variance", ["record", "fixed"])
@pytest.mark.parametrize("balanced", [True, False])
def test_closed_form_equals_refitting_for_every_target(mode, variance, balanced):
    statistic, member = _draw(16, 48, balanced=balanced)
    found = _scores(statistic, member, mode=mode, variance=variance)
    expected = _refit(statistic, member, mode, variance)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("variance", ["record", "fixed"])
def test_two_sided_tail_is_minus_the_log_density(variance):
    statistic, member = _draw(16, 48)
    options = {"mode": "offline", "variance": variance, "tail": "two_sided"}
    found = _scores(statistic, member, **options)
    expected = _refit(statistic, member, **options)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


def test_golden_value():
    generator = np.random.default_rng(7)
    x = generator.standard_normal((8, 3))
    member = np.argsort(generator.random((8, 3)), 0) < 4
    x = (x + member).astype(np.float32)
    found = _scores(x, member, variance="record")
    column = [3.447071, -99.863764, 3.374529, -72.59963]
    column += [3.019611, 4.559134, -237.267384, -18.928047]
    np.testing.assert_allclose(found[:, 0], column, rtol=1e-5)
    np.testing.assert_allclose(found.sum(), -497.367743070083, rtol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 50.0, 1000.0])
@pytest.mark.parametrize("outlier", [0.0, 10.0, 100.0, 1000.0])
def test_float32_is_exact_for_offsets_and_outliers(offset, outlier):
    statistic, member = _draw(256, 10)
    statistic[5] += outlier
    statistic = (offset + (0.1 if offset else 1.0) * statistic).astype(np.float32)
    found = _scores(statistic, member, variance="record")
    expected = _refit(statistic, member, "online", "record")
    error = np.abs(found - expected) / np.maximum(1, np.abs(expected))
    assert error.max() < 5e-5


FORMS = [
    {"mode": mode, "variance": variance, "tail": tail}
    for mode, tail in (
        ("online", "one_sided"),
        ("offline", "one_sided"),
        ("offline", "two_sided"),
    )
    for variance in ("record", "fixed", "bayes")
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_saturated_sides_and_ties_stay_finite(form):
    statistic, member = _draw(16, 48)
    statistic[:, 0] = 7.0
    statistic[member[:, 1], 1] = 7.0
    statistic[~member[:, 2], 2] = -1e4
    statistic[:, 3] = np.where(member[:, 3], 1e4, -1e4)
    statistic[:, 4:8] = np.round(statistic[:, 4:8])
    statistic[0, 9] = 1e8
    found = _scores(statistic, member, **form)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_common_offset_changes_nothing(form):
    statistic, member = _draw(16, 48)
    statistic = np.round(statistic * 64) / 64  # exact in float32 with the offset, too
    plain, moved = (
        _scores(x, member, **form) for x in (statistic, statistic + np.float32(1e4))
    )
    np.testing.assert_allclose(moved, plain, rtol=1e-3, atol=1e-3)


def test_far_tails_of_the_offline_attack_stay_finite():
    statistic, member = _draw(16, 48)
    statistic[0, :6] = [1e4, -1e4, 1e6, -1e6, 1e8, -1e8]
    for variance in ("record", "fixed", "bayes"):
        found = _scores(statistic, member, mode="offline", variance=variance)
        assert np.isfinite(found).all()


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_chunks_equal_the_whole_array(form, monkeypatch):
    statistic, member = _draw(16, 48)
    patient_of_record = np.arange(48) // 2
    member = member[:, ::2]
    monkeypatch.setattr(leave_one_out, "RECORD_CHUNK", 12)
    chunked = leave_one_out.scores(lira, statistic, member, patient_of_record, **form)
    mask = member[:, patient_of_record]
    monkeypatch.undo()
    whole = _scores(statistic, mask, **form)
    np.testing.assert_allclose(chunked, whole, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_own_mask_bits_do_not_enter_through_the_engine(form):
    """All bits of one patient in one model, also through priors and pooled sums."""
    statistic, member = _draw(16, 48)
    patient_of_record = np.arange(48) // 3
    member = member[:, ::3]
    flipped = member.copy()
    flipped[4, 7] = ~flipped[4, 7]
    before, after = (
        leave_one_out.scores(lira, statistic, mask, patient_of_record, **form)
        for mask in (member, flipped)
    )
    np.testing.assert_allclose(after[4, 21:24], before[4, 21:24], rtol=1e-4, atol=1e-4)
    others = np.delete(after[:, 21:24], 4, 0) - np.delete(before[:, 21:24], 4, 0)
    assert np.abs(others).max() > 1e-3  # it does enter what the others are given


@pytest.mark.parametrize("name", ["mode", "variance", "tail", "channels"])
def test_unknown_option_lists_the_known_ones(name):
    statistic, member = _draw(8, 2)
    with pytest.raises(validate.InputError, match=f"attack.{name}"):
        lira.scores(statistic, member, **{name: "onlin"})
    with pytest.raises(validate.InputError, match="offline, online"):
        lira.scores(statistic, member, mode="onlin")


@pytest.mark.parametrize(
    ("num_models", "variance"), [(5, "record"), (3, "fixed"), (3, "bayes")]
)
def test_too_few_models_are_refused(num_models, variance):
    statistic, member = _draw(num_models, 5)
    with pytest.raises(validate.InputError, match=f"{num_models} models"):
        lira.scores(jnp.asarray(statistic), jnp.asarray(member), variance=variance)


@pytest.mark.parametrize(
    ("num_models", "variance"), [(4, "fixed"), (4, "bayes"), (5, "bayes")]
)
def test_the_fewest_models_are_scored_and_tell_members(num_models, variance):
    statistic, member = _draw(num_models, 1024, leak=3.0)
    found = _scores(statistic, member, variance=variance)
    assert np.isfinite(found).all()
    assert found[member].mean() > found[~member].mean() + 1
