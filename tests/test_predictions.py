import json

import numpy as np
import pandas as pd
import pytest

from mia_jax import _prediction_checks as checks
from mia_jax import predictions, validate

MODELS, PATIENTS, CLASSES = 12, 9, 3


def _write(folder, **changes):
    """A good folder; `changes` replace the content of a file, or (None) drop it."""
    generator = np.random.default_rng(0)
    patient = np.repeat(np.arange(PATIENTS), [1, 2, 3] * 3)
    member = generator.random((MODELS, PATIENTS)).argsort(0) < MODELS // 2
    content = {
        "logits": generator.standard_normal((MODELS, len(patient), CLASSES)) * 3,
        "member_mask": member[:, patient],
        "labels": np.arange(len(patient)) % CLASSES,
        "records": pd.DataFrame(
            {
                "record": [f"r{i}" for i in range(len(patient))],
                "patient_id": [f"p{i}" for i in patient],
                "sex": np.where(patient % 2, "f", "m"),
            }
        ),
    }
    content.update(changes)
    for name, value in content.items():
        if value is None:
            continue
        if name == "records":
            value.to_csv(folder / "records.csv", index=False)
        elif name == "task":
            (folder / "task.json").write_text(json.dumps(value))
        else:
            np.save(folder / f"{name}.npy", value)
    return content


def test_reads_what_was_written(tmp_path):
    content = _write(tmp_path)
    found = predictions.read(tmp_path)
    assert found.about["task"] == "multiclass" and list(found.about["blocks"]) == [
        MODELS
    ]
    assert list(found.patient_ids) == [f"p{i}" for i in range(PATIENTS)]
    np.testing.assert_array_equal(
        found.member_mask[:, found.patient_of_record], content["member_mask"]
    )
    z, y = content["logits"][3, 4], content["labels"][4]
    expected = z[y] - np.log(np.exp(np.delete(z, y)).sum())
    np.testing.assert_allclose(found.statistic[3, 4], expected, rtol=1e-5)
    assert list(found.groups["sex"]) == ["m", "f"] * 4 + ["m"]
    accuracy = (content["logits"].argmax(-1) == content["labels"])[
        content["member_mask"]
    ]
    by_model = [
        (z.argmax(-1) == content["labels"])[m].mean()
        for z, m in zip(content["logits"], content["member_mask"], strict=True)
    ]
    np.testing.assert_allclose(
        found.metrics["mean"]["members"]["accuracy"], np.mean(by_model)
    )
    assert accuracy.size


def test_views_are_averaged_and_a_statistic_needs_no_logits(tmp_path):
    one, two, three = tmp_path / "one", tmp_path / "two", tmp_path / "three"
    for folder in (one, two, three):
        folder.mkdir()
    content = _write(one)
    plain = predictions.read(one).statistic
    views = np.stack([content["logits"]] * 4, axis=2)
    _write(two, logits=views)
    np.testing.assert_allclose(predictions.read(two).statistic, plain, rtol=1e-6)
    _write(three, logits=None, statistic=plain)
    found = predictions.read(three)
    np.testing.assert_array_equal(found.statistic, plain)
    assert found.metrics == {}  # a multiclass statistic does not tell the accuracy


def test_binary_statistic_tells_the_usefulness(tmp_path):
    labels = np.arange(18) % 2
    logit = np.random.default_rng(1).standard_normal((MODELS, 18))
    statistic = np.where(labels == 1, logit, -logit)
    _write(tmp_path, logits=None, statistic=statistic, labels=labels)
    found = predictions.read(tmp_path)
    member = found.member_mask[:, found.patient_of_record]
    right = [(s > 0)[m].mean() for s, m in zip(statistic, member, strict=True)]
    np.testing.assert_allclose(
        found.metrics["mean"]["members"]["accuracy"], np.mean(right)
    )


