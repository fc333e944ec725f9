"""Group comparisons: golden values, reference libraries, planted and absent effects."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats import contingency_tables, multitest

from mia_jax import validate
from mia_jax.risk import disparity, groups

N_IN = N_OUT = 64
NULL_SD = math.sqrt((N_IN + N_OUT + 1) / (12 * N_IN * N_OUT))
LIMITS = ("", "_low", "_high")
SPEC_COLUMNS = [
    *("attribute", "value", "is_intersection", "num_patients", "mean_records"),
    *("num_proven", "expected_proven", "share_proven"),
    *(f"relative_risk{end}" for end in LIMITS),
    *("p_value", "p_holm", "p_bh", "exposed_share", "exposed_low", "exposed_high"),
    *(f"exposed_difference{end}" for end in LIMITS),
    *("mean_auc", *(f"mean_auc_difference{end}" for end in LIMITS)),
    *("mean_auc_effect", "mean_auc_p_value", "mean_auc_p_holm", "mean_auc_p_bh"),
    *(f"adjusted_difference{end}" for end in LIMITS),
    *("adjusted_p_value", "adjusted_p_holm", "adjusted_p_bh"),
    *(f"adjusted_relative_risk{end}" for end in LIMITS),
    *(f"adjusted_relative_risk_p_{end}" for end in ("value", "holm", "bh")),
    *("top_share", *(f"top_ratio{end}" for end in LIMITS)),
    *("top_p_value", "top_p_holm", "rank_effect", "rank_p_value", "rank_p_holm"),
]


def cohort(rng: np.random.Generator, raised: float = 0.0, num_patients: int = 3000):
    """Groups and AUCs; `raised` is added to the mean AUC of the 200 in poor health."""
    health = np.repeat(["good", "poor"], [num_patients - 200, 200])
    frame = pd.DataFrame(
        {
            "health": health,
            "sex": rng.choice(["female", "male"], num_patients),
            "site": "one",
        }
    )
    auc = rng.normal(0.5, NULL_SD, num_patients)
    return frame, np.clip(auc + raised * (health == "poor"), 0, 1)


def table(frame, is_proven, auc, **options):
    options = {"intersections": False, **options}
    return groups.table(frame, is_proven, auc, N_IN, N_OUT, seed=0, **options)


def test_relative_risk_golden():
    golden = (4.087, 2.099, 7.960)
    found = disparity.relative_risk(8, 99, 121, 5813)
    assert np.allclose(found, golden, rtol=0, atol=6e-4)
    assert abs(disparity.fisher_p(8, 99, 121, 5813) - 0.00134) < 5e-6
    # Without the added half, or with it in the counts alone, the value is another.
    assert abs((8 / 99) / (121 / 5813) - 4.087) > 0.1
    assert abs((8.5 / 99) / (121.5 / 5813) - 4.087) > 0.01


def test_relative_risk_tends_to_the_textbook_one():
    """At large counts the added half fades: statsmodels' ratio and interval."""
    counts = np.array([[400, 1600], [900, 8100]])
    risk, low, high = disparity.relative_risk(400, 2000, 900, 9000)
    table_2x2 = contingency_tables.Table2x2(counts)
    textbook = (table_2x2.riskratio, *table_2x2.riskratio_confint())
    assert np.allclose((risk, low, high), textbook, rtol=2e-3)


def test_zero_counts_are_finite_and_certain_ones_undefined():
    assert all(np.isfinite(disparity.relative_risk(0, 50, 7, 900)))
    assert all(np.isfinite(disparity.relative_risk(50, 50, 7, 900)))
    for counts in [(0, 50, 0, 900), (50, 50, 900, 900), (0, 0, 7, 900), (5, 9, 0, 0)]:
        assert all(np.isnan(disparity.relative_risk(*counts)))
    assert np.isnan(disparity.fisher_p(0, 50, 0, 900))
    assert np.isnan(disparity.fisher_p(50, 50, 900, 900))


def test_mean_difference_is_welch():
    rng = np.random.default_rng(0)
    group, rest = rng.normal(0.55, 0.1, 37), rng.normal(0.5, 0.05, 500)
    welch = stats.ttest_ind(group, rest, equal_var=False)
    interval = welch.confidence_interval()
    expected = (group.mean() - rest.mean(), *interval, welch.pvalue)
    assert np.allclose(disparity.mean_difference(group, rest), expected, rtol=1e-10)
    pooled = stats.ttest_ind(group, rest).pvalue
    assert not math.isclose(
        disparity.mean_difference(group, rest)[3], pooled, rel_tol=0.1
    )


