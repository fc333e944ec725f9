"""Predictions that others wrote: folders in exactly their layouts, whole and broken."""

import inspect
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from mia_jax import config, layouts, predictions, validate
from mia_jax.layouts import _files

MODELS, PATIENTS, CLASSES, VIEWS = 12, 9, 3, 4
PATIENT = np.repeat(np.arange(PATIENTS), [1, 2, 3] * 3)
RECORDS = len(PATIENT)


def _content(seed=0, outputs=CLASSES):
    """Logits [models, records, views, outputs], member mask over patients, labels."""
    generator = np.random.default_rng(seed)
    logits = generator.standard_normal((MODELS, RECORDS, VIEWS, outputs)) * 3
    member = generator.random((MODELS, PATIENTS)).argsort(0) < MODELS // 2
    labels = np.arange(RECORDS) % max(outputs, 2)
    return logits.astype(np.float32), member, labels


def _records(**columns):
    table = {
        "record": [f"r{i:02d}" for i in range(RECORDS)],
        "patient_id": [f"{p:03d}" for p in PATIENT],
        "sex": np.where(PATIENT % 2, "f", "m"),
    }
    return pd.DataFrame({**table, **columns})


def _margin(logits, labels):
    """Naive float64 log p / (1 - p) by loops: the oracle of the statistic."""
    out = np.empty(logits.shape[:-1])
    for index in np.ndindex(out.shape):
        z = logits[index].astype(float)
        y = labels[index[1]]
        power = np.exp(z - z.max())
        out[index] = np.log(power[y] / (power.sum() - power[y]))
    return out


def write_lira(folder, logits, member, labels, num_cut=2):
    """As train.py and inference.py of the original write it."""
    for model in range(MODELS):
        experiment = folder / f"experiment-{model}_{MODELS}"
        (experiment / "logits").mkdir(parents=True)
        (experiment / "ckpt").mkdir()
        (experiment / "hparams.json").write_text("{}")
        # Whole data set; --dataset_size cuts the logits.
        keep = np.pad(member[model, PATIENT], (0, num_cut))
        np.save(experiment / "keep.npy", keep)
        stale = np.zeros_like(logits[model][:, None])
        np.save(experiment / "logits" / "0000000099.npy", stale)
        np.save(experiment / "logits" / "0000000100.npy", logits[model][:, None])
    np.save(folder / "y_train.npy", np.pad(labels, (0, num_cut)).astype(np.int64))
    np.save(folder / "x_train.npy", np.zeros((RECORDS + num_cut, 2, 2, 3)))


def write_study(folder, logits, member, labels):
    """As a run of the study is logged: run folders named by ids, pickles beside."""
    targets = np.eye(logits.shape[-1], dtype=np.float32)[labels]
    for model in range(MODELS):
        run = folder / f"{model:02d}x7k3f"
        run.mkdir(parents=True)
        np.save(run / "train_logits.npy", logits[model])
        np.save(run / "train_labels.npy", targets)
        np.save(run / "test_logits.npy", logits[model][:3, 0])
        np.save(run / "test_labels.npy", targets[:3])
        np.save(run / "subset_mask.npy", member[model])
        np.save(run / "subset_idcs.npy", np.flatnonzero(member[model]))
        (run / "info.json").write_text("{}")
    np.save(folder / "super_mask.npy", member)
    (folder / "valid_idcs.pkl").write_bytes(b"never read")