def test_two_outputs_of_a_binary_task(tmp_path):
    generator = np.random.default_rng(1)
    labels = np.arange(18) % 2
    logits = generator.standard_normal((MODELS, 18, 2))
    _write(tmp_path, logits=logits, labels=labels, task={"task": "binary"})
    found = predictions.read(tmp_path)
    assert found.about["task"] == "binary"
    assert 0 < found.metrics["mean"]["members"]["auroc"] < 1


def test_without_a_table_every_record_is_a_patient(tmp_path):
    member = np.random.default_rng(0).random((MODELS, 18)).argsort(0) < MODELS // 2
    _write(tmp_path, records=None, member_mask=member)
    found = predictions.read(tmp_path)
    assert len(found.patient_ids) == 18 and found.groups.shape == (18, 0)


def test_written_folder_reads_back(tmp_path):
    content = _write(tmp_path)
    found = predictions.read(tmp_path)
    out = tmp_path / "out"
    arrays = {"statistic": found.statistic, "labels": found.labels}
    arrays["member_mask"] = content["member_mask"]
    records = content["records"]
    about = {"task": "multiclass", "title": "T", "blocks": [4, 8], "design": "balanced"}
    predictions.write(out, arrays, records=records, task=about, metrics={"mean": {}})
    again = predictions.read(out)
    np.testing.assert_array_equal(again.statistic, found.statistic)
    np.testing.assert_array_equal(again.unit_of_patient, np.arange(PATIENTS))
    np.testing.assert_array_equal(again.block_of_model, [0] * 4 + [1] * 8)
    assert again.about["title"] == "T"


def _joint(signed):
    """log P / (1 - P) that all labels are right, float64, term by term."""
    right = np.prod([1 / (1 + np.exp(-s)) for s in np.moveaxis(signed, -1, 0)], axis=0)
    return np.log(right / (1 - right))


def _findings():
    return np.random.default_rng(7).integers(0, 2, (18, CLASSES))


def test_multilabel_logits(tmp_path):
    findings = _findings()
    content = _write(tmp_path, labels=findings)
    found = predictions.read(tmp_path)
    signed = np.where(findings == 1, 1, -1) * content["logits"]
    assert found.about["task"] == "multilabel" and found.channel_kind == "labels"
    np.testing.assert_allclose(found.channels, signed, rtol=1e-6)
    # float32 against products of probabilities in float64; logits of size 10.
    np.testing.assert_allclose(found.statistic, _joint(signed), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.labels, findings)
    views = np.stack([content["logits"] - 1, content["logits"] + 1], axis=2)
    one = tmp_path / "views"
    one.mkdir()
    _write(one, labels=findings, logits=views)
    again = predictions.read(one)  # labels, not views, are the channels
    np.testing.assert_allclose(again.channels, signed, rtol=1e-5, atol=1e-5)


def test_multilabel_statistic_tells_the_usefulness_and_comes_back(tmp_path):
    findings = _findings()
    one, two, three = tmp_path / "one", tmp_path / "two", tmp_path / "three"
    for folder in (one, two):
        folder.mkdir()
    _write(one, labels=findings)
    given = predictions.read(one)
    _write(two, labels=findings, logits=None, statistic=given.channels)
    found = predictions.read(two)
    np.testing.assert_array_equal(found.statistic, given.statistic)
    for sets in given.metrics["mean"].values():
        assert all(value is not None for value in sets.values())
    assert found.metrics["mean"]["members"]["accuracy"] == pytest.approx(
        given.metrics["mean"]["members"]["accuracy"]
    )
    predictions.save(three, given)
    again = predictions.read(three)
    assert predictions.fingerprint(again) == predictions.fingerprint(given)


def test_channels_of_a_statistic_stay_on_disk(tmp_path):
    """A pass over a statistic of many views must not need memory for all of them."""
    statistic = np.random.default_rng(1).normal(size=(MODELS, 18, 4))
    _write(tmp_path, logits=None, statistic=statistic.astype(np.float32))
    found = predictions.read(tmp_path)
    assert isinstance(found.channels, np.memmap) and found.channel_kind == "views"
    mean = statistic.astype(np.float32).mean(2)
    np.testing.assert_allclose(found.statistic, mean, rtol=1e-5, atol=1e-6)
    _write(tmp_path, logits=None, statistic=statistic.astype(np.float32)[..., :1])
    assert predictions.read(tmp_path).channels is None  # one channel is none