def test_mean_difference_without_a_test():
    one, two = np.array([0.7]), np.array([0.5, 0.6])
    difference, *test = disparity.mean_difference(one, two)
    assert math.isclose(difference, 0.15) and np.isnan(test).all()
    constant = disparity.mean_difference(np.full(5, 0.6), np.full(9, 0.5))
    assert math.isclose(constant[0], 0.1) and np.isnan(constant[1:]).all()
    assert np.isnan(disparity.mean_difference(np.array([]), two)).all()


def test_holm():
    # Holm 1979 by hand: .01 x 3, .02 x 2, then the maximum so far.
    adjusted = groups.holm(np.array([0.02, np.nan, 0.01, 0.03]))
    assert np.allclose(adjusted, [0.04, np.nan, 0.03, 0.04], equal_nan=True)
    assert np.isnan(groups.holm(np.array([np.nan]))).all()
    assert groups.holm(np.array([])).size == 0


@pytest.mark.parametrize(("name", "reference"), [("holm", "holm"), ("bh", "fdr_bh")])
def test_adjusted_p_values_are_those_of_statsmodels(name, reference):
    p_values = np.random.default_rng(1).beta(0.3, 1, 200).round(2)  # with ties
    expected = multitest.multipletests(p_values, method=reference)[1]
    assert np.allclose(disparity.adjust(p_values, name), expected, rtol=1e-12)


def test_table_has_the_stated_columns_and_counts():
    rng = np.random.default_rng(1)
    frame, auc = cohort(rng, raised=0.1)
    is_proven = auc > 0.62
    found = table(frame, is_proven, auc)
    assert list(found.columns) == SPEC_COLUMNS == list(groups.COLUMNS)
    # "site" has one value; the others come in order, their values sorted.
    names = list(zip(found["attribute"], found["value"], strict=True))
    assert not found["is_intersection"].any() and (found["mean_records"] == 1).all()
    assert names == [
        ("health", "good"),
        ("health", "poor"),
        ("sex", "female"),
        ("sex", "male"),
    ]
    poor = found.iloc[1]
    is_poor = frame["health"].to_numpy() == "poor"
    assert (
        poor["num_patients"] == 200 and poor["num_proven"] == is_proven[is_poor].sum()
    )
    assert math.isclose(poor["share_proven"], is_proven[is_poor].mean())
    assert math.isclose(poor["expected_proven"], 200 * is_proven.mean())
    assert math.isclose(poor["mean_auc"], auc[is_poor].mean())
    gap = auc[is_poor].mean() - auc[~is_poor].mean()
    assert math.isclose(poor["mean_auc_difference"], gap)
    assert poor["mean_auc_difference_low"] < gap < poor["mean_auc_difference_high"]
    for attribute in ("health", "sex"):
        rows = found[found["attribute"] == attribute]
        assert rows["num_patients"].sum() == len(frame)
        assert rows["num_proven"].sum() == is_proven.sum()
        assert math.isclose(rows["expected_proven"].sum(), is_proven.sum())
    assert np.allclose(found["p_holm"], groups.holm(found["p_value"]))
    assert np.allclose(found["mean_auc_p_holm"], groups.holm(found["mean_auc_p_value"]))


def test_planted_group_is_found_and_others_are_not():
    frame, auc = cohort(np.random.default_rng(2), raised=0.2)
    found = table(frame, auc > 0.68, auc).set_index("value")
    assert found.loc["poor", "mean_auc_p_holm"] < 1e-6
    assert found.loc["poor", "p_holm"] < 1e-6 and found.loc["poor", "relative_risk"] > 5
    # All 200 have a true AUC of .7: the denoised share above .7 is between.
    assert found.loc["poor", "exposed_share"] > 0.2 > found.loc["good", "exposed_high"]
    assert found.loc["female", "mean_auc_p_holm"] > 0.05


