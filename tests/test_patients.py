"""Patients, records and the null check: golden values, power, validity, edge cases."""

import numpy as np
import pytest
import scipy.special
from statsmodels.stats import multitest

from mia_jax import validate
from mia_jax.risk import (
    design,
    exact,
    intervals,
    leave_pair_out,
    mask_test,
    model_means,
    null_check,
    patients,
    records,
)


def cohort(seed, models, num, k, shift, design_fn=None):
    """`num` patients of k records each; members shifted by `shift` [k] sd."""
    generator = np.random.default_rng(seed)
    mask = generator.random((models, num)).argsort(0).argsort(0) < models // 2
    if design_fn is not None:
        mask = design_fn(generator, models, num)
    x = generator.standard_normal((models, num, k)) + mask[..., None] * np.asarray(
        shift
    )
    x = x.reshape(models, -1).astype(np.float32)
    return x, mask, np.repeat(np.arange(num), k), np.zeros(models, int)


def golden():
    m, r = np.arange(16)[:, None], np.arange(2)
    x = np.sin(1.7 * m + 0.9 * r) + 0.3 * np.cos(5 * m * (r + 1)) + 0.6 * (m < 8)
    return x, m < 8, np.zeros(2, int), np.zeros(16, int)


def test_golden_patient():
    risk = patients.audit(*golden())
    assert risk.auc_mask_free[0] * 64 == 46
    assert risk.auc[0] * 64 == 46
    assert exact.survival(8, 8)[46] == pytest.approx(0.0802641803, rel=1e-9)
    assert risk.p_value[0] == pytest.approx(0.1605283605, rel=1e-9)
    assert np.isnan(risk.auc_low[0])


def test_golden_records():
    x, mask, patient_of_record, block = golden()
    risk = records.audit(x, mask, patient_of_record, block)
    np.testing.assert_array_equal(risk.auc * 64, 44)
    assert exact.survival(8, 8)[44] == pytest.approx(0.1172494172, rel=1e-9)
    np.testing.assert_allclose(risk.auc_se**2, intervals.variance(44 / 64, 8, 8))
    assert records.largest(risk.auc, patient_of_record) == 44 / 64


def test_one_record_is_tested_once_and_two_pay_for_the_choice():
    x, mask, _, block = golden()
    mask = np.repeat(mask, 2, 1)
    risk = patients.audit(x, mask, np.arange(2), block, model_mean="kept")
    np.testing.assert_allclose(risk.p_value, exact.survival(8, 8)[44])
    record, more = np.array([0, 0, 1]), np.c_[x, x[:, :1]]
    both = patients.audit(more, mask, record, block, model_mean="kept")
    assert both.p_value[0] == pytest.approx(2 * exact.survival(8, 8)[46])


def test_standardise_loses_nothing_at_a_large_mean():
    generator = np.random.default_rng(0)
    x = (1000 + 0.1 * generator.standard_normal((64, 3000))).astype(np.float32)
    wide = x.astype(np.float64)
    expected = (wide - wide.mean(0)) / wide.std(0, ddof=1)
    z = patients.standardise(x)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, expected, rtol=1e-6, atol=1e-7)
    one_pass = (x**2).mean(0) - x.mean(0) ** 2  # the float32 variance this avoids
    assert np.abs(one_pass / wide.var(0) - 1).max() > 0.5


def test_standardise_leaves_constant_columns_at_zero():
    x = np.full((7, 2), 0.1, np.float32)
    x[0, 1] = 3
    z = patients.standardise(x)
    np.testing.assert_array_equal(z[:, 0], 0)
    assert z[:, 1].std(ddof=1) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize(("leak", "power"), [("uniform", 0.62), ("one", 0.71)])
def test_planted_leak_is_found_with_the_stated_power(leak, power):
    """64 models, ten records: power at p < .001; 1,500 patients, s.e. .012."""
    d = np.sqrt(2) * scipy.special.ndtri(0.75) / np.sqrt(10)
    shift = np.full(10, d) if leak == "uniform" else np.r_[1.2, np.zeros(9)]
    arrays = cohort(1, 64, 1500, 10, shift)
    risk = patients.audit(*arrays)
    assert (risk.p_value < 1e-3).mean() == pytest.approx(power, abs=0.045)
    null = null_check.run(*arrays)
    assert null.num_proven <= 1
    assert null.auc.mean() == pytest.approx(0.5, abs=0.01)


def test_no_leak_proves_nothing():
    risk = patients.audit(*cohort(2, 64, 2000, 3, 0.0))
    assert risk.num_in.tolist() == [32] * 2000
    assert risk.is_proven.sum() == 0
    assert risk.auc.mean() == pytest.approx(0.5, abs=0.01)
    assert risk.auc_mask_free.mean() == pytest.approx(0.5, abs=0.006)  # s.e. .0016
    assert 0.03 < (risk.p_value <= 0.05).mean() < 0.055  # Bonferroni: a bit below .05
    seen = ~np.isnan(risk.auc_low)
    np.testing.assert_array_equal(seen, risk.p_value < 0.05)
    assert (risk.auc_low < risk.auc_mask_free)[seen].all()


