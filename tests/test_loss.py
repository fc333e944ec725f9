import attack_checks
import numpy as np
import pytest

from mia_jax import contracts, leave_one_out, validate
from mia_jax.attacks import loss


def test_score_is_minus_the_cross_entropy():
    audit = attack_checks.planted()
    found = attack_checks.engine_scores(loss, audit)
    expected = np.log(attack_checks.probability(audit.statistic))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def _naive(audit, kind):
    log_p = np.log(attack_checks.probability(audit.statistic))
    owner, member = audit.context.patient_of_record, audit.record_mask
    out = np.zeros(log_p.shape)
    for t in range(len(log_p)):
        for x in range(log_p.shape[1]):
            z = ~member[t] & (owner != owner[x])
            if kind is not None:
                z &= kind == kind[x]
            out[t, x] = (log_p[t, z] < log_p[t, x]).sum() / max(z.sum(), 1)
    return out


def test_attack_p_is_the_share_of_less_confident_non_members():
    audit = attack_checks.planted()
    found = attack_checks.engine_scores(loss, audit, population="all")
    np.testing.assert_allclose(found, _naive(audit, None), atol=1e-6)


def test_attack_p_by_class_compares_within_the_label():
    audit = attack_checks.planted()
    found = attack_checks.engine_scores(loss, audit, population="class")
    np.testing.assert_allclose(found, _naive(audit, audit.context.labels), atol=1e-6)


def test_a_combination_of_labels_is_a_class():
    audit = attack_checks.planted()
    several = np.random.default_rng(2).integers(0, 2, (70, 2))
    audit = audit._replace(context=audit.context._replace(labels=several))
    found = attack_checks.engine_scores(loss, audit, population="class")
    np.testing.assert_allclose(found, _naive(audit, several @ [1, 2]), atol=1e-6)


@pytest.mark.parametrize("population", ["none", "all", "class"])
def test_own_bits_never_enter(population):
    audit = attack_checks.planted()
    change = attack_checks.own_bit_change(loss, audit, population=population)
    assert change == 0.0


def test_by_class_needs_labels():
    audit = attack_checks.planted()
    with pytest.raises(validate.InputError, match="without labels"):
        leave_one_out.scores(
            loss,
            audit.statistic,
            audit.member_mask,
            audit.context.patient_of_record,
            population="class",
        )


def test_one_target_may_be_compared_alone():
    audit = attack_checks.planted()
    together = attack_checks.engine_scores(loss, audit, population="class")
    log_p = np.log(attack_checks.probability(audit.statistic[3])).astype(np.float32)
    signals = contracts.Signals(log_p, None)
    member = audit.record_mask[3]
    alone = loss.compare(signals, member, audit.context, population="class")
    np.testing.assert_allclose(alone, together[3], atol=1e-6)


def test_unknown_option_lists_the_known_ones():
    with pytest.raises(validate.InputError, match="all, class, none"):
        attack_checks.engine_scores(loss, attack_checks.planted(), population="some")