@pytest.mark.slow
def test_no_leak_accuses_nobody():
    """20 cohorts, two families of tests at 5 %: more than 6 accused has chance .004."""
    rng = np.random.default_rng(3)
    accused = 0
    for _ in range(20):
        frame, auc = cohort(rng, num_patients=1000)
        found = table(frame, rng.random(1000) < 0.05, auc)
        is_low = (found[["p_holm", "mean_auc_p_holm"]] < 0.05).any(axis=1)
        accused += bool(is_low.any())
    assert accused <= 6


@pytest.mark.slow
def test_many_records_are_not_a_risk_but_their_maximum_is():
    """No leak; the sick have 10 records, others 3. The naive maximum accuses them."""
    rng = np.random.default_rng(4)
    num_records = np.repeat([3, 10], [1600, 400])
    frame = pd.DataFrame({"sick": np.where(num_records > 3, "yes", "no")})
    records = rng.normal(0.5, NULL_SD, (2000, 10))
    records[num_records == 3, 3:] = -np.inf
    first, maximum = records[:, 0], np.clip(records.max(axis=1), 0, 1)
    proven = np.zeros(2000, bool)
    assert (table(frame, proven, first)["mean_auc_p_holm"] > 0.05).all()
    assert (table(frame, proven, maximum)["mean_auc_p_holm"] < 1e-6).all()


@pytest.mark.parametrize("value", [False, True])
def test_none_and_all_proven_are_undefined_without_a_warning(value):
    frame, auc = cohort(np.random.default_rng(5))
    found = table(frame, np.full(3000, value), auc)
    undefined = ["relative_risk", "relative_risk_low", "relative_risk_high"]
    assert found[[*undefined, "p_value", "p_holm"]].isna().all(axis=None)
    assert (found["share_proven"] == float(value)).all()
    assert np.isfinite(found["mean_auc_p_holm"]).all()


def test_small_values_and_missing_ones():
    frame = pd.DataFrame({"race": ["a"] * 60 + ["b"] * 29 + ["c"] + [None] * 30})
    auc = np.random.default_rng(6).normal(0.5, NULL_SD, 120)
    found = table(frame, np.arange(120) < 5, auc).set_index("value")
    assert list(found.index) == ["a", "b", "c", "unknown"]
    exposed = found["exposed_share"].isna()
    assert exposed.to_dict() == {"a": False, "b": True, "c": True, "unknown": False}
    assert np.isnan(found.loc["c", "mean_auc_p_value"])
    assert np.isfinite(found.loc["c", ["relative_risk", "p_holm", "mean_auc"]]).all()
    assert np.isfinite(found.loc[["a", "b"], "mean_auc_p_holm"]).all()


def test_constant_aucs():
    frame = pd.DataFrame({"sex": ["f", "m"] * 50})
    found = table(frame, np.ones(100, bool), np.ones(100))
    assert found["mean_auc_p_value"].isna().all() and (found["mean_auc"] == 1).all()
    assert (found["exposed_share"] > 0.99).all()


def test_no_attributes():
    for frame in (pd.DataFrame(index=range(9)), pd.DataFrame({"site": ["one"] * 9})):
        found = table(frame, np.zeros(9, bool), np.full(9, 0.5))
        assert found.empty and list(found.columns) == SPEC_COLUMNS
        assert groups.title(found).startswith("No group")


def test_few_models_give_no_exposed_share():
    frame, auc = cohort(np.random.default_rng(7))
    found = groups.table(frame, auc > 1, auc, n_in=4, n_out=4)
    assert found["exposed_share"].isna().all()


def test_lengths_must_agree():
    frame, auc = cohort(np.random.default_rng(8))
    with pytest.raises(validate.InputError, match="one row per patient"):
        groups.table(frame, auc[:-1] > 1, auc, N_IN, N_OUT)


def test_p_value_of_one_stratum_is_fishers():
    """Unless the other tail matters, both rules of two sides agree."""
    frame = pd.DataFrame({"poor": ["yes"] * 99 + ["no"] * 5813})
    is_proven = np.zeros(5912, bool)
    is_proven[:8] = is_proven[99 : 99 + 121] = True
    found = table(frame, is_proven, np.full(5912, 0.5)).set_index("value")
    assert abs(found.loc["yes", "p_value"] - 0.00134) < 5e-6
    assert np.allclose(found.loc["yes", "relative_risk"], 4.087, atol=6e-4)


