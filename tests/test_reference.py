import attack_checks
import numpy as np
import pytest
import scipy.stats

from mia_jax import validate
from mia_jax.attacks import reference


def _naive(audit, smoothing):
    s, member = audit.statistic.astype(np.float64), audit.record_mask
    out = np.empty(s.shape)
    for t in range(len(s)):
        for x in range(s.shape[1]):
            rest = ~member[:, x] & (np.arange(len(s)) != t)
            others = s[rest, x]
            if smoothing == "none":
                out[t, x] = scipy.stats.percentileofscore(others, s[t, x], "mean") / 100
            else:
                width = 1.06 * s[:, x].std() * len(others) ** -0.2
                out[t, x] = scipy.stats.norm.cdf((s[t, x] - others) / width).mean()
    return out


@pytest.mark.parametrize("is_balanced", [True, False])
@pytest.mark.parametrize("smoothing", ["none", "kernel"])
def test_scores_equal_scipys_mid_ranks_and_kernels(smoothing, is_balanced):
    audit = attack_checks.planted(is_balanced=is_balanced)
    rounded = audit._replace(statistic=np.round(audit.statistic, 1))  # with ties
    found = attack_checks.engine_scores(reference, rounded, smoothing=smoothing)
    np.testing.assert_allclose(found, _naive(rounded, smoothing), atol=2e-6)


def test_models_that_saw_the_record_do_not_count():
    audit = attack_checks.planted()
    before = attack_checks.engine_scores(reference, audit)
    moved = np.where(audit.record_mask, audit.statistic + 9, audit.statistic)
    after = attack_checks.engine_scores(reference, audit._replace(statistic=moved))
    is_out = ~audit.record_mask
    np.testing.assert_array_equal(after[is_out], before[is_out])
    np.testing.assert_array_equal(after[audit.record_mask], 1.0)


def test_a_kernel_orders_targets_beyond_all_references():
    audit = attack_checks.planted(leak=3.0)
    plain = attack_checks.engine_scores(reference, audit)
    smooth = attack_checks.engine_scores(reference, audit, smoothing="kernel")
    top = plain == 1.0
    assert top.sum() > 50 and len(np.unique(smooth[top])) > 40


@pytest.mark.parametrize("smoothing", ["none", "kernel"])
def test_own_bits_never_enter(smoothing):
    audit = attack_checks.planted()
    change = attack_checks.own_bit_change(reference, audit, smoothing=smoothing)
    assert change < 1e-5


def test_unknown_option_lists_the_known_ones():
    with pytest.raises(validate.InputError, match="kernel, none"):
        attack_checks.engine_scores(
            reference, attack_checks.planted(), smoothing="linear"
        )
