"""Units of patients, cells of two, curves by group, and the published test on rows."""

import logging

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mia_jax import validate
from mia_jax.risk import (
    cells,
    group_survival,
    groups,
    published_chi2,
    unit_permutation,
)


def test_households_are_not_patients(monkeypatch):
    """60 null cohorts of households of four: patients taken as independent accuse."""
    monkeypatch.setattr(unit_permutation, "_NUM_PERMUTATIONS", 199)
    rng = np.random.default_rng(1)
    unit = np.arange(150).repeat(4)
    names = ["p_value", "mean_auc_p_value", "adjusted_p_value", "rank_p_value"]
    p_values = {True: [], False: []}
    for seed in range(60):
        risk = rng.normal(0.5, 0.06, 150)[unit]
        is_proven = risk + rng.normal(0, 0.01, 600) > 0.56
        frame = pd.DataFrame({"race": rng.choice(["a", "b"], 150, p=[0.3, 0.7])[unit]})
        for is_given, found in p_values.items():
            table = groups.table(
                frame,
                is_proven,
                risk,
                4,
                4,
                seed,
                unit_of_patient=unit if is_given else None,
            )
            found.append(table[names].iloc[0].to_numpy(float))
    # Binomial (60, .05): 8 or more has chance .01 in each of four.
    by_unit = (np.array(p_values[True]) < 0.05).sum(0)
    alone = (np.array(p_values[False]) < 0.05).sum(0)
    assert np.all(by_unit <= 8) and np.all(alone >= 12), (by_unit, alone)


def test_units_of_one_patient_are_patients():
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"sex": rng.choice(["f", "m"], 500)})
    auc = rng.uniform(0.4, 0.8, 500)
    arguments = frame, auc > 0.7, auc, 64, 64
    plain = groups.table(*arguments)
    units = groups.table(*arguments, unit_of_patient=rng.permutation(500) + 7)
    pd.testing.assert_frame_equal(plain, units)


def test_wider_intervals_with_units():
    rng = np.random.default_rng(3)
    unit = np.arange(300).repeat(4)
    frame = pd.DataFrame({"race": rng.choice(["a", "b"], 300)[unit]})
    auc = np.clip(rng.normal(0.55, 0.08, 300), 0, 1)[unit]
    plain = groups.table(frame, auc > 0.7, auc, 64, 64).iloc[0]
    units = groups.table(frame, auc > 0.7, auc, 64, 64, unit_of_patient=unit).iloc[0]
    # Copies by four: errors twice as large, estimates the same.
    for name in ("mean_auc_difference", "exposed_difference", "adjusted_difference"):
        assert np.isclose(plain[name], units[name])
        width = [row[f"{name}_high"] - row[f"{name}_low"] for row in (plain, units)]
        assert 1.9 < width[1] / width[0] < 2.1, name
    log = [
        np.log(row["relative_risk_high"] / row["relative_risk_low"])
        for row in (plain, units)
    ]
    assert np.isclose(log[1] / log[0], 2, rtol=0.01)
    assert np.isclose(plain["relative_risk"], units["relative_risk"])


def frame_of_three(rng, num_patients: int = 600) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "race": rng.choice(["black", "white"], num_patients),
            "insurance": rng.choice(["medicaid", "none", "private"], num_patients),
            "sex": rng.choice(["f", "m"], num_patients),
        }
    )


def find(frame, limit: int = 100, min_cell: int = 10):
    return cells.find(*cells.attributes(frame), True, min_cell, limit)


def test_cells_of_two_in_the_stated_order():
    frame = frame_of_three(np.random.default_rng(4))
    found = find(frame)
    pairs = [cell for cell in found.cells if cell.is_intersection]
    order = list(dict.fromkeys(cell.attribute for cell in pairs))
    assert order == ["race x insurance", "race x sex", "insurance x sex"]
    first = pairs[0]
    assert first.value == "black x medicaid" and first.columns == (0, 1)
    chosen = (frame["race"] == "black") & (frame["insurance"] == "medicaid")
    assert np.array_equal(first.is_group, chosen)
    assert len(pairs) == 6 + 4 + 6 and found.num_over_limit == 0


def test_the_limit_leaves_out_whole_pairs():
    found = find(frame_of_three(np.random.default_rng(5)), limit=10)
    pairs = [cell.attribute for cell in found.cells if cell.is_intersection]
    assert pairs == ["race x insurance"] * 6 + ["race x sex"] * 4
    assert found.num_over_limit == 6


def test_small_and_repeated_cells_are_left_out():
    frame = pd.DataFrame(
        {
            "sex": ["f"] * 60 + ["m"] * 60,
            "pregnant": ["yes"] * 20 + ["no"] * 100,
            "ward": ["a"] * 55 + ["b"] * 65,
        }
    )
    pairs = {c.value: c for c in find(frame).cells if c.is_intersection}
    # "f x yes" is all of "yes", "m x no" all of "m"; "f x b" has 5 patients.
    assert "f x yes" not in pairs and "m x no" not in pairs and "f x b" not in pairs
    assert "f x no" in pairs and find(frame).num_small > 0
    assert min(cell.is_group.sum() for cell in pairs.values()) >= 10


def test_missing_values_are_a_value():
    names, factors = cells.attributes(pd.DataFrame({"x": ["a", None, np.nan, "b"]}))
    assert names == ["x"] and factors[0].values == ("a", "b", "unknown")