def test_everything_comes_back(tmp_path):
    unit = np.repeat([0, 0, 1, 1, 2, 2, 3, 4, 5], [1, 2, 3] * 3)
    member = np.random.default_rng(0).random((MODELS, 6)).argsort(0) < MODELS // 2
    features = np.random.default_rng(2).normal(size=(18, 2)).astype(np.float32)
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    content = _write(one, member_mask=member[:, unit], features=features)
    content["records"].assign(mask_unit=unit).to_csv(one / "records.csv", index=False)
    given = predictions.read(one)
    np.testing.assert_array_equal(given.features, features)
    predictions.save(two, given)
    again = predictions.read(two)
    for name in given._fields:
        mine, other = getattr(given, name), getattr(again, name)
        if isinstance(mine, np.ndarray):
            np.testing.assert_array_equal(mine, other)
        elif isinstance(mine, pd.DataFrame):
            pd.testing.assert_frame_equal(mine, other)
        else:
            assert mine == other, name
    predictions.save(two, given._replace(features=None))
    assert predictions.read(two).features is None  # nothing stale is left
    with pytest.raises(validate.InputError, match="is there already"):
        predictions.save(one, given)


def test_fewer_models_where_they_suffice(tmp_path):
    _write(tmp_path)
    mask = np.load(tmp_path / "member_mask.npy")
    mask[:, 0] = False
    mask[0, 0] = True  # one reference model with the patient
    np.save(tmp_path / "member_mask.npy", mask)
    with pytest.raises(validate.InputError, match="at least 3"):
        predictions.read(tmp_path)
    assert predictions.read(tmp_path, fewest=1).member_mask[:, 0].sum() == 1


def test_messages_name_arguments_as_they_were_called():
    z = np.random.default_rng(0).normal(size=(6, 4, 2))
    mask = np.tile([[True], [False]], (3, 4))
    names = checks.Names(values="z", member_mask="in_train", labels="y")
    with pytest.raises(validate.InputError, match=r"^z .*, in_train .*, y "):
        predictions.from_arrays(z, mask, np.zeros(3, int), names=names)
    found = predictions.from_arrays(z, mask, np.zeros(4, int), names=names)
    assert len(found.patient_ids) == 4 and found.about["design"] == "unknown"