def test_top_share_golden():
    frame = pd.DataFrame({"sick": ["yes"] * 1000 + ["no"] * 4000})
    auc = np.full(5000, 0.5)
    auc[:20] = auc[1000:1030] = 0.7
    row = table(frame, np.zeros(5000, bool), auc).set_index("value").loc["yes"]
    assert abs(row["top_p_value"] - 0.000877178) < 5e-10
    limits = row[["top_ratio", "top_ratio_low", "top_ratio_high"]].to_numpy(float)
    assert np.allclose(limits, (2.7, 1.4466, 4.9382), atol=5e-5)
    assert row["top_share"] == 0.02


def test_ties_at_the_edge_of_the_top_are_broken_by_the_seed():
    frame = pd.DataFrame({"half": ["a"] * 1000 + ["b"] * 1000})
    same = np.full(2000, 0.6)
    found = table(frame, same > 1, same)
    # In order of the rows all 20 would be of group a.
    assert 0.005 < found["top_share"].iloc[0] < 0.015
    pd.testing.assert_frame_equal(found, table(frame, same > 1, same))


@pytest.mark.parametrize(
    ("num_proven", "num_patients", "expected"),
    [
        *((0, 5000, "rank"), (9, 5000, "rank"), (10, 5000, "top"), (29, 5000, "top")),
        *((30, 5000, "proven"), (499, 5000, "proven"), (500, 5000, "exposed")),
        *((20, 900, "rank"), (20, 150, "exposed"), (5, 20, "rank"), (0, 0, "rank")),
    ],
)
def test_endpoint(num_proven, num_patients, expected):
    assert disparity.endpoint(num_proven, num_patients) == expected
    if num_patients:
        frame = pd.DataFrame({"sex": ["f", "m"] * (num_patients // 2)})
        is_proven = np.arange(num_patients) < num_proven
        found = table(frame, is_proven, np.full(num_patients, 0.5))
        assert groups.endpoint(found) == expected


def test_rows_of_two_attributes_and_their_adjustment_for_many_tests():
    frame, auc = cohort(np.random.default_rng(12), raised=0.2)
    frame["sex"] = frame["sex"].where(np.arange(3000) % 322 > 0, "other")
    found = table(frame, auc > 0.68, auc, intersections=True)
    both = found[found["is_intersection"]]
    assert set(both["attribute"]) == {"health x sex"}
    # "other" has 10 patients: 9 in good health and 1 in poor.
    assert set(both["value"]) == {f"{h} x {s}" for h in ("good", "poor") for s in SEXES}
    assert found.attrs == {"num_small_cells": 2, "num_cells_over_limit": 0}
    rest = found[~found["is_intersection"]]
    alone = table(frame, auc > 0.68, auc)
    raw = ["num_patients", "p_value", "mean_auc_p_value", "adjusted_p_value"]
    assert np.allclose(rest[raw], alone[raw], equal_nan=True)
    # Holm over all rows: more of them make every adjusted p-value larger.
    assert (rest["mean_auc_p_holm"] >= alone["mean_auc_p_holm"] - 1e-15).all()
    for family in ("p", "mean_auc_p", "adjusted_p", "adjusted_relative_risk_p"):
        raw = found[f"{family}_value"].to_numpy()
        bh = stats.false_discovery_control(raw[~np.isnan(raw)])
        assert np.allclose(found[f"{family}_bh"].dropna(), bh)
        assert np.allclose(found[f"{family}_holm"], groups.holm(raw), equal_nan=True)


SEXES = ("female", "male")


def test_json_of_a_table_is_finite_or_null():
    frame, auc = cohort(np.random.default_rng(13))
    frame["one"] = np.where(np.arange(3000) == 5, "alone", "others")
    for is_proven in (auc > 2, auc > 0.7, auc > 0.5):
        found = table(frame, is_proven, auc, intersections=True)
        numbers = found.select_dtypes("number").to_numpy(float)
        assert not np.isinf(numbers).any()


def test_old_call_works():
    frame, auc = cohort(np.random.default_rng(14))
    found = groups.table(frame, auc > 0.6, auc, N_IN, N_OUT, seed=3)
    assert list(found.columns) == SPEC_COLUMNS and (found["mean_records"] == 1).all()


def titled(**columns) -> pd.DataFrame:
    """A table of six wards, 5 of 100 proven in each."""
    base = {
        **{"attribute": "ward", "value": list("abcdef"), "is_intersection": False},
        **{"num_patients": 100, "num_proven": 5, "relative_risk": 1.0, "p_holm": 1.0},
    }
    return pd.DataFrame(base | columns).reindex(columns=SPEC_COLUMNS)


def test_title_by_proof_while_few_are_proven():
    rng = np.random.default_rng(9)
    frame, auc = cohort(rng)
    is_poor = frame["health"].to_numpy() == "poor"
    is_proven = rng.random(3000) < np.where(is_poor, 0.2, 0.02)
    found = table(frame, is_proven, auc)
    poor = found[found["value"] == "poor"].iloc[0]
    adjusted = f"adjusted {poor['adjusted_relative_risk']:.1f}x"
    ratio = f"{poor['relative_risk']:.1f}x ({adjusted})"
    assert groups.title(found) == f"Proven more exposed: poor (health), {ratio}"
    # A lower risk is not a finding, and without a difference nothing is named.
    nobody = "No group is shown to carry more risk than the others"
    assert groups.title(table(frame, rng.random(3000) < 0.04, auc)) == nobody


def test_title_by_exposure_where_many_are_proven():
    frame, auc = cohort(np.random.default_rng(10), raised=0.25)
    found = table(frame, np.arange(3000) % 2 == 0, auc)
    share, gap = 100 * found.loc[1, ["exposed_share", "exposed_difference"]]
    text = f"poor (health), {share:.0f} v {share - gap:.0f} % (also adjusted)"
    assert groups.title(found) == f"More exposed: {text}"


def test_title_by_rank_where_hardly_any_are_proven():
    frame, auc = cohort(np.random.default_rng(11), raised=0.05)
    found = table(frame, np.zeros(3000, bool), auc)
    mean, gap = found.loc[1, ["mean_auc", "mean_auc_difference"]]
    pair = f"{100 * mean:.1f} v {100 * (mean - gap):.1f}"
    title = f"Better recognised: poor (health), right {pair} times in 100"
    assert groups.title(found) == f"{title} (also adjusted)"


def test_title_by_the_top_where_few_are_proven():
    frame, auc = cohort(np.random.default_rng(15), raised=0.2)
    found = table(frame, np.arange(3000) < 20, auc)
    # All 30 are in poor health: the ratio is infinite, its lower limit is not.
    assert np.isnan(found.loc[1, "top_ratio"])
    ratio = f"over {found.loc[1, 'top_ratio_low']:.1f}x"
    start = f"More often in the top 1 %: poor (health), {ratio}"
    assert groups.title(found) == f"{start} (also adjusted)"


def test_title_names_three_groups_at_most():
    found = titled(
        p_holm=[0.01, 0.01, 0.01, 0.01, 0.2, np.nan],
        relative_risk=[2.0, 5.0, 3.0, 4.0, 9.0, np.nan],
        adjusted_relative_risk=[np.nan, 4.5, 1.1, 0.5, np.nan, np.nan],
        adjusted_relative_risk_p_holm=[np.nan, 0.01, 0.6, 0.01, np.nan, np.nan],
    )
    # c is not significant after adjustment, d turns round.
    title = (
        "Proven more exposed: b (ward), 5.0x (adjusted 4.5x); d (ward), 4.0x (not "
        "after adjustment); c (ward), 3.0x (not after adjustment) and 1 more"
    )
    assert groups.title(found) == title


def test_title_names_a_cell_of_two_only_where_neither_of_its_values_is():
    cells = ["b x young", "a x young"]
    found = titled(
        attribute=["ward"] * 4 + ["ward x age"] * 2,
        value=[*"abcd", *cells],
        is_intersection=[False] * 4 + [True] * 2,
        num_proven=[20, 5, 5, 5, 5, 5],
        num_patients=[400, 100, 100, 100, 100, 100],
        p_holm=[0.01, 0.2, 1, 1, 0.01, 0.01],
        relative_risk=[2.0, 1.5, 1, 1, 6.0, 7.0],
    )
    title = "Proven more exposed: b x young (ward x age), 6.0x; a (ward), 2.0x"
    assert groups.title(found) == title
