"""Every line of `contracts.Dataset` broken once: the check names what is wrong."""

import cohorts
import numpy as np
import pandas as pd
import pytest

from mia_jax import cohort, validate
from mia_jax.data import _build


def _changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


def _broken(dataset):
    """(fields that break the data set, words that the error must contain)."""
    groups, is_test = dataset.groups, dataset.is_test
    owner, unit = dataset.patient_of_record, dataset.unit_of_patient
    of_last = owner == dataset.num_patients - 1
    pool = dataset.is_pool_record
    nan = _changed(dataset.inputs, (7, 2), np.nan)
    zero = dataset.labels * 0
    return {
        "inputs float64": ({"inputs": dataset.inputs.astype(float)}, "float32"),
        "inputs short": ({"inputs": dataset.inputs[1:]}, "inputs is float32 [99, 4]"),
        "inputs flat": ({"inputs": dataset.inputs[:, 0]}, "feature axis"),
        "no feature": ({"inputs": dataset.inputs[:, :0]}, "one feature"),
        "labels int64": ({"labels": dataset.labels.astype(np.int64)}, "int32"),
        "owner int64": ({"patient_of_record": owner.astype(int)}, "int32"),
        "owner range": ({"patient_of_record": _changed(owner, 3, 40)}, "record 3"),
        "is_test int": ({"is_test": is_test.astype(int)}, "is_test"),
        "ids numbers": ({"patient_ids": np.arange(40)}, "leading zeros"),
        "ids list": ({"record_ids": list("abc")}, "record_ids"),
        "record twice": (
            {"record_ids": _changed(dataset.record_ids, 5, "6")},
            "6 twice",
        ),
        "patient twice": (
            {"patient_ids": _changed(dataset.patient_ids, 5, "6")},
            "6 twice",
        ),
        "empty id": (
            {"record_ids": _changed(dataset.record_ids, 5, " ")},
            "position 5",
        ),
        "no record": ({"patient_of_record": _changed(owner, of_last, 0)}, "patient 39"),
        "unknown task": ({"task": "regression"}, "task='regression'"),
        "names short": ({"class_names": ("a",)}, "2 different names"),
        "names equal": ({"class_names": ("a", "a")}, "2 different names"),
        "label range": (
            {"labels": _changed(dataset.labels, 9, 2)},
            "label 2 of record 9",
        ),
        "label minus": ({"labels": _changed(dataset.labels, 9, -1)}, "label -1"),
        "one class": ({"labels": zero}, "two classes"),
        "one in pool": (
            {"labels": np.where(pool, 0, 1).astype(np.int32)},
            "two classes",
        ),
        "NaN": ({"inputs": nan}, "record 7"),
        "infinite": ({"inputs": _changed(dataset.inputs, (8, 0), np.inf)}, "record 8"),
        "unknown unit": ({"unit": "ward"}, "unit='ward'"),
        "unit of patient": ({"unit_of_patient": unit[::-1].copy()}, "0, 1, 2"),
        "unit gap": (
            {"unit": "household", "unit_of_patient": _changed(unit, 3, 2)},
            "without a gap",
        ),
        "unit both sides": (
            {"unit": "household", "unit_of_patient": np.minimum(unit, 31)},
            "patient 31, 32",
        ),
        "one in the pool": ({"is_test": unit != 0}, "two"),
        "groups short": ({"groups": groups[1:]}, "40 patients"),
        "groups twice": ({"groups": pd.concat([groups, groups], axis=1)}, "different"),
        "group numbers": ({"groups": pd.DataFrame({"a": unit})}, "text"),
        "group missing": (
            {"groups": pd.DataFrame({"sex": ["f"] * 39 + [None]})},
            "patient 39",
        ),
        "group reserved": (
            {"groups": groups.rename(columns={"sex": "auc"})},
            "result tables",
        ),
    }


def _findings():
    """`cohorts.small` with three labels, each absent and present in the pool."""
    labels = np.random.default_rng(1).integers(0, 2, (100, 3)).astype(np.int32)
    names = ("edema", "effusion", "nodule")
    return cohorts.small()._replace(labels=labels, task="multilabel", class_names=names)


def _broken_findings(dataset):
    labels, pool = dataset.labels, dataset.is_pool_record
    only_test = labels * np.array([1, 1, 0], np.int32)
    only_test[~pool, 2] = 1
    return {
        "flat labels": ({"labels": labels[:, 0].copy()}, "must be int32 [100, 3]"),
        "too few labels": ({"labels": labels[:, :2]}, "must be int32 [100, 3]"),
        "labels float": ({"labels": labels.astype(np.float32)}, "int32"),
        "two dimensions": ({"task": "multiclass"}, "labels is int32 [100, 3]"),
        "third value": (
            {"labels": _changed(labels, (9, 1), 2)},
            "label 2 of record 9\nmust be 0 or 1",
        ),
        "uncertain": ({"labels": _changed(labels, (4, 0), -1)}, "label -1 of record 4"),
        "never present": (
            {"labels": _changed(labels, (slice(None), 1), 0)},
            "label effusion\nmust be 0 in some pool records and 1 in others",
        ),
        "always present": ({"labels": _changed(labels, (slice(None), 0), 1)}, "edema"),
        "present in test": ({"labels": only_test}, "label nodule"),
        "equal names": ({"class_names": ("a", "b", "a")}, "3 different names"),
        "one label": (
            {"labels": labels[:, :1].copy(), "class_names": ("a",)},
            "2 different names",
        ),
    }