def write_tables(folder, logits, member, labels, suffix=".csv", one_output=False):
    """Four tables, rows in another order in each."""
    generator = np.random.default_rng(1)
    folder.mkdir(exist_ok=True)
    records = _records().rename(columns={"patient_id": "patient"})
    shown = records[["record", "patient"]].assign(label=labels)
    patients = records[["patient", "sex"]].drop_duplicates()
    names = [f"model_{m:03d}" for m in range(MODELS)]
    columns = {"record": records["record"]}
    for name, values in zip(names, logits[:, :, 0], strict=True):
        for output, value in enumerate(values.T):
            columns[name if one_output else f"{name}_{output}"] = value
    members = pd.DataFrame({"patient": patients["patient"].to_numpy()})
    members[names] = member.T.astype(int)
    tables = {"patients": patients, "logits": pd.DataFrame(columns), "members": members}
    for name, table in {"records": shown, **tables}.items():
        order = np.arange(len(table))
        if name != "records":
            order = generator.permutation(order)
        _save(table.iloc[order].reset_index(drop=True), folder / f"{name}{suffix}")


def _save(table, path):
    path.with_suffix(".csv").unlink(missing_ok=True)
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path, index=False)


class TestPlugins:
    @pytest.mark.parametrize("name", config.names("layouts"))
    def test_every_layout_keeps_the_contract(self, name, tmp_path):
        module = config.find("layouts", name)
        assert inspect.getdoc(module) and inspect.getdoc(module.load)
        assert module.is_layout(tmp_path) is False

    def test_a_folder_of_nothing_lists_the_layouts(self, tmp_path):
        with pytest.raises(validate.InputError, match=r"lira_2022, native, study, tab"):
            predictions.read(tmp_path)

    def test_two_layouts_in_one_folder_are_refused(self, tmp_path):
        write_lira(tmp_path, *_content())
        write_study(tmp_path, *_content())
        with pytest.raises(validate.InputError, match="lira_2022, study"):
            predictions.read(tmp_path)


class TestLira:
    @pytest.fixture
    def folder(self, tmp_path):
        write_lira(tmp_path, *_content())
        return tmp_path

    def test_round_trip(self, folder):
        logits, member, labels = _content()
        _records().to_csv(folder / "records.csv", index=False)
        found = predictions.read(folder)
        np.testing.assert_array_equal(found.member_mask, member)
        np.testing.assert_array_equal(found.labels, labels)
        assert list(found.patient_ids) == [f"{p:03d}" for p in range(PATIENTS)]
        # float32 against a float64 loop: differences of logits of size 10.
        expected = _margin(logits, labels)
        np.testing.assert_allclose(found.channels, expected, rtol=1e-4, atol=1e-5)
        assert found.channel_kind == "views"
        mean = expected.mean(2)
        np.testing.assert_allclose(found.statistic, mean, rtol=1e-4, atol=1e-5)
        assert found.about["task"] == "multiclass"

    def test_models_count_in_order_of_their_numbers(self, folder):
        # As text, experiment-10_12 comes before experiment-2_12.
        _, member, _ = _content()
        found = predictions.read(folder)
        assert len(found.patient_ids) == RECORDS  # no table: record = patient
        np.testing.assert_array_equal(found.member_mask, member[:, PATIENT])

    def test_one_view_makes_no_channels(self, tmp_path):
        logits, member, labels = _content()
        write_lira(tmp_path, logits[:, :, :1], member, labels)
        found = predictions.read(tmp_path)
        assert found.channels is None and found.channel_kind is None

    def test_models_without_mask_or_logits_are_left_out(self, folder, monkeypatch):
        (folder / f"experiment-3_{MODELS}" / "keep.npy").unlink()
        shutil.rmtree(folder / f"experiment-5_{MODELS}" / "logits")
        told = []
        monkeypatch.setattr(_files.logging, "warning", lambda *a: told.append(a))
        found = predictions.read(folder)
        _, member, _ = _content()
        rest = np.delete(member, [3, 5], 0)[:, PATIENT]
        np.testing.assert_array_equal(found.member_mask, rest)
        text = told[0][0] % told[0][1:]
        assert "2 of 12" in text and "experiment-3_12, experiment-5_12" in text

    @pytest.mark.parametrize(
        ("message", "file", "array"),
        [
            (
                r"experiment-2_12/logits.*is \[5, 4, 3\]",
                "logits",
                np.zeros((5, 1, 4, 3)),
            ),
            (r"must be \[records, 1, views, classes\]", "logits", np.zeros((18, 4, 3))),
            (r"experiment-2_12/keep.npy is \[4\]", "keep", np.zeros(4, bool)),
            ("model 2, records 0, 1", "logits", np.full((18, 1, 4, 3), np.nan)),
        ],
    )
    def test_broken_models_are_named(self, folder, message, file, array):
        names = {"logits": "logits/0000000100.npy", "keep": "keep.npy"}
        np.save(folder / f"experiment-2_{MODELS}" / names[file], array)
        with pytest.raises(validate.InputError, match=message) as error:
            predictions.read(folder)
        assert str(error.value).count("\n") == 2

    def test_missing_labels_and_no_complete_model_are_named(self, folder):
        (folder / "y_train.npy").unlink()
        with pytest.raises(validate.InputError, match=r"y_train\.npy is missing"):
            predictions.read(folder)
        for experiment in folder.glob("experiment-*"):
            (experiment / "keep.npy").unlink()
        with pytest.raises(validate.InputError, match=r"none of .* is complete"):
            predictions.read(folder)


