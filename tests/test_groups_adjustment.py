"""Adjusted comparisons: statsmodels as reference, planted confounding, edge cases."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from mia_jax.risk import _factors, adjustment, disparity, groups


def data(seed: int = 0, num_patients: int = 3000) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "a": rng.integers(0, 2, num_patients),
            "b": rng.choice(list("xyz"), num_patients),
            "k": rng.integers(0, 4, num_patients),
            "unit": rng.integers(0, num_patients // 3, num_patients),
        }
    )
    mean = 0.5 + 0.02 * frame["a"] + 0.03 * frame["k"] + 0.05 * (frame["b"] == "y")
    frame["auc"] = rng.normal(mean, 0.05 * (1 + frame["a"]))
    risk = 0.05 * np.exp(0.5 * frame["a"] + 0.2 * frame["k"])
    frame["proven"] = rng.random(num_patients) < risk
    return frame


def models(frame: pd.DataFrame, is_clustered: bool = False):
    factors = [_factors.factor(frame[name]) for name in ("a", "b", "k")]
    mean = adjustment.least_squares(factors, frame["auc"].to_numpy(), is_clustered)
    risk = adjustment.modified_poisson(factors, frame["proven"].to_numpy())
    return factors, mean, risk


def dummies(frame: pd.DataFrame) -> pd.DataFrame:
    columns = frame[["a", "b", "k"]].astype(str)
    return sm.add_constant(pd.get_dummies(columns, drop_first=True).astype(float))


def test_difference_is_statsmodels_with_hc3():
    frame = data()
    factors, mean, _ = models(frame)
    found = adjustment.difference(mean, adjustment.contrast(factors[0], 1), None)
    fit = sm.OLS(frame["auc"], dummies(frame)).fit(cov_type="HC3")
    # Ours is Student's t with the smaller side's degrees: from the error, by hand.
    size = min(frame["a"].sum(), (1 - frame["a"]).sum())
    width = stats.t.ppf(0.975, size - 1) * fit.bse["a_1"]
    value = fit.params["a_1"]
    assert np.allclose(found[:3], (value, value - width, value + width), rtol=1e-9)
    plain = sm.OLS(frame["auc"], dummies(frame)).fit().bse["a_1"]
    assert abs(plain / fit.bse["a_1"] - 1) > 0.02  # errors of equal variance differ


def test_difference_is_statsmodels_with_units():
    frame = data()
    factors, mean, _ = models(frame, is_clustered=True)
    unit = frame["unit"].to_numpy()
    contrast = adjustment.contrast(factors[0], 1)
    found = adjustment.difference(mean, contrast, unit)
    fit = sm.OLS(frame["auc"], dummies(frame)).fit(
        cov_type="cluster", cov_kwds={"groups": unit}
    )
    freedom = disparity.unit_freedom(contrast.is_group, unit)
    width = stats.t.ppf(0.975, freedom) * fit.bse["a_1"]
    assert np.allclose((found[2] - found[1]) / 2, width, rtol=1e-9)


def test_raw_clustered_difference_is_statsmodels():
    frame = data(1)
    is_group, unit = frame["a"].to_numpy() == 1, frame["unit"].to_numpy()
    found = disparity.clustered_difference(frame["auc"].to_numpy(), is_group, unit)
    fit = sm.OLS(frame["auc"], sm.add_constant(is_group * 1.0)).fit(
        cov_type="cluster", cov_kwds={"groups": unit}
    )
    freedom = disparity.unit_freedom(is_group, unit)
    width = stats.t.ppf(0.975, freedom) * fit.bse["x1"]
    assert np.isclose(found[0], fit.params["x1"])
    assert np.isclose((found[2] - found[1]) / 2, width)


def test_relative_risk_is_statsmodels_modified_poisson():
    frame = data()
    factors, _, risk = models(frame)
    is_proven = frame["proven"].to_numpy()
    contrast = adjustment.contrast(factors[0], 1)
    found = adjustment.relative_risk(risk, contrast, is_proven, None)
    model = sm.GLM(is_proven * 1.0, dummies(frame), family=sm.families.Poisson())
    fit = model.fit(cov_type="HC0")
    limits = np.exp([fit.params["a_1"], *fit.conf_int().loc["a_1"]])
    assert np.allclose(found, (*limits, fit.pvalues["a_1"]), rtol=1e-6)
    naive = model.fit().bse["a_1"]  # Poisson errors, as if counts could exceed one
    assert abs(naive / fit.bse["a_1"] - 1) > 0.02


def test_value_of_three_is_compared_with_the_mixture_of_the_others():
    frame = data()
    factors, mean, risk = models(frame)
    is_proven = frame["proven"].to_numpy()
    fit = sm.OLS(frame["auc"], dummies(frame)).fit(cov_type="HC3")
    poisson = sm.GLM(is_proven * 1.0, dummies(frame), family=sm.families.Poisson())
    poisson = poisson.fit(cov_type="HC0")
    size = frame["b"].value_counts()
    weight = size[["x", "z"]] / size[["x", "z"]].sum()
    # y against x and z: the coefficient of z, times its share, is taken off.
    by_hand = fit.t_test(f"b_y - {weight['z']:.17g} * b_z")
    contrast = adjustment.contrast(factors[1], 1, first=2)
    found = adjustment.difference(mean, contrast, None)
    assert np.isclose(found[0], by_hand.effect[0])
    width = stats.t.ppf(0.975, contrast.is_group.sum() - 1) * by_hand.sd.item()
    assert np.isclose((found[2] - found[1]) / 2, width)
    ratio = adjustment.relative_risk(risk, contrast, is_proven, None)[0]
    rest = weight["x"] + weight["z"] * np.exp(poisson.params["b_z"])
    assert np.isclose(ratio, np.exp(poisson.params["b_y"]) / rest)


def confounded(seed: int, effect: float, by: str):
    """A group with more records, or more positive labels, which carry the risk.

    `effect` is the group's own, in AUC and, times ten, in log risk.
    """
    rng = np.random.default_rng(seed)
    is_group = rng.random(6000) < 0.3
    cause = rng.random(6000) < np.where(is_group, 0.7, 0.3)
    num_records = np.where(cause, 6, 2) if by == "records" else np.full(6000, 2)
    label = np.where(cause, 1.0, 0.0) if by == "label" else np.zeros(6000)
    auc = rng.normal(0.5 + 0.06 * cause + effect * is_group, 0.05)
    risk = 0.02 * np.exp(1.5 * cause + 10 * effect * is_group)
    frame = pd.DataFrame({"race": np.where(is_group, "black", "white")})
    frame["sex"] = rng.choice(["f", "m"], 6000)
    found = groups.table(
        frame,
        rng.random(6000) < risk,
        np.clip(auc, 0, 1),
        64,
        64,
        num_records=num_records,
        label=label,
        intersections=False,
    )
    return found.set_index("value")


@pytest.mark.parametrize("by", ["records", "label"])
def test_a_finding_that_is_confounding_vanishes(by):
    found = confounded(1, 0.0, by)
    row = found.loc["black"]
    assert row["mean_auc_p_holm"] < 1e-10 and row["relative_risk_low"] > 1.2
    assert row["adjusted_p_value"] > 0.05 and abs(row["adjusted_difference"]) < 0.004
    assert row["adjusted_relative_risk_p_value"] > 0.05
    low, high = row["adjusted_relative_risk_low"], row["adjusted_relative_risk_high"]
    assert low < 1 < high
    # Strata of the number of records take it from the permutation test, too.
    assert (row["p_value"] > 0.05) == (by == "records")
    assert groups.endpoint(found) == "proven"
    title = groups.title(found.reset_index())
    if by == "records":
        assert title.startswith("No group")
    else:
        assert "black (race)" in title and title.endswith("x (not after adjustment)")


@pytest.mark.parametrize("by", ["records", "label"])
def test_a_true_effect_stays(by):
    found = confounded(2, 0.05, by)
    row = found.loc["black"]
    assert row["adjusted_p_holm"] < 1e-10
    low, high = row["adjusted_difference_low"], row["adjusted_difference_high"]
    # Three standard errors; the crude difference is many more away.
    error = (high - low) / 2 / 1.96
    assert abs(row["adjusted_difference"] - 0.05) < 3 * error
    assert row["mean_auc_difference"] - 0.05 > 10 * error
    low, high = row["adjusted_relative_risk_low"], row["adjusted_relative_risk_high"]
    assert 1 < low < np.exp(0.5) < high and row["adjusted_relative_risk_p_holm"] < 0.01
    assert row["relative_risk"] > row["adjusted_relative_risk"]
    assert "(adjusted 1." in groups.title(found.reset_index())
    assert found.loc["f", "adjusted_p_value"] > 0.01


def test_one_attribute_explains_the_other():
    """Risk is of insurance alone; race goes with insurance."""
    rng = np.random.default_rng(3)
    race = rng.random(5000) < 0.4
    poor = rng.random(5000) < np.where(race, 0.7, 0.2)
    frame = pd.DataFrame({"race": race, "medicaid": poor}).astype(str)
    auc = np.clip(rng.normal(0.5 + 0.05 * poor, 0.05), 0, 1)
    found = groups.table(frame, auc > 0.63, auc, 64, 64)
    found = found.set_index(["attribute", "value"])
    row = found.loc[("race", "True")]
    assert row["mean_auc_p_holm"] < 1e-10 and row["adjusted_p_value"] > 0.05
    assert found.loc[("medicaid", "True"), "adjusted_p_holm"] < 1e-10
    # A cell of two is compared with everybody else, neither attribute adjusted for.
    cell = found.loc[("race x medicaid", "True x True")]
    assert np.isclose(cell["adjusted_difference"], cell["mean_auc_difference"])


ADJUSTED = ["adjusted_difference", "adjusted_p_value", "adjusted_relative_risk"]


def adjusted(frame, is_proven, num_records=None, **options):
    auc = np.random.default_rng(0).normal(0.5, 0.05, len(frame))
    options = {"intersections": False, **options}
    found = groups.table(
        frame, is_proven, auc, 64, 64, num_records=num_records, **options
    )
    return found.set_index(["attribute", "value"])[ADJUSTED]


def test_collinear_groups_have_no_adjusted_number():
    """Twin attributes, one nested in another, and the number of records itself."""
    rng = np.random.default_rng(4)
    ward = rng.choice(list("abcd"), 800)
    records = rng.choice([1, 2, 3, 4], 800)
    frame = pd.DataFrame(
        {
            "sex": (sex := rng.choice(["f", "m"], 800)),
            "gender": np.char.upper(sex),
            "ward": ward,
            "house": np.where(np.isin(ward, ["a", "b"]), "north", "south"),
            "records": records.astype(str),
            "plan": rng.choice(["free", "paid"], 800),
        }
    )
    found = adjusted(frame, rng.random(800) < 0.2, num_records=records)
    for name in ("sex", "gender", "house", "records"):
        assert found.loc[name].isna().all(axis=None), name
    assert np.isfinite(found.loc["plan"]).all(axis=None)


def test_small_groups_and_levels_without_events():
    rng = np.random.default_rng(5)
    size = {"large": 500, "none": 200, "few": 60, "tiny": 9, "single": 1}
    value = np.repeat(list(size), list(size.values()))
    frame = pd.DataFrame({"v": value, "w": rng.choice(["p", "q"], 770)})
    is_proven = rng.random(770) < 0.2
    is_proven[value == "none"] = False
    is_proven[value == "few"] = np.arange(60) < 4
    found = adjusted(frame, is_proven).loc["v"]
    defined = np.isfinite(found["adjusted_difference"])
    assert defined.to_dict() == {
        **dict.fromkeys(("large", "none", "few"), True),
        **dict.fromkeys(("tiny", "single"), False),
    }
    has_ratio = np.isfinite(found["adjusted_relative_risk"])
    # "none" has no ratio; "few" has: 8 proven are expected though 4 are found.
    assert has_ratio[has_ratio].index.tolist() == ["few", "large"]


def test_separated_models_are_undefined():
    """All proven are positive: the risk of the others is zero, not infinitely small."""
    rng = np.random.default_rng(6)
    label = rng.integers(0, 2, 600)
    frame = pd.DataFrame({"sex": rng.choice(["f", "m"], 600)})
    is_proven = (rng.random(600) < 0.3) & (label == 1)
    found = adjusted(frame, is_proven, label=label)
    # The same as among the positive alone.
    chosen = label == 1
    alone = adjusted(frame[chosen], is_proven[chosen])
    name = "adjusted_relative_risk"
    assert np.allclose(found[name], alone[name], rtol=1e-6)
    for everybody in (np.zeros(600, bool), np.ones(600, bool)):
        assert adjusted(frame, everybody)[name].isna().all()


def test_a_likelihood_without_maximum_gives_no_number():
    """Proven only where one of two attributes is 1, nobody has neither: both together
    fit best with a risk of zero, though no level is without events."""
    a, b = np.repeat([[0, 1], [1, 0], [1, 1]], 60, axis=0).T
    is_proven = (a != b) & (np.arange(180) % 3 == 0)
    factors = [_factors.factor(a), _factors.factor(b)]
    model = adjustment.modified_poisson(factors, is_proven)
    contrast = adjustment.contrast(factors[0], 1)
    assert np.isnan(adjustment.relative_risk(model, contrast, is_proven, None)).all()


def test_fewer_patients_than_coefficients():
    frame = pd.DataFrame({name: list("abcdefgh") for name in ("v", "w")})
    found = adjusted(frame, np.arange(8) < 4, min_cell=1)
    assert found.isna().all(axis=None)


def test_null_p_values_are_uniform_in_small_groups():
    """300 groups of 12 of 400 patients: 5 % rejections; standard error .013."""
    rng = np.random.default_rng(7)
    p_values = []
    for _ in range(300):
        is_group = rng.permutation(400) < 12
        factors = [_factors.factor(is_group), _factors.factor(rng.integers(0, 3, 400))]
        model = adjustment.least_squares(factors, rng.normal(size=400), False)
        contrast = adjustment.contrast(factors[0], 1)
        p_values.append(adjustment.difference(model, contrast, None)[3])
    assert abs(np.mean(np.array(p_values) < 0.05) - 0.05) < 0.035


def test_few_events_keep_the_level_unless_chosen_by_their_number():
    """400 null groups, 6 proven expected in each; standard error .011."""
    rng = np.random.default_rng(8)
    p_values, observed = [], []
    for _ in range(400):
        is_group, is_proven = rng.permutation(1000) < 100, rng.random(1000) < 0.06
        factors = [_factors.factor(is_group), _factors.factor(rng.integers(0, 3, 1000))]
        model = adjustment.modified_poisson(factors, is_proven)
        contrast = adjustment.contrast(factors[0], 1)
        p_values.append(adjustment.relative_risk(model, contrast, is_proven, None)[3])
        observed.append(is_proven[is_group].sum())
    is_low = np.array(p_values) < 0.05  # False where nobody is proven
    assert is_low.mean() < 0.083
    assert is_low[np.array(observed) >= 9].mean() > 0.12


def test_classes_of_a_covariate():
    few = np.array([0.0, 0.5, 1.0] * 10)
    assert len(np.unique(_factors.classes(few))) == 3
    # A frequent lowest value, as a mean label of 0, is a class by itself.
    many = np.r_[np.zeros(500), np.random.default_rng(0).uniform(0.1, 1, 500)]
    found = _factors.classes(many)
    assert len(np.unique(found)) <= 10
    assert np.all((found == found[0]) == (many == 0))
    names = np.array([f"class {i}" for i in range(40)])
    assert np.array_equal(_factors.classes(names), names)


def test_rare_values_share_a_level():
    given = _factors.factor(np.array(list("aaabbbcd")))
    found = _factors.pooled(given, 3)
    assert found.values == ("a", "b") and found.num_levels == 3
    assert found.code.tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert np.array_equal(_factors.pooled(given, 1).code, given.code)
    assert _factors.pooled(given, 1)[1:] == given[1:]
    assert _factors.crossed(found, found).values[2] == "a x other"