def _softmax(z):
    p = np.exp(z - z.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def _nan(z):
    z = z.copy()
    z[2, 5, 1] = np.nan
    return z


BAD = [
    ("member_mask.npy is missing", lambda c: {"member_mask": None}),
    ("logits.npy is missing", lambda c: {"logits": None}),
    ("must agree in models and records", lambda c: {"labels": c["labels"][:-1]}),
    ("are probabilities", lambda c: {"logits": _softmax(c["logits"])}),
    ("model 2, records 5", lambda c: {"logits": _nan(c["logits"])}),
    ("records 0", lambda c: {"labels": c["labels"] + 0.5}),
    ("from 0 to 2", lambda c: {"labels": c["labels"] + 1}),
    ("p0.*\n.*in and out of at least 3", lambda c: {"member_mask": _never(c, True)}),
    ("p0.*\n.*in and out of at least 3", lambda c: {"member_mask": _never(c, False)}),
    ("model 0, patients p2\nare both", lambda c: {"member_mask": _split(c)}),
    ("17 rows", lambda c: {"records": c["records"][:-1]}),
    ("column patient_id", lambda c: {"records": c["records"][["record"]]}),
    ("sex differs within patients p2", lambda c: {"records": _two_sexes(c)}),
    ("one whole number", lambda c: {"labels": np.array(["a"] * 18)}),
    ("records 3", lambda c: {"labels": np.where(np.arange(18) == 3, np.nan, 0.0)}),
    ("record r3\n", lambda c: {"records": _repeated(c)}),
    ("column auc\n", lambda c: {"records": c["records"].assign(auc="1")}),
    ("same models", lambda c: {"records": c["records"].assign(mask_unit="a")}),
    ("blocks=ab", lambda c: {"task": {"blocks": "ab"}}),
    ("JSON object", lambda c: {"task": [1]}),
    ("add to the 12 models", lambda c: {"task": {"blocks": [4, 4]}}),
    ("task='multi' is unknown", lambda c: {"task": {"task": "multi"}}),
    ("floating point", lambda c: {"logits": c["logits"].astype(int)}),
    ("floating point", lambda c: {"logits": c["logits"][0]}),
    ("must be bool", lambda c: {"member_mask": c["member_mask"] * 2}),
    ("array of numbers", lambda c: {"labels": np.array([None] * 18)}),
    ("0 to 1, one for each label", lambda c: {"labels": 2 * _findings()}),
    ("models and records and labels", lambda c: {"labels": _findings()[:, :2]}),
    ("looks like one-hot", lambda c: {"labels": np.eye(3)[c["labels"]]}),
    ("only multilabel tasks", lambda c: {"task": {"task": "multilabel"}}),
    ("only multilabel", lambda c: {"task": {"task": "binary"}, "labels": _findings()}),
    ("binary has one output", lambda c: {"task": {"task": "binary"}}),
    ("must be numbers", lambda c: {"features": np.zeros((17, 2))}),
    ("features.npy: records 5", lambda c: {"features": _nan(np.zeros((9, 18, 2)))[2]}),
]


def _never(content, value):
    mask = content["member_mask"].copy()
    mask[:, 0] = value
    return mask


def _split(content):
    mask = content["member_mask"].copy()
    mask[0, 3] = ~mask[0, 3]  # one of the three records of p2
    return mask


def _repeated(content):
    table = content["records"].copy()
    table.loc[4, "record"] = "r3"
    return table


def _two_sexes(content):
    table = content["records"].copy()
    table.loc[3, "sex"] = "other"
    return table


@pytest.mark.parametrize(("message", "change"), BAD, ids=[m for m, _ in BAD])
def test_bad_input_is_named(tmp_path, message, change):
    good = tmp_path / "good"
    good.mkdir()
    content = _write(good)
    bad = tmp_path / "bad"
    bad.mkdir()
    _write(bad, **change(content))
    with pytest.raises(validate.InputError, match=message):
        predictions.read(bad)


@pytest.mark.parametrize("content", [b"", b"patient_id\n\xff\xfe\n"])
def test_a_table_that_is_no_csv_is_named(tmp_path, content):
    _write(tmp_path)
    (tmp_path / "records.csv").write_bytes(content)
    with pytest.raises(validate.InputError, match=r"records\.csv"):
        predictions.read(tmp_path)


def test_an_empty_array_file_is_named(tmp_path):
    _write(tmp_path)
    (tmp_path / "labels.npy").write_bytes(b"")
    with pytest.raises(validate.InputError, match=r"labels\.npy"):
        predictions.read(tmp_path)


def test_patients_of_a_mask_unit_share_their_mask(tmp_path):
    unit = np.arange(18) // 6
    member = np.random.default_rng(0).random((MODELS, 3)).argsort(0) < MODELS // 2
    table = pd.DataFrame({"patient_id": np.arange(18), "mask_unit": unit})
    _write(tmp_path, records=table, member_mask=member[:, unit])
    np.testing.assert_array_equal(predictions.read(tmp_path).unit_of_patient, unit)


def test_broken_json_is_named(tmp_path):
    _write(tmp_path)
    (tmp_path / "task.json").write_text("{")
    with pytest.raises(validate.InputError, match=r"task\.json"):
        predictions.read(tmp_path)