class TestStudy:
    @pytest.fixture
    def folder(self, tmp_path):
        write_study(tmp_path, *_content())
        _records().to_csv(tmp_path / "records.csv", index=False)
        return tmp_path

    def test_round_trip(self, folder):
        logits, member, labels = _content()
        found = predictions.read(folder)
        np.testing.assert_array_equal(found.member_mask, member)
        np.testing.assert_array_equal(found.labels, labels)
        expected = _margin(logits, labels)
        np.testing.assert_allclose(found.channels, expected, rtol=1e-4, atol=1e-5)
        assert found.about["task"] == "multiclass"
        assert list(found.groups["sex"][:3]) == ["m", "f", "m"]

    def test_patients_are_numbered_by_first_appearance(self, tmp_path):
        # Rows of a patient need not lie together: 5, 3, 5, 0, ...
        order = np.random.default_rng(3).permutation(RECORDS)
        logits, member, labels = _content()
        first = pd.unique(PATIENT[order])
        write_study(tmp_path, logits[:, order], member[:, first], labels[order])
        _records().iloc[order].to_csv(tmp_path / "records.csv", index=False)
        found = predictions.read(tmp_path)
        by_id = dict(zip(found.patient_ids, found.member_mask.T, strict=True))
        for patient in range(PATIENTS):
            np.testing.assert_array_equal(by_id[f"{patient:03d}"], member[:, patient])

    def test_findings_are_multilabel(self, folder):
        findings = np.random.default_rng(2).integers(0, 2, (RECORDS, CLASSES))
        for run in folder.glob("*/"):
            np.save(run / "train_labels.npy", findings.astype(np.float32))
        found = predictions.read(folder)
        logits = _content()[0].mean(2)  # views are averaged label by label
        signed = np.where(findings == 1, logits, -logits)
        assert found.about["task"] == "multilabel" and found.channel_kind == "labels"
        np.testing.assert_allclose(found.channels, signed, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(found.labels, findings)

    def test_one_output_is_binary(self, tmp_path):
        logits, member, _ = _content(outputs=1)
        labels = np.arange(RECORDS) % 2
        write_study(tmp_path, logits, member, np.zeros(RECORDS, int))
        for run in tmp_path.glob("*/"):
            np.save(run / "train_labels.npy", labels[:, None].astype(np.float32))
        _records().to_csv(tmp_path / "records.csv", index=False)
        found = predictions.read(tmp_path)
        signed = np.where(labels == 1, 1, -1)[:, None] * logits[..., 0]
        np.testing.assert_array_equal(found.channels, signed)
        assert found.about["task"] == "binary"

    @pytest.mark.parametrize(
        ("message", "file", "array"),
        [
            (
                r"subset_mask\.npy is \[8\]\nmust be \[9\]",
                "subset_mask",
                np.zeros(8, bool),
            ),
            ("must be the same as 00x7k3f", "train_labels", np.zeros((18, 3))),
            (r"train_logits\.npy is \[2, 4, 3\]", "train_logits", np.zeros((2, 4, 3))),
            ("array of numbers", "train_logits", np.array([None])),
        ],
    )
    def test_broken_runs_are_named(self, folder, message, file, array):
        np.save(folder / "04x7k3f" / f"{file}.npy", array)
        with pytest.raises(validate.InputError, match=message) as error:
            predictions.read(folder)
        assert str(error.value).count("\n") == 2

    def test_patients_need_a_table(self, folder):
        (folder / "records.csv").unlink()
        with pytest.raises(validate.InputError, match=r"records\.csv with the patient"):
            predictions.read(folder)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
class TestTables:
    @pytest.fixture
    def folder(self, tmp_path, suffix):
        write_tables(tmp_path, *_content(), suffix)
        return tmp_path

    def test_round_trip(self, folder, suffix):
        logits, member, labels = _content()
        found = predictions.read(folder)
        np.testing.assert_array_equal(found.member_mask, member)
        np.testing.assert_array_equal(found.labels, labels)
        np.testing.assert_array_equal(found.record_ids, _records()["record"])
        assert list(found.patient_ids) == [f"{p:03d}" for p in range(PATIENTS)]
        assert list(found.groups["sex"]) == ["m", "f"] * 4 + ["m"]
        expected = _margin(logits[:, :, :1], labels)[..., 0]
        np.testing.assert_allclose(found.statistic, expected, rtol=1e-4, atol=1e-5)
        assert found.channels is None

    def test_one_output(self, tmp_path, suffix):
        logits, member, labels = _content(outputs=1)
        write_tables(tmp_path, logits, member, labels, suffix, one_output=True)
        found = predictions.read(tmp_path)
        signed = np.where(labels == 1, 1, -1) * logits[:, :, 0, 0]
        np.testing.assert_array_equal(found.statistic, signed)
        assert found.about["task"] == "binary"

    def test_label_columns_are_multilabel(self, folder, suffix):
        path = folder / f"records{suffix}"
        findings = np.random.default_rng(2).integers(0, 2, (RECORDS, CLASSES))
        table = _records()[["record"]].assign(patient=_records()["patient_id"])
        names = ["label_a", "label_b", "label_c"]
        _save(pd.concat([table, pd.DataFrame(findings, columns=names)], axis=1), path)
        found = predictions.read(folder)
        assert found.about["task"] == "multilabel"
        np.testing.assert_array_equal(found.labels, findings)

    @pytest.mark.parametrize(
        ("message", "file", "change"),
        [
            ("patient 004 of records", "members", lambda t: t[t.patient != "004"]),
            (
                "patient 004 of members.*\nis missing in records",
                "records",
                lambda t: t[t.patient != "004"],
            ),
            ("record r03 of records", "logits", lambda t: t[t.record != "r03"]),
            ("patient 002 of records", "patients", lambda t: t[t.patient != "002"]),
            (
                "patient 000 twice",
                "members",
                lambda t: pd.concat([t, t[t.patient == "000"]]),
            ),
            (
                "record r03 twice",
                "records",
                lambda t: pd.concat([t, t[t.record == "r03"]]),
            ),
            ("columns model_003", "members", lambda t: t.assign(model_003=2)),
            (
                "has no column model_005 or",
                "logits",
                lambda t: t.rename(columns=lambda c: c.replace("model_005", "other")),
            ),
            (
                "label of rows 3",
                "records",
                lambda t: t.assign(label=["0", "1", "x"] * 6),
            ),
            ("must have label, or", "records", lambda t: t.drop(columns="label")),
            (
                "must have a column patient",
                "members",
                lambda t: t.drop(columns="patient"),
            ),
            (
                "patient is empty in rows 1",
                "members",
                lambda t: t.assign(patient=["", *t.patient[1:]]),
            ),
            ("model 2, records", "logits", lambda t: t.assign(model_002_1=np.nan)),
        ],
    )
    def test_broken_tables_are_named(self, folder, suffix, message, file, change):
        path = folder / f"{file}{suffix}"
        text = dict.fromkeys(("record", "patient"), str)
        is_csv = suffix == ".csv"
        table = pd.read_csv(path, dtype=text) if is_csv else pd.read_parquet(path)
        _save(change(table), path)
        with pytest.raises(validate.InputError, match=message) as error:
            predictions.read(folder)
        assert str(error.value).count("\n") == 2

    def test_a_missing_table_is_named(self, folder, suffix):
        (folder / f"members{suffix}").unlink()
        with pytest.raises(validate.InputError, match=r"members\.csv is missing"):
            predictions.read(folder)


class TestRounding:
    """Four decimals of a probability are refused, nine and rounded logits are not."""

    def _read(self, tmp_path, values, **files):
        generator = np.random.default_rng(5)
        member = generator.random((MODELS, 400)).argsort(0) < MODELS // 2
        np.save(tmp_path / "logits.npy", values)
        np.save(tmp_path / "member_mask.npy", member)
        labels = np.arange(400) % max(2, values.shape[-1])
        np.save(tmp_path / "labels.npy", labels)
        (tmp_path / "task.json").write_text(json.dumps(files))
        return predictions.read(tmp_path)

    def _logits(self, outputs):
        return np.random.default_rng(4).normal(size=(MODELS, 400, outputs)) * 2

    @pytest.mark.parametrize(
        ("decimals", "is_refused"), [(3, True), (4, True), (9, False)]
    )
    def test_logit_of_a_rounded_probability(self, tmp_path, decimals, is_refused):
        p = np.round(1 / (1 + np.exp(-self._logits(1))), decimals).clip(1e-3, 1 - 1e-3)
        values = np.log(p / (1 - p)).astype(np.float32)
        if not is_refused:
            assert self._read(tmp_path, values).statistic.shape == (MODELS, 400)
            return
        with pytest.raises(validate.InputError, match="rounded to 4 decimals"):
            self._read(tmp_path, values)

    @pytest.mark.parametrize(("decimals", "is_refused"), [(4, True), (9, False)])
    def test_log_of_rounded_softmax(self, tmp_path, decimals, is_refused):
        power = np.exp(self._logits(4))
        p = np.round(power / power.sum(-1, keepdims=True), decimals).clip(1e-4)
        if not is_refused:
            assert self._read(tmp_path, np.log(p)).statistic.shape == (MODELS, 400)
            return
        with pytest.raises(validate.InputError, match="rounded to 4 decimals"):
            self._read(tmp_path, np.log(p))

    def test_rounded_logits_saturated_and_constant_ones_are_fine(self, tmp_path):
        for values in (
            np.round(self._logits(1), 3),
            self._logits(1) + 40.0,
            np.round(self._logits(1)),
        ):
            self._read(tmp_path, values)

    def test_infinite_log_probabilities_name_the_reason(self, tmp_path):
        p = np.round(1 / (1 + np.exp(-3 * self._logits(1))), 4)
        with np.errstate(divide="ignore"):
            values = np.log(p / (1 - p))
        with pytest.raises(validate.InputError, match="of rounded probabilities"):
            self._read(tmp_path, values)


def test_rows_read_one_model_at_a_time():
    read = []

    def model(index):
        read.append(index)
        return np.full((2, 3), index, np.float32)

    rows = layouts.Rows(model, ["a", "b", "c"])
    assert rows.shape == (3, 2, 3) and rows.ndim == 3 and len(rows) == 3
    assert [value[0, 0] for value in rows] == [0, 1, 2] and read == [0, 0, 1, 2]
