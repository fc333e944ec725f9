"""Own tables: what is read, and every bad input named with file, column and rows."""

import importlib.util

import numpy as np
import pandas as pd
import pytest

from mia_jax import cohort, validate
from mia_jax.data import table


def _frame(num_patients=8, num_records=16):
    """Patients 007, 008, ... in mixed order, two records each."""
    generator = np.random.default_rng(0)
    patient = np.arange(num_records) % num_patients
    return pd.DataFrame(
        {
            "record": [f"r{i}" for i in range(num_records)],
            "patient": [f"{p + 7:03d}" for p in patient],
            "label": np.arange(num_records) // 2 % 2,
            "age": generator.normal(50, 10, num_records).round(1),
            "bmi": generator.normal(25, 4, num_records),
            "sex": np.where(patient % 2, "F", "M"),
            "home": [f"h{p // 2}" for p in patient],
            "part": np.where(patient < 2, "test", "train"),
        }
    )


@pytest.fixture
def load(tmp_path):
    """load(frame or text, **options): writes own.csv and reads it."""

    def write_and_load(content, name="own.csv", **options):
        path = tmp_path / name
        if isinstance(content, pd.DataFrame):
            content.to_csv(path, index=False)
        else:
            path.write_bytes(
                content if isinstance(content, bytes) else content.encode()
            )
        options = {"groups": ("sex",), "ignore": ("home", "part"), **options}
        return table.load(path=str(path), **options)

    return write_and_load


def test_reads_the_contract(load):
    frame = _frame()
    dataset = load(frame)
    assert dataset.num_records == 16 and dataset.num_patients == 8
    assert dataset.patient_ids.tolist() == [f"{p + 7:03d}" for p in range(8)]
    assert dataset.record_ids.tolist() == frame["record"].tolist()
    np.testing.assert_array_equal(dataset.labels, frame["label"])
    assert dataset.class_names == ("0", "1") and dataset.task == "binary"
    assert dataset.groups["sex"].tolist() == ["M", "F"] * 4
    assert dataset.title == "own" and dataset.unit == "patient"
    assert dataset.is_test.sum() == 1
    pool = dataset.is_pool_record
    raw = frame[["age", "bmi"]].to_numpy()
    expected = (raw - raw[pool].mean(0)) / raw[pool].std(0)
    # float32 against float64
    np.testing.assert_allclose(dataset.inputs, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["own.csv.gz", "own.parquet"])
def test_other_formats_give_the_same_data(load, tmp_path, name):
    expected = cohort.fingerprint(load(_frame()))
    path = tmp_path / name
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
        _frame().to_parquet(path)
    else:
        _frame().to_csv(path, index=False)
    dataset = table.load(path=str(path), groups=("sex",), ignore=("home", "part"))
    assert cohort.fingerprint(dataset) == expected


def test_byte_order_mark_and_blanks_are_no_part_of_a_name(load):
    text = "\ufeff" + _frame().to_csv(index=False).replace(",007,", ", 007 ,")
    assert load(text).patient_ids[0] == "007"


def test_given_split(load):
    dataset = load(_frame(), ignore=("home",), split="part")
    assert dataset.is_test.tolist() == [True, True] + [False] * 6


def test_drawn_split_depends_on_its_seed(load):
    drawn = [load(_frame(20, 40), split_seed=s).is_test for s in range(5)]
    assert all(is_test.sum() == 4 for is_test in drawn)
    assert len({is_test.tobytes() for is_test in drawn}) > 1


def test_households(load):
    dataset = load(_frame(), ignore=("part",), unit="home", test_share=0.3)
    assert dataset.unit == "household"
    assert dataset.unit_of_patient.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert dataset.is_test.sum() == 2


def test_without_patient_column_every_record_is_a_patient(load):
    dataset = load(_frame(), patient="", ignore=("home", "part", "patient"))
    assert dataset.num_patients == 16


def test_named_features_only_and_a_group_may_be_an_input(load):
    frame = _frame().assign(sex=lambda f: (f["sex"] == "F") * 1)
    dataset = load(frame, features=("sex", "age"), ignore=())
    assert dataset.inputs.shape == (16, 2)
    assert set(dataset.groups["sex"]) == {"0", "1"}