DATASET = cohorts.small()
BROKEN = _broken(DATASET)
FINDINGS = _findings()
BROKEN_FINDINGS = _broken_findings(FINDINGS)


@pytest.mark.parametrize("case", BROKEN)
def test_broken_contract_is_named(case):
    fields, words = BROKEN[case]
    with pytest.raises(validate.InputError) as error:
        _build.check(DATASET._replace(**fields))
    assert words in str(error.value)
    assert error.value.remedy


@pytest.mark.parametrize("case", BROKEN_FINDINGS)
def test_broken_multilabel_contract_is_named(case):
    fields, words = BROKEN_FINDINGS[case]
    with pytest.raises(validate.InputError) as error:
        _build.check(FINDINGS._replace(**fields))
    assert words in str(error.value)


def test_sound_data_sets_pass():
    assert _build.check(DATASET) is DATASET
    assert _build.check(FINDINGS) is FINDINGS and FINDINGS.num_outputs == 3
    _build.check(cohorts.small(num_classes=4))
    households = (np.arange(40) // 2).astype(np.int32)
    _build.check(DATASET._replace(unit="household", unit_of_patient=households))
    _build.check(DATASET._replace(groups=pd.DataFrame(index=range(40))))
    _build.check(DATASET._replace(is_test=np.zeros(40, bool)))


def test_split_draws_whole_units_of_the_stated_share():
    household = np.arange(100) // 4
    is_test = _build.split(household, 0.2, 0)
    expected = np.random.default_rng(0).permutation(25)[:5]
    np.testing.assert_array_equal(np.flatnonzero(is_test[::4]), np.sort(expected))
    assert (is_test.reshape(25, 4) == is_test[::4, None]).all()
    assert not _build.split(household, 0.0, 0).any()


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_split_refuses_a_share_out_of_range(share):
    with pytest.raises(validate.InputError, match="test_share"):
        _build.split(np.arange(5), share, 0)


def test_standardise_uses_the_pool_alone():
    inputs = np.array([[1.0, 5.0], [3.0, 5.0], [100.0, 7.0]])
    scaled = _build.standardise(inputs, np.array([True, True, False]))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled[:, 0], [-1, 1, 98])
    np.testing.assert_array_equal(scaled[:, 1], 0)


def test_index_is_in_order_of_first_appearance():
    index, unique = _build.index_of(["b", "a", "b", "10", "a"])
    assert index.dtype == np.int32
    assert index.tolist() == [0, 1, 0, 2, 1]
    assert unique.tolist() == ["b", "a", "10"]


def test_at_first_record_takes_the_earliest_row():
    table = pd.DataFrame({"a": ["x", "y", "z"]}, index=[7, 8, 9])
    first = _build.at_first_record(table, np.array([1, 0, 1]))
    assert first["a"].tolist() == ["y", "x"]


def test_fingerprint_sees_every_change():
    fields = {
        "inputs": _changed(DATASET.inputs, (0, 0), 0.5),
        "labels": 1 - DATASET.labels,
        "task": "multiclass",
        "class_names": ("a", "c"),
        "record_ids": _changed(DATASET.record_ids, 0, "x"),
        "patient_ids": _changed(DATASET.patient_ids, 0, "x"),
        "patient_of_record": _changed(DATASET.patient_of_record, 1, 1),
        "is_test": ~DATASET.is_test,
        "unit_of_patient": _changed(DATASET.unit_of_patient, 1, 0),
        "groups": DATASET.groups.replace("male", "m"),
    }
    changed = [DATASET._replace(**{name: value}) for name, value in fields.items()]
    prints = [cohort.fingerprint(dataset) for dataset in (DATASET, *changed)]
    assert len(set(prints)) == len(prints)
    assert prints[0] == cohort.fingerprint(cohorts.small())


def test_fingerprint_sees_every_label_of_a_record():
    labels = FINDINGS.labels
    changed = [
        FINDINGS._replace(labels=_changed(labels, (3, k), 1 - labels[3, k]))
        for k in range(3)
    ]
    changed += [FINDINGS._replace(labels=labels[:, ::-1].copy())]
    changed += [FINDINGS._replace(labels=labels.reshape(3, 100).T.copy())]
    prints = {cohort.fingerprint(dataset) for dataset in (FINDINGS, *changed)}
    assert len(prints) == 6
    assert cohort.fingerprint(_findings()) in prints


def test_cohort_file_keeps_the_labels(tmp_path):
    cohort.save(tmp_path, FINDINGS)
    again = cohort.load(tmp_path)
    np.testing.assert_array_equal(again.labels, FINDINGS.labels)
    assert again.labels.dtype == np.int32 and again.task == "multilabel"
    assert again.class_names == FINDINGS.class_names and again.num_records == 100


def test_fingerprint_does_not_depend_on_how_pandas_stores_text():
    groups = DATASET.groups
    stored = [groups.astype(kind) for kind in (object, "string", "category")]
    prints = {cohort.fingerprint(DATASET._replace(groups=g)) for g in [groups, *stored]}
    assert len(prints) == 1