def test_survival_by_group():
    rng = np.random.default_rng(6)
    frame = pd.DataFrame({"sex": ["f"] * 900 + ["m"] * 90 + ["x"] * 5})
    auc, null = rng.normal(0.5, 0.05, 995), rng.normal(0.5, 0.05, 995)
    auc[900:990] += 0.1
    grid = np.array([0.45, 0.5, 0.55, 0.6])
    found = group_survival.table(frame, auc, null, grid)
    assert list(found.columns) == list(group_survival.COLUMNS)
    assert found["value"].tolist() == ["f"] * 4 + ["m"] * 4  # x is too small
    f, m = found[found["value"] == "f"], found[found["value"] == "m"]
    assert np.allclose(f["share"], [(auc[:900] > g).mean() for g in grid])
    assert f["share"].between(f["null_low"], f["null_high"]).all()
    assert (m["share"] > m["null_high"]).iloc[1:].all()
    low, high = stats.binom.interval(0.99, 90, (null > 0.5).mean())
    assert np.allclose(m[["null_low", "null_high"]].iloc[1], (low / 90, high / 90))
    # A small group's band is the wider one.
    width = lambda rows: (rows["null_high"] - rows["null_low"]).to_numpy()
    assert np.all(width(m) > 2 * width(f))


def test_survival_band_follows_the_number_of_records():
    """The null of patients with one record is wider; the group has only such."""
    rng = np.random.default_rng(7)
    num_records = np.repeat([1, 6], [500, 1500])
    null = rng.normal(0.5, np.where(num_records == 1, 0.08, 0.02))
    frame = pd.DataFrame({"one": np.where(num_records == 1, "yes", "no")})
    arguments = frame, rng.permutation(null), null, np.array([0.55])
    matched = group_survival.table(*arguments, num_records).set_index("value")
    middle = matched.loc["yes", ["null_low", "null_high"]].mean()
    assert abs(middle - (null[:500] > 0.55).mean()) < 0.01
    pooled = group_survival.table(*arguments).set_index("value")
    assert pooled.loc["yes", "null_high"] < middle


def test_survival_without_groups():
    found = group_survival.table(pd.DataFrame(index=range(3)), *np.ones((2, 3)), [0.5])
    assert found.empty and list(found.columns) == list(group_survival.COLUMNS)


# Counts among the top 1 %, and expected by the share of all records; chi-square and
# Bonferroni-adjusted p-value as published for two cohorts.
@pytest.mark.parametrize(
    ("observed", "expected", "num_tests", "chi2", "p_value"),
    [
        ((519, 333), (694.20, 157.43), 6, 240.02, 2.34e-53),
        ((985, 1862, 98), (769.06, 2024.97, 150.40), 6, 92.00, 6.3e-20),
        ((166, 1081, 254), (112.31, 1172.57, 216.11), 3, 39.46, 8.1e-9),
    ],
)
def test_published_chi_squares(observed, expected, num_tests, chi2, p_value):
    found = published_chi2.goodness_of_fit(observed, expected, num_tests)
    assert np.isclose(found[0], chi2, atol=0.03)
    assert np.isclose(found[1], p_value, rtol=0.05)


def null_records(rng, num_patients: int, num_records: int):
    """Groups do not differ; a patient's records share an AUC but for little noise."""
    patient = np.arange(num_patients).repeat(num_records)
    auc = rng.normal(0.5, 0.05, num_patients)[patient]
    auc = auc + rng.normal(0, 0.01, len(patient))
    value = rng.choice(["a", "b"], num_patients)
    return value, auc, patient


def test_record_rows_reject_where_nothing_differs(caplog):
    """100 null cohorts, 20 records a patient; patients as units keep their level."""
    rng = np.random.default_rng(8)
    on_rows, on_patients = [], []
    for _ in range(100):
        value, auc, patient = null_records(rng, 300, 20)
        on_rows.append(published_chi2.test(value[patient], auc, patient)[2])
        mean = np.bincount(patient, auc) / 20
        frame = pd.DataFrame({"group": value})
        table = groups.table(frame, mean > 1, np.clip(mean, 0, 1), 4, 4)
        on_patients.append(table["mean_auc_p_value"].iloc[0])
    assert np.mean(np.array(on_rows) < 0.05) > 0.4
    assert np.mean(np.array(on_patients) < 0.05) <= 0.11  # more has chance .004


def test_chi_square_counts_and_warns(caplog):
    value = np.array(["a"] * 300 + ["b"] * 600 + [None] * 100, dtype=object)
    auc = np.zeros(1000)
    auc[[1, 2, 3, 4, 5, 6, 301, 302, 950, 951]] = 1.0
    logger = logging.getLogger("absl")
    logger.addHandler(caplog.handler)
    try:
        table, chi2, p_value = published_chi2.test(value, auc, np.arange(1000) // 4)
    finally:
        logger.removeHandler(caplog.handler)
    assert "pseudo-replication" in caplog.text and "250 patients" in caplog.text
    assert list(table.columns) == list(published_chi2.COLUMNS)
    # The cut is over all records; the two of unknown group are dropped after it.
    assert table["observed"].tolist() == [6, 2]
    assert np.allclose(table["expected"], [8 / 3, 16 / 3])
    expected = stats.chisquare([6, 2], [8 / 3, 16 / 3])
    assert np.allclose((chi2, p_value), expected)
    assert np.allclose(table["relative_change"], [6 * 3 / 8 - 1, 2 * 3 / 16 - 1])


def test_chi_square_needs_two_values():
    with pytest.raises(validate.InputError, match="two values"):
        published_chi2.test(np.full(9, "a"), np.arange(9.0), np.arange(9))