def test_missing_group_is_unknown_and_na_is_a_name(load):
    frame = _frame()
    frame["sex"] = frame["sex"].where(frame["sex"] == "F", None)
    assert set(load(frame).groups["sex"]) == {"F", "unknown"}
    frame["sex"] = frame["sex"].fillna("NA")
    assert set(load(frame).groups["sex"]) == {"F", "NA"}


@pytest.mark.parametrize(
    ("values", "names", "codes"),
    [
        (["yes", "no"], ("no", "yes"), [1, 0]),
        (["None", "NA"], ("NA", "None"), [1, 0]),
        ([1, 2], ("1", "2"), [0, 1]),
        ([-1, 1], ("-1", "1"), [0, 1]),
        ([1.0, 0.0], ("0", "1"), [1, 0]),
        ([True, False], ("False", "True"), [1, 0]),
        ([2, 10], ("2", "10"), [0, 1]),
        ([3, 1, 2], ("1", "2", "3"), [2, 0, 1]),
        (["b", "a", "c"], ("a", "b", "c"), [1, 0, 2]),
    ],
)
def test_labels_become_classes(load, values, names, codes):
    dataset = load(_frame(12, 24).assign(label=np.resize(values, 24)), test_share=0.1)
    assert dataset.class_names == names
    np.testing.assert_array_equal(dataset.labels, np.resize(codes, 24))
    assert dataset.task == ("binary" if len(names) == 2 else "multiclass")


def test_two_classes_can_be_multiclass(load):
    dataset = load(_frame(), task="multiclass")
    assert dataset.task == "multiclass" and dataset.num_outputs == 2


