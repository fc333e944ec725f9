"""TPR at a FPR: residuals and thresholds against loops, realised rates, refusals."""

import numpy as np
import pytest
import scipy.stats

from mia_jax import validate
from mia_jax.risk import _counts, _residuals, thresholds


def law(df):
    return scipy.stats.t(df) if np.isfinite(df) else scipy.stats.norm()


def cohort(seed, num_models=256, num_patients=1500, d=1.5, df=np.inf):
    """Members are d higher; every patient has a location and scale of its own."""
    generator = np.random.default_rng(seed)
    shape = num_models, num_patients
    mask = generator.random(shape).argsort(0).argsort(0) < num_models // 2
    x = law(df).rvs(shape, random_state=generator) + d * mask
    scale = np.exp(generator.standard_normal(num_patients))
    location = generator.standard_normal(num_patients)
    return x * scale + location, mask, location, scale


def refitted(x, side):
    """Every model against the mean and sd of the side's other models, in loops."""
    out = np.empty_like(x)
    for c in range(x.shape[1]):
        for m in range(len(x)):
            rest = x[side[:, c] & (np.arange(len(x)) != m), c]
            scale = rest.std(ddof=1) * np.sqrt(1 + 1 / len(rest))
            out[m, c] = (x[m, c] - rest.mean()) / scale
    return out


def test_residuals_are_those_of_refits():
    x, mask, *_ = cohort(0, 12, 6)
    np.testing.assert_allclose(
        _residuals.deleted(x, ~mask), refitted(x, ~mask), rtol=1e-5
    )


def test_residuals_of_saturated_patients():
    mask = (np.arange(8) < 4)[:, None].repeat(3, 1)
    x = np.zeros((8, 3))
    x[7, 1] = 1.0  # all other OUT models are equal
    x[:2, 2] = 1.0  # OUT is constant
    found = _residuals.deleted(x, ~mask)
    assert np.isnan(found[:, [0, 2]]).all()
    assert found[7, 1] > 1e6 and np.isfinite(found[:, 1]).all()
    few = _residuals.deleted(
        np.random.default_rng(1).random((8, 1)), np.arange(8)[:, None] < 2
    )
    assert np.isnan(few).all()


def test_thresholds_are_those_of_sorting_the_other_models():
    generator = np.random.default_rng(2)
    values = generator.integers(0, 30, (7, 40)).astype(np.float32)  # many ties
    side = generator.random((7, 40)) < 0.6
    side[3] = False
    rates = (0.5, 0.1, 0.004, 0.0001)
    found = _residuals.thresholds(values, side, rates)
    for model in range(7):
        rest = np.arange(7) != model
        ordered = np.sort(values[rest][side[rest]])[::-1]
        for rate, threshold in zip(rates, found[:, model]):
            m = int(rate * (len(ordered) + 1))
            assert threshold == (ordered[m - 1] if m else np.inf)


def test_thresholds_without_any_value_are_infinite():
    values = np.zeros((3, 2))
    assert np.isinf(_residuals.thresholds(values, values > 0, (0.1,))).all()


@pytest.mark.parametrize(
    ("df", "tpr", "sd"), [(np.inf, 0.201, 0.055), (4.0, 0.050, 0.031)]
)
def test_one_percent_of_a_patient_is_one_percent(df, tpr, sd):
    """256 models, d = 1.5. True TPR .204; of t4 .044. s.e. .0015 of both TPR and sd."""
    x, mask, location, scale = cohort(3, df=df)
    found = thresholds.patient_tpr(x, mask, 0.01)
    assert found.mean() == pytest.approx(tpr, abs=0.006)
    assert found.std() == pytest.approx(sd, abs=0.006)
    # The threshold's true FPR, from the law the scores were drawn from.
    q = np.quantile(_residuals.deleted(x, ~mask)[~mask], 0.99)
    n, mean, sd_out = _residuals.moments(x, ~mask)
    threshold = mean + sd_out * np.sqrt(1 + 1 / n) * q
    realised = law(df).sf((threshold - location) / scale).mean()
    assert realised == pytest.approx(0.01, abs=0.0008)  # s.e. .0001, of t4 .0002