def test_adjusted_p_values_are_statsmodels():
    risk = patients.audit(*cohort(3, 64, 200, 1, 0.8), fdr=0.2)
    for method, adjusted, proven in (
        ("fdr_bh", risk.q_value, risk.is_proven),
        ("holm", risk.p_holm, risk.is_proven_holm),
    ):
        expected = multitest.multipletests(risk.p_value, 0.2, method)
        np.testing.assert_allclose(adjusted, expected[1], rtol=1e-14)
        np.testing.assert_array_equal(proven, adjusted <= 0.2)
    assert 0 < risk.is_proven_holm.sum() < risk.is_proven.sum()


def test_models_added_in_a_block_keep_the_test_exact():
    """Second block shifted as a whole by 5 sd: within blocks it cannot be seen."""
    generator = np.random.default_rng(4)
    x = generator.standard_normal((48, 3000)).astype(np.float32)
    block = np.repeat([0, 1], [16, 32])
    mask = np.concatenate(
        [generator.random((n, 3000)).argsort(0).argsort(0) < n // 2 for n in (16, 32)]
    )
    shifted = x + 5 * block[:, None].astype(np.float32)
    plain, moved = (
        patients.audit(a, mask, np.arange(3000), block, model_mean="kept")
        for a in (x, shifted)
    )
    np.testing.assert_array_equal(plain.p_value, moved.p_value)
    np.testing.assert_array_equal(plain.auc_mask_free, moved.auc_mask_free)
    assert 0.04 < (moved.p_value <= 0.05).mean() < 0.06  # 2.5 s.e.
    removed = patients.audit(shifted, mask, np.arange(3000), block)
    assert 0.04 < (removed.p_value <= 0.05).mean() < 0.06
    one = np.zeros(48, int)
    whole = patients.audit(shifted, mask, np.arange(3000), one, model_mean="kept")
    assert (whole.p_value <= 0.05).mean() < 0.02  # the wrong law: no power left


def test_unbalanced_masks_are_valid():
    arrays = cohort(
        5, 40, 3000, 1, 0.0, lambda g, models, num: g.random((models, num)) < 0.5
    )
    risk = patients.audit(*arrays)
    assert len(np.unique(risk.num_in)) > 10
    assert 0.04 < (risk.p_value <= 0.05).mean() < 0.06
    assert risk.auc.mean() == pytest.approx(0.5, abs=0.012)


def test_complementary_pairs_need_their_blocks():
    def pairs(generator, models, num):
        first = generator.random((models // 2, num)) < 0.5
        return np.concatenate([first, ~first])

    x, mask, record, one = cohort(6, 32, 500, 2, 0.0, pairs)
    with pytest.raises(validate.InputError, match="opposite masks"):
        patients.audit(x, mask, record, one)
    with pytest.raises(validate.InputError, match="opposite masks"):
        patients.audit(x, mask, record, np.repeat(np.arange(16), 2))  # other pairs
    risk = patients.audit(x, mask, record, design.detect_pairs(mask))
    assert (risk.p_value <= 0.05).mean() < 0.06
    assert risk.auc.mean() == pytest.approx(0.5, abs=0.02)
    null = null_check.run(x, mask, record, design.detect_pairs(mask))
    assert null.num_proven == 0
    assert null.auc.mean() == pytest.approx(0.5, abs=0.02)


def test_pairs_that_lost_a_model_need_their_blocks_too():
    """30 pairs and 20 single models: leaks are found, and no test over all models."""

    def lossy(generator, models, num):
        first = generator.random((50, num)) < 0.5
        return np.concatenate([first, ~first])[:models]

    x, mask, record, one = cohort(14, 80, 500, 2, np.array([1.0, 0]), lossy)
    with pytest.raises(validate.InputError, match="opposite masks"):
        patients.audit(x, mask, record, one)
    block = design.detect_pairs(mask)
    assert mask_test.name(block) == mask_test.PAIRS_AND_BLOCKS
    assert patients.audit(x, mask, record, block).is_proven.mean() > 0.3
    assert null_check.run(x, mask, record, block).num_proven <= 1


def test_models_with_the_same_mask_are_refused():
    x, mask, record, block = cohort(15, 32, 60, 1, 0.0)
    mask[7] = mask[3]
    with pytest.raises(validate.InputError, match="models 3, 7 have the same mask"):
        patients.audit(x, mask, record, block)


@pytest.mark.parametrize("model_mean", ["removed", "kept"])
def test_both_aucs_and_the_test_use_the_same_scores(model_mean):
    x, mask, record, block = cohort(16, 32, 40, 2, 0.5)
    x += 2 * np.random.default_rng(17).standard_normal((32, 1)).astype(np.float32)
    unit = np.arange(40) // 2
    mask = mask[:, unit * 2]
    risk = patients.audit(x, mask, record, block, 0.05, unit, model_mean)
    z = patients.scores(x, record, block, unit, model_mean)
    found = patients.test(z, mask, record, block)
    np.testing.assert_array_equal(risk.p_value, found.p_value)
    np.testing.assert_array_equal(risk.auc_mask_free, found.auc)
    joint = leave_pair_out.auc(z, mask, record, block, unit_of_patient=unit)
    np.testing.assert_array_equal(risk.auc, joint)
    twin = patients.standardise(x)
    if model_mean == "removed":
        twin = model_means.remove(twin, unit[record], block)
    np.testing.assert_array_equal(z, twin)


def test_the_patients_p_value_is_that_of_its_parts():
    x, mask, record, block = cohort(18, 32, 50, 3, 0.6)
    keep = (record % 3 > 0) | (np.arange(150) % 3 == 0)  # 1 record or 3
    found = patients.test(patients.standardise(x[:, keep]), mask, record[keep], block)
    for patient in range(50):
        p = found.p_record[record[keep] == patient]
        if len(p) == 1:
            assert found.p_value[patient] == p[0] == found.p_sum[patient]
            continue
        both = 2 * min(found.p_sum[patient], 3 * p.min())
        assert found.p_value[patient] == min(1, both)


def test_intervals_of_proven_patients_have_their_level():
    risk = patients.audit(*cohort(19, 64, 200, 1, np.array([0.9])))
    assert 0 < risk.is_proven.sum() < 200
    is_given = risk.p_value < 0.05  # chosen too, by a weaker rule
    levels = [1 - 0.05 * np.mean(chosen) for chosen in (risk.is_proven, is_given)]
    level = np.where(risk.is_proven, *levels)
    np.testing.assert_allclose(risk.interval_level, level, rtol=1e-15)
    np.testing.assert_array_equal(np.isnan(risk.auc_low), ~is_given)
    for patient in np.flatnonzero(~np.isnan(risk.auc_low))[:20]:
        limits = intervals.score_interval(
            risk.auc_mask_free[patient], 32, 32, risk.interval_level[patient]
        )
        found = risk.auc_low[patient], risk.auc_high[patient]
        np.testing.assert_allclose(found, limits, atol=1e-11)
    assert (risk.q_storey <= risk.q_value)[risk.p_value <= 0.5].all()


def test_order_of_records_changes_nothing():
    x, mask, record, block = cohort(7, 32, 60, 3, 0.5)
    order = np.random.default_rng(8).permutation(len(record))
    expected = patients.audit(x, mask, record, block)
    moved = patients.audit(x[:, order], mask, record[order], block)
    for name, a, b in zip(expected._fields, expected, moved):
        np.testing.assert_allclose(b, a, rtol=1e-12, err_msg=name)


def test_saturated_columns_give_no_nan():
    x, mask, record, block = cohort(9, 32, 40, 2, 0.0)
    x[:, :20] = 0
    x[5, 3] = 1
    x[:, 20:40] = x[:, 20:40] > 0
    risk = patients.audit(x, mask, record, block)
    for name, values in risk._asdict().items():
        if name not in ("auc_low", "auc_high"):
            assert np.isfinite(values).all(), name
    assert risk.auc_mask_free[0] == risk.auc[0] == 0.5
    assert risk.p_value[0] == 1


def test_largest_record_is_biased_and_its_null_says_so():
    """Ten records, 128 models: naive null mean .578 (300 patients, s.e. .0015)."""
    x, mask, record, block = cohort(10, 128, 300, 10, 0.0)
    best = records.largest(records.audit(x, mask, record, block).auc, record)
    null = null_check.run(x, mask, record, block)
    assert best.mean() == pytest.approx(0.578, abs=0.006)
    assert null.auc_max_record.mean() == pytest.approx(best.mean(), abs=0.006)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[0].__setitem__((0, 3), np.nan), "statistic of records 3"),
        (lambda a: a[2].__setitem__(slice(0, 3), 1), "patients 0 of 20"),
        (lambda a: a.__setitem__(3, a[3][:-1]), "do not fit"),
    ],
)
def test_bad_input_is_named(change, message):
    arrays = list(cohort(13, 16, 20, 3, 0.0))
    change(arrays)
    with pytest.raises(validate.InputError, match=message):
        patients.audit(*arrays)


def test_an_unknown_way_with_the_model_mean_is_named():
    with pytest.raises(validate.InputError, match="model_mean='remove'"):
        patients.audit(*cohort(20, 16, 20, 1, 0.0), model_mean="remove")