def _findings_frame():
    """`_frame` with two findings in place of the class; both vary within patients."""
    place = np.arange(16)
    frame = _frame().drop(columns="label")
    return frame.assign(edema=place // 3 % 2, effusion=place // 2 % 2)


class TestSeveralLabels:
    LABEL = "edema,effusion"

    def test_are_a_multilabel_task(self, load):
        frame = _findings_frame()
        for label in (self.LABEL, "edema, effusion"):
            dataset = load(frame, label=label)
            assert dataset.task == "multilabel" and dataset.num_outputs == 2
            assert dataset.class_names == ("edema", "effusion")
            expected = frame[["edema", "effusion"]]
            np.testing.assert_array_equal(dataset.labels, expected)
            assert dataset.labels.dtype == np.int32
            assert dataset.inputs.shape == (16, 2)  # no label is an input

    def test_come_in_the_order_they_are_named(self, load):
        dataset = load(_findings_frame(), label="effusion,edema", task="multilabel")
        assert dataset.class_names == ("effusion", "edema")
        np.testing.assert_array_equal(dataset.labels[:, 1], _findings_frame()["edema"])

    @pytest.mark.parametrize("name", ["own.csv", "own.parquet"])
    @pytest.mark.parametrize("kind", ["decimal", "bool", "nullable"])
    def test_may_be_stored_in_any_way(self, load, tmp_path, name, kind):
        if name.endswith("parquet"):
            pytest.importorskip("pyarrow")
        types = {"decimal": float, "bool": bool, "nullable": "Int64"}
        frame = _findings_frame().astype({"edema": types[kind]})
        path = tmp_path / name
        frame.to_csv(path, index=False) if name == "own.csv" else frame.to_parquet(path)
        dataset = table.load(
            path=str(path), label=self.LABEL, ignore=("home", "part", "sex")
        )
        np.testing.assert_array_equal(dataset.labels[:, 0], _findings_frame()["edema"])

    @pytest.mark.parametrize(
        ("uncertain", "blank", "codes"),
        [
            ("negative", "as uncertain", (0, 0)),
            ("positive", "as uncertain", (1, 1)),
            ("positive", "negative", (1, 0)),
            ("negative", "positive", (0, 1)),
        ],
    )
    @pytest.mark.parametrize("name", ["own.csv", "own.parquet"])
    def test_uncertain_and_blank_cells(self, tmp_path, uncertain, blank, codes, name):
        if name.endswith("parquet"):
            pytest.importorskip("pyarrow")
        frame = _findings_frame().astype({"edema": float})
        frame.loc[[3, 10], "edema"] = -1
        frame.loc[[5, 6], "edema"] = np.nan
        path = tmp_path / name
        frame.to_csv(path, index=False) if name == "own.csv" else frame.to_parquet(path)
        dataset = table.load(
            path=str(path),
            label=self.LABEL,
            ignore=("home", "part", "sex"),
            uncertain=uncertain,
            blank=blank,
        )
        expected = np.array(_findings_frame()["edema"])
        expected[[3, 10]], expected[[5, 6]] = codes
        np.testing.assert_array_equal(dataset.labels[:, 0], expected)

    def test_of_one_label_the_options_change_nothing(self, load):
        first = cohort.fingerprint(load(_frame()))
        assert first == cohort.fingerprint(load(_frame(), uncertain="positive"))


def _finding(rows, value):
    frame = _findings_frame().astype(object)
    frame.loc[np.asarray(rows) - 1, "edema"] = value
    return frame


def _set(column, rows, value):
    """The frame with `value` in some data rows (the first is 1)."""
    frame = _frame().astype(object)
    frame.loc[np.asarray(rows) - 1, column] = value
    return frame


def _whole(column, value):
    return _frame().astype(object).assign(**{column: value})


# name: (content, options, words that the message must contain)
BAD = {
    "missing column": (_frame().drop(columns="label"), {}, ["no column 'label'"]),
    "missing feature": (_frame(), {"features": ("agee",)}, ["no column 'agee'", "age"]),
    "missing group": (_frame(), {"groups": ("race",)}, ["no column 'race'", "groups"]),
    "NaN feature": (_set("age", [3, 5], None), {}, ["'age'", "rows 3, 5", "impute"]),
    "infinite feature": (_set("age", [4], np.inf), {}, ["'age'", "row 4", "infinite"]),
    "huge feature": (_set("age", [4], 1e200), {}, ["'age'", "row 4", "beyond"]),
    "one text cell": (_set("age", [2], "old"), {}, ["'age'", "row 2", "'old'"]),
    "text feature": (_frame(), {"groups": ()}, ["'sex'", "'M', 'F'", "one-hot"]),
    "constant feature": (_whole("age", 3), {}, ["'age'", "one value", "ignore"]),
    "constant in the pool": (
        _whole("age", np.where(_frame()["part"] == "test", 1, 2)),
        {"split": "part", "ignore": ("home",)},
        ["'age'", "pool"],
    ),
    "label missing": (_set("label", [7], None), {}, ["'label'", "row 7", "no label"]),
    "label -1": (
        _set("label", [1, 2], -1),
        {},
        ["'label'", "rows 1, 2", "-1", "out of range", "0..2"],
    ),
    "label gap": (_set("label", [1, 2, 9], 7), {}, ["rows 1, 2, 9", "7", "range"]),
    "label once": (_set("label", [9], 2), {}, ["'label'", "row 9", "'2'", "1 patient"]),
    "third label of binary": (
        _set("label", [1, 2, 3], 2),
        {"task": "binary"},
        ["'label'", "rows 1, 2, 3", "out of range", "multiclass"],
    ),
    "continuous label": (
        _whole("label", np.arange(16) / 3),
        {},
        ["'label'", "rows 2, 3, 5", "not a whole number"],
    ),
    "one class": (_whole("label", 1), {}, ["'label'", "only one class, '1'"]),
    "class only in test": (
        _whole("label", np.where(_frame()["part"] == "test", 1, 0)),
        {"split": "part", "ignore": ("home",)},
        ["'1'", "0 patient", "rows 1, 2, 9, 10"],
    ),
    "both sides": (
        _set("part", [9], "train"),
        {"split": "part", "ignore": ("home",)},
        ["'part'", "rows 1, 9", "'007'"],
    ),
    "household on both sides": (
        _whole("part", np.where(_frame()["patient"] == "007", "test", "train")),
        {"split": "part", "unit": "home", "ignore": ()},
        ["'part'", "rows 1, 2, 9, 10", "'h0'"],
    ),
    "unknown split word": (
        _set("part", [4], "valid"),
        {"split": "part", "ignore": ("home",)},
        ["'part'", "row 4", "'valid'", "test, train, pool"],
    ),
    "empty split word": (
        _set("part", [4], None),
        {"split": "part", "ignore": ("home",)},
        ["'part'", "row 4"],
    ),
    "duplicate record": (_set("record", [5, 6], "r1"), {}, ["rows 2, 5, 6", "'r1'"]),
    "empty record id": (_set("record", [5], None), {}, ["'record'", "row 5", "no id"]),
    "NaN patient id": (
        _set("patient", [5], "NaN"),
        {},
        ["'patient'", "row 5", "no id"],
    ),
    "float patient ids": (
        _whole("patient", (np.arange(16) % 8).astype(float)),
        {},
        ["'patient'", "'0.0', '1.0'", "decimal", "dtype=str"],
    ),
    "one float id": (_set("patient", [2], "8.0"), {}, ["'patient'", "row 2", "'8.0'"]),
    "exponent id": (_set("patient", [2], "1.5E+11"), {}, ["row 2", "'1.5E+11'"]),
    "float household": (
        _whole("home", 1.0),
        {"unit": "home", "ignore": ("part",)},
        ["'home'", "decimal"],
    ),
    "one patient": (_whole("patient", "a").assign(sex="F"), {}, ["1 patients", "two"]),
    "one patient in the pool": (
        _whole("part", np.where(_frame()["patient"] == "007", "train", "test")),
        {"split": "part", "ignore": ("home",)},
        ["1 patients not held out"],
    ),
    "group differs": (_set("sex", [9], "F"), {}, ["'sex'", "rows 1, 9", "'007'"]),
    "group half missing": (_set("sex", [9], None), {}, ["'sex'", "rows 1, 9"]),
    "household differs": (
        _set("home", [10], "h3"),
        {"unit": "home", "ignore": ("part",)},
        ["'home'", "rows 2, 10", "'008'"],
    ),
    "reserved group name": (
        _frame().rename(columns={"sex": "auc"}),
        {"groups": ("auc",)},
        ["group column auc", "result tables"],
    ),
    "empty file": ("", {}, ["own.csv is empty"]),
    "header only": (_frame()[:0], {}, ["no data rows"]),
    "semicolons": (_frame().to_csv(index=False, sep=";"), {}, ["no column", ";"]),
    "row too long": (
        _frame().to_csv(index=False).replace("r2,", "r2,,,,,"),
        {},
        ["line 4"],
    ),
    "first row too long": (
        _frame().to_csv(index=False).replace("r0,", "r0,1,"),
        {},
        ["own.csv"],
    ),
    "row too short": (
        _frame()[["record", "patient", "label", "sex", "age"]]
        .to_csv(index=False)
        .replace("r1,008,0,F,48.7", "r1,008,0,F"),
        {"ignore": ()},
        ["'age'", "row 2", "empty"],
    ),
    "row index": (_frame().to_csv(), {}, ["column number 1", "index=False"]),
    "two columns of one name": (
        "record,patient,label,age,age\na,1,0,5,6\n",
        {"groups": (), "ignore": ()},
        ["age", "twice"],
    ),
    "not text": (b"\x89PNG\r\n\x1a\n\x00\xff\xfe", {}, ["cannot be read as csv"]),
    "Latin-1": (_frame().to_csv(index=False).encode() + b"\xe9", {}, ["UTF-8"]),
    "no feature": (
        _frame().drop(columns=["age", "bmi"]),
        {},
        ["no feature column", "data.features"],
    ),
    "label as input": (_frame(), {"features": ("label",)}, ["'label'", "leak"]),
    "record = patient": (_frame(), {"record": "patient"}, ["data.record", "one role"]),
    "no label option": (_frame(), {"label": ""}, ["data.label is empty"]),
    "features no tuple": (_frame(), {"features": "age"}, ["('age',)"]),
    "unknown task": (_frame(), {"task": "regression"}, ["data.task", "multiclass"]),
    "uncertain finding": (
        _finding([2, 9], -1),
        {"label": "edema,effusion"},
        ["'edema'", "rows 2, 9", "uncertain (-1)", "data.uncertain=negative"],
    ),
    "blank finding": (
        _finding([2, 9], None),
        {"label": "edema,effusion"},
        ["'edema'", "rows 2, 9", "blank (empty)", "data.blank=negative"],
    ),
    "blank finding alone refused": (
        _finding([4], None),
        {"label": "edema,effusion", "uncertain": "positive", "blank": "refuse"},
        ["'edema'", "row 4", "blank"],
    ),
    "uncertain finding with blanks allowed": (
        _finding([4], -1),
        {"label": "edema,effusion", "blank": "negative"},
        ["'edema'", "row 4", "uncertain"],
    ),
    "third value of a finding": (
        _finding([4], 2),
        {"label": "edema,effusion"},
        ["'edema'", "row 4", "'2' is neither 0 nor 1"],
    ),
    "word in a finding": (
        _finding([4], "maybe"),
        {"label": "edema,effusion", "uncertain": "negative"},
        ["'edema'", "row 4", "'maybe'"],
    ),
    "finding of one patient": (
        _findings_frame().assign(edema=np.arange(16) % 8 == 5),
        {"label": "edema,effusion"},
        ["'edema'", "present in 1 patients"],
    ),
    "finding of everybody": (
        _findings_frame().assign(effusion=1),
        {"label": "edema,effusion"},
        ["'effusion'", "absent in 0 patients"],
    ),
    "no such finding": (
        _findings_frame(),
        {"label": "edema,oedema"},
        ["no column 'oedema'"],
    ),
    "finding twice": (
        _findings_frame(),
        {"label": "edema,edema"},
        ["'edema'", "data.label", "one role"],
    ),
    "finding as input": (
        _findings_frame(),
        {"label": "edema,effusion", "features": ("effusion", "age")},
        ["'effusion'", "leak"],
    ),
    "empty finding": (_findings_frame(), {"label": "edema,"}, ["data.label", "COLUMN"]),
    "several labels of a binary task": (
        _findings_frame(),
        {"label": "edema,effusion", "task": "binary"},
        ["data.task=binary", "two or more label columns"],
    ),
    "one label of a multilabel task": (
        _frame(),
        {"task": "multilabel"},
        ["data.task=multilabel, data.label=label"],
    ),
    "unknown meaning": (
        _frame(),
        {"uncertain": "positiv"},
        ["data.uncertain", "did you mean 'positive'"],
    ),
    "unknown meaning of blanks": (_frame(), {"blank": "0"}, ["data.blank"]),
    "test share": (_frame(), {"test_share": 1.5}, ["test_share=1.5"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(load, case):
    content, options, words = BAD[case]
    with pytest.raises(validate.InputError) as error:
        load(content, **options)
    message = str(error.value)
    for word in words:
        assert word in message
    assert error.value.rule and error.value.remedy
    assert len(message.splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "data.path is empty"),
        ("nowhere.csv", "does not exist"),
        (".", "is a folder"),
        ("own.xlsx", "unknown type"),
        ("own.csv.gz", "cannot be read as csv"),
        ("own.parquet", "cannot be read as parquet"),
    ],
)
def test_bad_files_are_named(tmp_path, name, words):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    for bad in ("own.xlsx", "own.csv.gz", "own.parquet"):
        (tmp_path / bad).write_bytes(b"no such format")
    with pytest.raises(validate.InputError, match=words):
        table.load(path=str(tmp_path / name) if name else "")


def test_truncated_gzip_is_named(tmp_path):
    path = tmp_path / "own.csv.gz"
    _frame().to_csv(path, index=False)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(validate.InputError, match=r"own\.csv\.gz cannot be read"):
        table.load(path=str(path))


def test_parquet_without_pyarrow_is_named(tmp_path, monkeypatch):
    (tmp_path / "own.parquet").write_bytes(b"")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(validate.InputError, match="pyarrow"):
        table.load(path=str(tmp_path / "own.parquet"))


@pytest.mark.parametrize("missing", [False, True])
def test_parquet_ids_read_as_float_are_refused(tmp_path, missing):
    pytest.importorskip("pyarrow")
    frame = _frame().assign(patient=np.arange(16.0) % 8)
    if missing:
        frame.loc[2, "patient"] = np.nan
    frame.to_parquet(tmp_path / "own.parquet")
    words = "row 3: no id" if missing else "decimal number"
    with pytest.raises(validate.InputError, match=words):
        table.load(path=str(tmp_path / "own.parquet"), ignore=("sex", "home", "part"))


def test_parquet_whole_number_ids_become_text(tmp_path):
    pytest.importorskip("pyarrow")
    _frame().assign(patient=np.arange(16) % 8 + 10**17).to_parquet(
        tmp_path / "a.parquet"
    )
    dataset = table.load(
        path=str(tmp_path / "a.parquet"), ignore=("sex", "home", "part")
    )
    assert dataset.patient_ids[1] == "100000000000000001"


def test_long_whole_number_ids_keep_every_digit(load):
    ids = [10**19 + i % 8 for i in range(16)]
    dataset = load(_frame().assign(patient=[str(i) for i in ids]))
    assert dataset.patient_ids[1] == "10000000000000000001"