def test_the_raw_threshold_is_rejected():
    """floor(.01 n) OUT scores above: FPR .0155 = 2 / 129, TPR .238 for .204."""
    x, mask, location, scale = cohort(5)
    out = np.sort(np.where(mask, -np.inf, x), axis=0)[::-1]
    threshold = out[1]
    realised = scipy.stats.norm.sf((threshold - location) / scale).mean()
    assert realised == pytest.approx(2 / 129, abs=0.001)
    tpr = ((x > threshold) & mask).sum(0) / mask.sum(0)
    assert tpr.mean() == pytest.approx(0.238, abs=0.01)


def test_patient_tpr_is_that_of_loops():
    x, mask, *_ = cohort(6, 20, 12)
    out, into = (refitted(x, side)[side] for side in (~mask, mask))
    expected = []
    for c in range(12):
        rows = [x[side[:, c], c] for side in (~mask, mask)]
        scales = [row.std(ddof=1) * np.sqrt(1 + 1 / len(row)) for row in rows]
        threshold = rows[0].mean() + scales[0] * np.quantile(out, 0.9)
        expected.append(((into * scales[1] + rows[1].mean()) > threshold).mean())
    found = thresholds.patient_tpr(x, mask, 0.1)
    # Shares of 120 residuals: float32 may move one across the threshold.
    np.testing.assert_allclose(found, expected, atol=1.01 / 120)


def test_patients_without_a_statement_are_nan():
    x, mask, *_ = cohort(7, 16, 20)
    x[:, 0] = 1.0
    mask[:, 1] = np.arange(16) < 2
    found = thresholds.patient_tpr(x, mask, 0.1)
    assert np.isnan(found[:2]).all() and np.isfinite(found[2:]).all()
    assert thresholds.quantiles_of_patients(found[:2]) is None
    quantiles = thresholds.quantiles_of_patients(found)
    assert list(quantiles) == ["0.5", "0.95", "0.99", "1"]
    assert quantiles["1"] == np.nanmax(found)
    nothing = thresholds.patient_tpr(np.zeros((8, 3)), mask[:8, :3], 0.1)
    assert np.isnan(nothing).all()
    with pytest.raises(validate.InputError, match="between 0 and 1"):
        thresholds.patient_tpr(x, mask, 1.0)


def test_many_patients_are_sampled(monkeypatch):
    x, mask, *_ = cohort(8, 64, 400)
    every = thresholds.patient_tpr(x, mask, 0.1)
    monkeypatch.setattr(thresholds, "_POOLED", 64 * 100)
    some = thresholds.patient_tpr(x, mask, 0.1)
    np.testing.assert_allclose(some, every, atol=0.05)


KEYS = (
    "fpr rule realised_fpr num_false_alarms num_non_members fpr_low fpr_high tpr reason"
).split()


def test_rows_have_counts_intervals_and_refusals():
    x, mask, *_ = cohort(9, 128, 700)
    rows = thresholds.table(thresholds.measure(x, mask))
    assert [tuple(row[k] for k in ("rule", "fpr")) for row in rows] == [
        (rule, fpr) for rule in ("pooled", "per_patient") for fpr in (0.1, 0.01, 0.001)
    ]
    for row in rows:
        assert list(row) == KEYS
        assert row["num_non_members"] == (~mask).sum()
        share = row["num_false_alarms"] / row["num_non_members"]
        assert row["realised_fpr"] == share == pytest.approx(row["fpr"], rel=0.1)
        assert (row["fpr_low"] is None) == (row["reason"] is not None)
        if row["reason"] is None:
            assert row["fpr_low"] < share < row["fpr_high"]
    refused = {(row["rule"], row["fpr"]) for row in rows if row["reason"]}
    assert refused == {("pooled", 0.001), ("per_patient", 0.01), ("per_patient", 0.001)}
    reasons = [row["reason"] for row in rows if row["reason"]]
    assert "takes 2995 non-members of a model" in reasons[0]
    assert "takes 299 models without the patient, there are 64" in reasons[1]


def test_unequal_patients_need_their_own_threshold():
    """Scales differ by exp(N(0, 1)): one threshold finds only the noisy patients."""
    x, mask, *_ = cohort(10, 128, 700)
    rows = thresholds.table(thresholds.measure(x, mask, (0.01,)))
    pooled, per_patient = (row["tpr"] for row in rows)
    assert per_patient == pytest.approx(0.2, abs=0.02)
    assert pooled < 0.08


