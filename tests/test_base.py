import attack_checks
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from mia_jax import leave_one_out, validate
from mia_jax.attacks import base, rmia


@pytest.mark.parametrize("is_balanced", [True, False])
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_scores_equal_the_float64_definition(mode, is_balanced):
    audit = attack_checks.planted(is_balanced=is_balanced)
    found = attack_checks.engine_scores(base, audit, mode=mode)
    p = attack_checks.probability(audit.statistic)
    expected = np.log(p / attack_checks.naive_reference(audit, mode))
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


def test_equals_the_published_log_sum_exp_where_sides_are_equal():
    """-loss less log-mean-exp(-loss) over shadows, for a target beside 10 + 10."""
    audit = attack_checks.planted(21)
    member = np.zeros((21, 30), bool)
    member[:10] = True  # the last model is the target, out
    audit = audit._replace(member_mask=member)
    loss = np.logaddexp(0.0, -audit.statistic.astype(np.float64))
    mean = scipy.special.logsumexp(-loss[:20], axis=0) - np.log(20)
    found = attack_checks.engine_scores(base, audit)
    np.testing.assert_allclose(found[20], -loss[20] - mean, rtol=2e-5, atol=2e-6)


def test_ranks_the_records_of_a_model_as_rmia_does():
    """With gamma 1 and a population, RMIA is the rank of this score."""
    audit = attack_checks.planted(num_patients=70, num_records=70)
    score = attack_checks.engine_scores(base, audit)
    rank = attack_checks.engine_scores(rmia, audit)
    for own, shares in zip(score, rank, strict=True):
        ordered = shares[np.argsort(own)]
        # A non-member is compared with one fewer: its share may step by 1 / 34 / 35.
        assert np.diff(ordered).min() > -1e-3


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_own_bits_never_enter(mode):
    audit = attack_checks.planted()
    assert attack_checks.own_bit_change(base, audit, mode=mode) < 1e-5


@pytest.mark.parametrize("mode", ["online", "offline"])
@pytest.mark.parametrize("size", [50.0, 1e4])
def test_extreme_logits_are_exact(mode, size):
    audit = attack_checks.planted(num_records=40)
    statistic = (size * np.sign(audit.statistic)).astype(np.float32)
    found = np.asarray(
        base.scores(jnp.asarray(statistic), jnp.asarray(audit.record_mask), mode)
    )
    p, log_p = np.where(statistic > 0, 1.0, 0.0), np.minimum(statistic, 0.0)
    reference = attack_checks.naive_reference(audit, mode)
    assert np.isfinite(found).all()
    # One sure reference is enough for a mean that is no extreme.
    member = audit.record_mask
    for t in range(len(p)):
        rest = (np.arange(len(p)) != t)[:, None]
        inside, outside = member & rest, ~member & rest
        reference = (outside * p).sum(0) / outside.sum(0)
        if mode == "online":
            reference = (reference + (inside * p).sum(0) / inside.sum(0)) / 2
        some = reference > 0
        expected = log_p[t, some] - np.log(reference[some])
        np.testing.assert_allclose(found[t, some], expected, rtol=1e-5, atol=1e-5)


def test_patient_signal_is_log_p():
    statistic = attack_checks.planted().statistic
    expected = np.log(attack_checks.probability(statistic))
    found = leave_one_out.patient_signal(base, statistic, mode="offline")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_unknown_option_lists_the_known_ones():
    audit = attack_checks.planted()
    with pytest.raises(validate.InputError, match="offline, online"):
        attack_checks.engine_scores(base, audit, mode="of")