def test_rates_are_those_of_loops():
    x, mask, *_ = cohort(11, 12, 30)
    for rate in thresholds.measure(x, mask, (0.2,)):
        values = refitted(x, ~mask) if rate.rule == "per_patient" else x
        alarms = hits = 0
        for target in range(12):
            rest = np.arange(12) != target
            ordered = np.sort(values[rest][~mask[rest]])[::-1]
            m = int(0.2 * (len(ordered) + 1))
            alarm = values[target] > ordered[m - 1]
            alarms += (alarm & ~mask[target]).sum()
            hits += (alarm & mask[target]).sum()
        assert (rate.false_alarms, rate.hits) == (alarms, hits)
        assert (rate.non_members, rate.members) == ((~mask).sum(), mask.sum())


def test_a_rate_never_exceeds_its_nominal_value_where_few_can_be_wrong():
    """6 models, 4 patients: 1 % allows no alarm at all, and nothing is claimed."""
    x, mask, *_ = cohort(12, 6, 4)
    for row in thresholds.table(thresholds.measure(x, mask, (0.01,))):
        assert row["num_false_alarms"] == 0
        assert row["fpr_low"] is None and row["reason"]


def test_fewest_models():
    assert [thresholds.fewest_models(f) for f in (0.1, 0.01, 0.001)] == [29, 299, 2995]


def test_clopper_pearson_is_scipys():
    for count, total in ((0, 30), (3, 299), (299, 299), (50, 120)):
        expected = scipy.stats.binomtest(count, total).proportion_ci(0.9, "exact")
        found = _counts.clopper_pearson(count, total, level=0.9)
        np.testing.assert_allclose(found, tuple(expected), rtol=1e-9)
    # No alarm of 29 certifies 10 %: one-sided 95 %.
    assert _counts.clopper_pearson(0, 29, level=0.9)[1] < 0.1
    assert _counts.clopper_pearson(0, 28, level=0.9)[1] > 0.1
    halved = _counts.clopper_pearson(10, 200, design_effect=2.0)
    np.testing.assert_allclose(halved, _counts.clopper_pearson(5, 100))


def test_design_effect_makes_up_for_a_shock_per_model():
    """400 runs, 5 % alarms, rates per model from a beta law: coverage of 95 %.

    The plain interval covers less than 80 %; s.e. of a coverage .011.
    """
    generator = np.random.default_rng(13)
    covered = np.zeros(2)
    for _ in range(400):
        rate = generator.beta(5, 95, (40, 1))
        event = generator.random((40, 200)) < rate
        possible = np.ones_like(event)
        count, effect = _counts.with_design_effect(event, possible)
        for i, used in enumerate((effect, 1.0)):
            low, high = _counts.clopper_pearson(count, 8000, used)
            covered[i] += low <= 0.05 <= high
    assert covered[0] / 400 > 0.91
    assert covered[1] / 400 < 0.8


def test_design_effect_of_a_shared_row_is_its_length():
    """Rows all or nothing: the number of rows is what counts."""
    event = np.repeat(np.arange(50)[:, None] % 5 == 0, 20, 1)
    count, effect = _counts.with_design_effect(event, np.ones_like(event))
    assert count == 200
    assert effect == pytest.approx(20 * 50 / 49 - 1 + 0.0, rel=0.06)
    none = _counts.with_design_effect(np.zeros_like(event), np.ones_like(event))
    assert none == (0, 20.0)


def test_ppv_is_bayes_rule_and_its_limits_hold_it():
    x, mask, *_ = cohort(14, 128, 700)
    rates = thresholds.measure(x, mask)
    rows = thresholds.ppv(rates)
    assert len(rows) == 9
    for row in rows:
        right = row["prior"] * row["tpr"]
        expected = right / (right + (1 - row["prior"]) * row["realised_fpr"])
        assert row["ppv"] == pytest.approx(expected, rel=1e-12)
        if row["fpr"] == 0.001:
            assert row["ppv_low"] is row["ppv_high"] is None
        else:
            assert row["ppv_low"] < row["ppv"] < row["ppv_high"]
    assert {row["prior"] for row in rows} == {0.01, 0.1, 0.5}
    assert len(thresholds.ppv(rates, rule="per_patient")) == 9


def test_ppv_without_an_alarm_is_not_defined():
    x, mask, *_ = cohort(15, 6, 4)
    (row,) = thresholds.ppv(thresholds.measure(x, mask, (0.01,)), (0.5,))
    assert row["ppv"] is None
