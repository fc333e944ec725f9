"""The audit from a notebook: arrays and tables in, a result with tables out."""

import functools
import gc
import pathlib
import re
import tempfile

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import test_layouts
from flax import nnx

import mia_jax
from mia_jax import config, contracts, predictions, results, store, terminal, validate
from mia_jax.notebook import _modules, _people, _run
from mia_jax.stages import attack

MODELS, PATIENTS = 16, 60
PATIENT = np.repeat(np.arange(PATIENTS), 2)
IDS = np.array([f"p{i:02d}" for i in range(PATIENTS)])


@pytest.fixture(autouse=True)
def _own_key(tmp_path_factory, monkeypatch):
    """The key of pseudonyms lies outside every run's folder."""
    key = tmp_path_factory.mktemp("key") / "pseudonym.key"
    monkeypatch.setenv("MIA_JAX_PSEUDONYM_KEY", str(key))


def _given(seed=0):
    """Keyword arguments of `audit_predictions`; every patient leaks a little."""
    generator = np.random.default_rng(seed)
    member = generator.random((MODELS, PATIENTS)).argsort(0) < MODELS // 2
    labels = PATIENT % 3
    z = generator.normal(size=(MODELS, 2 * PATIENTS, 3))
    z += 2.0 * member[:, PATIENT, None] * np.eye(3)[labels]
    sex = pd.DataFrame({"sex": np.where(np.arange(PATIENTS) % 2, "f", "m")}, index=IDS)
    return {
        "z": z.astype(np.float32),
        "in_train": member,
        "y_true": labels,
        "groups": pd.Series(IDS[PATIENT]),
        "sensitive_features": sex,
    }


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audited")
    return mia_jax.audit_predictions(**_given(), workdir=folder, title="A clinic")


class TestResult:
    def test_tables(self, audited):
        assert list(audited.patients["patient_id"]) == list(IDS)
        assert audited.patients["auc"].mean() > 0.6
        assert len(audited.records) == 2 * PATIENTS
        assert {"m", "f"} <= set(audited.by_group["value"])
        assert {"fpr", "tpr_median"} <= set(audited.roc)
        assert audited.headline == audited.summary()["headline"]
        assert audited.summary()["title"] == "A clinic"

    def test_is_what_the_binary_computes(self, audited, tmp_path):
        given = _given()
        folder = tmp_path / "export"
        folder.mkdir()
        np.save(folder / "logits.npy", given["z"])
        np.save(folder / "member_mask.npy", given["in_train"][:, PATIENT])
        np.save(folder / "labels.npy", given["y_true"])
        records = pd.DataFrame({"patient_id": IDS[PATIENT]})
        records["sex"] = given["sensitive_features"]["sex"].to_numpy()[PATIENT]
        records.to_csv(folder / "records.csv", index=False)
        plugins = (config.plugin("attacks", "lira"),)
        summary = attack.run(folder, tmp_path / "run", plugins, config.RiskSettings())
        skip = {"wall_seconds", "title", "date"}
        for key in summary.keys() - skip:
            assert summary[key] == audited.summary()[key], key
        found = results.load(tmp_path / "run")["patients"]
        pd.testing.assert_frame_equal(found, audited.patients)

    def test_no_row_of_a_patient_is_shown(self, audited):
        shown = [repr(audited), str(audited), audited._repr_html_()]
        for text in shown:
            assert not re.search(r"p\d\d", text.replace(str(audited.folder), ""))
        assert audited.headline in shown[0]
        assert audited.headline.split(".")[0] in shown[2]
        detail = audited.summary()["headline_detail"]
        assert "&#x27;" in shown[2] or "'" not in detail  # escaped

    def test_survival_is_drawn_from_the_curve(self, audited):
        figure, ax = plt.subplots()
        assert audited.plot.survival(ax=ax) is ax
        line = next(x for x in ax.get_lines() if x.get_label() == "measured")
        auc = audited.patients["auc"].to_numpy()
        for level, share in zip(*line.get_data(), strict=True):
            above = np.mean(auc > level / 100 + 1e-12)
            assert above == pytest.approx(share) or np.isnan(share)
        new = audited.plot.survival()
        assert new is not ax
        plt.close(figure)
        plt.close(new.figure)

    def test_reports_and_reading_again(self, audited, tmp_path):
        page = audited.to_html(tmp_path / "report.html")
        public = audited.to_html(tmp_path / "public.html", public=True)
        assert "Confidential" in page.read_text()
        assert page.read_text() != public.read_text()
        saved = audited.save(tmp_path / "saved")
        again = mia_jax.load(saved)
        pd.testing.assert_frame_equal(again.patients, audited.patients)
        with pytest.raises(validate.InputError, match="is there already"):
            audited.save(saved)

    def test_a_temporary_folder_goes_with_the_result(self):
        result = mia_jax.audit_predictions(**_given())
        folder = result.folder
        assert (folder / "summary.json").exists()
        del result
        gc.collect()
        assert not folder.exists()

    def test_a_folder_without_a_run_is_named(self, tmp_path):
        with pytest.raises(validate.InputError, match="holds no results"):
            mia_jax.load(tmp_path)


class TestArguments:
    """All ways to say the same give the same predictions."""

    def _read(self, tmp_path, monkeypatch, **changes):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        monkeypatch.setattr(_run, "attacked", lambda *args: None)
        mia_jax.audit_predictions(**{**_given(), **changes}, workdir=folder)
        return predictions.read(folder / "predictions")

    @pytest.fixture
    def read(self, tmp_path, monkeypatch):
        return functools.partial(self._read, tmp_path, monkeypatch)

    def test_masks_and_groups_in_other_forms(self, read):
        expected = predictions.fingerprint(read())
        given = _given()
        order = np.random.default_rng(1).permutation(PATIENTS)
        frame = pd.DataFrame(given["in_train"], columns=IDS)
        sex = given["sensitive_features"]
        same = [
            {"in_train": frame.iloc[:, order], "sensitive_features": sex.iloc[order]},
            {"in_train": given["in_train"][:, PATIENT]},
            {"in_train": given["in_train"].astype(int), "groups": list(IDS[PATIENT])},
            {"sensitive_features": sex.iloc[PATIENT].reset_index(drop=True)["sex"]},
            {"sensitive_features": sex.reset_index(drop=True)},
        ]
        for changes in same:
            found = read(**changes)
            assert predictions.fingerprint(found) == expected, changes
            assert list(found.groups["sex"]) == list(sex["sex"])

    def test_a_binary_logit_needs_no_last_axis(self, read):
        z = _given()["z"][..., 0]
        found = read(z=z, y_true=PATIENT % 2)
        sign = np.where(PATIENT % 2, 1, -1)
        np.testing.assert_array_equal(found.statistic, z * sign)
        assert found.about["task"] == "binary"

    def test_multilabel_and_views_keep_their_channels(self, read):
        z = _given()["z"]
        labels = np.random.default_rng(2).integers(0, 2, (2 * PATIENTS, 3))
        found = read(z=z, y_true=labels)
        assert found.channel_kind == "labels"
        np.testing.assert_array_equal(found.channels, np.where(labels, z, -z))
        found = read(z=np.stack([z, z + 1.0], 2))
        assert found.channel_kind == "views" and found.channels.shape == (16, 120, 2)

    def test_features_record_ids_and_blocks(self, read):
        features = np.random.default_rng(3).normal(size=(120, 2)).astype(np.float32)
        names = [f"image {i}" for i in range(120)]
        found = read(features=features, record_ids=names, blocks=[10, 6])
        np.testing.assert_array_equal(found.features, features)
        assert list(found.record_ids) == names
        np.testing.assert_array_equal(found.block_of_model, [0] * 10 + [1] * 6)

    def test_tables(self, tmp_path, read):
        logits, member, labels = test_layouts._content()
        folder = tmp_path / "export"
        test_layouts.write_tables(folder, logits, member, labels)
        given = mia_jax.read_tables(folder)
        found = read(**given)
        expected = predictions.fingerprint(predictions.read(folder))
        assert predictions.fingerprint(found) == expected
        assert list(found.groups["sex"]) == ["m", "f"] * 4 + ["m"]
        with pytest.raises(validate.InputError, match=r"holds no logits\.csv"):
            mia_jax.read_tables(tmp_path)


def _shuffled():
    order = np.random.default_rng(4).permutation(2 * PATIENTS)
    return IDS[PATIENT][order]


def _both_sides(given):
    mask = given["in_train"][:, PATIENT]
    mask[3, 5] = ~mask[3, 5]
    return {"in_train": mask}


def _softmax(z):
    power = np.exp(z - z.max(-1, keepdims=True))
    return power / power.sum(-1, keepdims=True)


def _frame(given, names):
    return pd.DataFrame(given["in_train"][:, : len(names)], columns=names)


BAD = {
    "a patient of groups is not in in_train": (
        r"patients p59 of groups are missing in columns of in_train",
        lambda g: {"in_train": _frame(g, IDS[:-1])},
    ),
    "a patient of in_train is not in groups": (
        r"patients other of columns of in_train are missing in groups",
        lambda g: {"in_train": _frame(g, IDS).assign(other=True)},
    ),
    "a patient has no sensitive features": (
        r"patients p03 of groups are missing in index of sensitive_features",
        lambda g: {"sensitive_features": g["sensitive_features"].drop("p03")},
    ),
    "never in": (
        r"in_train: patients p07 are in \(or out of\) fewer than 3",
        lambda g: {"in_train": g["in_train"] & (np.arange(PATIENTS) != 7)},
    ),
    "in and out": (r"in_train: model 3, patients p02\nare both", _both_sides),
    "probabilities": (r"z: model 0.*\nare prob", lambda g: {"z": _softmax(g["z"])}),
    "order in doubt": (
        "which order is it in",
        lambda g: {"groups": _shuffled()},
    ),
    "length": ("groups has 119 entries", lambda g: {"groups": g["groups"][:-1]}),
    "missing id": (
        "groups: records 0 have no patient",
        lambda g: {"groups": g["groups"].where(g["groups"].index > 0)},
    ),
    "index": (
        "y_true and groups have different rows: another order",
        lambda g: {"y_true": pd.Series(g["y_true"])[::-1]},
    ),
    "labels": ("y_true: records 4, 5", lambda g: {"y_true": g["y_true"] + 1}),
    "one-hot": ("looks like one-hot", lambda g: {"y_true": np.eye(3)[g["y_true"]]}),
    "measurement": (
        "sensitive_features: age has 60 numbers",
        lambda g: {"sensitive_features": pd.DataFrame({"age": np.arange(60.0)}, IDS)},
    ),
    "task": ("task='binry' is unknown", lambda g: {"task": "binry"}),
    "attack": ("attacks plug-in='lirra' is unknown", lambda g: {"attacks": ["lirra"]}),
    "no attack": ("no attacks", lambda g: {"attacks": ()}),
    "risk": ("argument='model_maen' is unknown", lambda g: {"model_maen": "kept"}),
    "record ids": ("record_ids has 3 entries", lambda g: {"record_ids": [1, 2, 3]}),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_predictions_are_named(case):
    message, change = BAD[case]
    given = _given()
    with pytest.raises(validate.InputError, match=message) as error:
        mia_jax.audit_predictions(**{**given, **change(given)})
    assert str(error.value).count("\n") == 2


# --- mia_jax.audit -------------------------------------------------------------------


class Linen(nn.Module):
    width: int = 4
    num_outputs: int = 1
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(nn.Dense(self.width)(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.num_outputs)(x)


class BatchNormed(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return nn.Dense(1)(nn.BatchNorm(use_running_average=not train)(x))


class Nnx(nnx.Module):
    def __init__(self, rngs, width=4, num_outputs=1, dropout=0.5):
        self.hidden = nnx.Linear(3, width, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.out = nnx.Linear(width, num_outputs, rngs=rngs)

    def __call__(self, x):
        return self.out(self.dropout(nnx.relu(self.hidden(x))))


class NnxBatchNormed(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.BatchNorm(3, rngs=rngs)

    def __call__(self, x):
        return self.norm(x)


def _pair(num_outputs=1, scale=1.0, constant=0.0):
    def init(key, inputs):
        shape = inputs.shape[1], num_outputs
        return {"w": scale * jax.random.normal(key, shape)}

    def apply(params, inputs, key=None):
        return inputs @ params["w"] + constant

    return contracts.Model(init, apply)


def _data(num_patients=40):
    generator = np.random.default_rng(0)
    patient = np.repeat(np.arange(num_patients), 2)
    X = pd.DataFrame(generator.normal(size=(2 * num_patients, 3)), columns=list("abc"))
    y = generator.integers(0, 2, num_patients)[patient]
    return {
        "X": X,
        "y": pd.Series(np.where(y, "ill", "healthy")),
        "groups": pd.Series(patient),
        "sensitive_features": pd.DataFrame({"sex": np.where(patient % 2, "f", "m")}),
    }


SMALL = {
    "num_models": 8,
    "epochs": 2.0,
    "batch_size": 8,
    "models_per_group": 4,
    "speed": config.SpeedSettings(num_devices=1),  # compiles once
}


@pytest.fixture
def only_trains(monkeypatch):
    """Skips the attack stage."""
    monkeypatch.setattr(_run, "attacked", lambda folder, *others: folder)


def _hashes(folder):
    run = store.reopen(folder / store.FOLDER)
    groups = range(len(list(run.folder.glob("group_*.json"))))
    return [run.manifest(g)["files"]["statistic"]["sha256"] for g in groups]


class TestAudit:
    def test_end_to_end(self, tmp_path):
        audit = functools.partial(mia_jax.audit, **_data(), workdir=tmp_path, **SMALL)
        plan = audit(Linen(), plan=True)
        assert isinstance(plan, terminal.Plan) and not any(tmp_path.iterdir())
        text = " ".join(terminal.render_plan(plan).split())
        assert "Linen (program " in text and "80 records of 40 patients" in text
        result = audit(Linen())
        assert len(result.patients) == 40 and result.summary()["num_models"] == 8
        assert set(result.patients["sex"]) == {"m", "f"}
        assert result.summary()["metrics"]["left_out"]["accuracy"] is not None

    def test_resume_trains_only_what_is_missing(self, tmp_path, only_trains):
        audit = functools.partial(mia_jax.audit, **_data(), workdir=tmp_path, **SMALL)
        make = functools.partial(Nnx, dropout=0.0)
        audit(make)
        before = _hashes(tmp_path)
        audit(make)
        assert _hashes(tmp_path) == before
        audit(make, **{**SMALL, "num_models": 12})
        assert _hashes(tmp_path)[:2] == before and len(_hashes(tmp_path)) == 3
        found = predictions.read(tmp_path / "predictions")
        np.testing.assert_array_equal(found.block_of_model, [0] * 8 + [1] * 4)

    def test_another_network_or_cohort_is_refused(self, tmp_path, only_trains):
        data = _data()
        audit = functools.partial(mia_jax.audit, workdir=tmp_path)
        audit(_pair(), **data, **SMALL)
        with pytest.raises(validate.InputError, match=r"model\.program"):
            audit(_pair(constant=1.0), **data, **SMALL)
        with pytest.raises(validate.InputError, match="data_fingerprint"):
            audit(_pair(), **{**data, "X": data["X"] + 1.0}, **SMALL)
        with pytest.raises(validate.InputError, match="epochs"):
            audit(_pair(), **data, **{**SMALL, "epochs": 3.0})

    def test_a_named_model_is_what_the_binary_trains(self, tmp_path, only_trains):
        model = {"name": "mlp", "widths": (4,)}
        mia_jax.audit(model, **_data(), workdir=tmp_path, **SMALL)
        stored = store.reopen(tmp_path / store.FOLDER).settings
        assert stored["model"]["name"] == "mlp" and stored["model"]["widths"] == [4]
        assert stored["data"] == {"name": "arrays"}

    def test_multiclass_arrays_without_patients(self, tmp_path, only_trains):
        X, y = _data()["X"].to_numpy(), np.arange(80) % 3
        mia_jax.audit(_pair(3), X, y, workdir=tmp_path, test_share=0.25, **SMALL)
        found = predictions.read(tmp_path / "predictions")
        assert found.about["task"] == "multiclass" and len(found.patient_ids) == 60

    def test_multilabel(self, tmp_path, only_trains):
        data = {**_data(), "y": np.random.default_rng(3).integers(0, 2, (80, 3))}
        mia_jax.audit(_pair(3), **data, workdir=tmp_path, **SMALL)
        found = predictions.read(tmp_path / "predictions")
        assert found.channels.shape == (8, 80, 3) and found.channel_kind == "labels"

    def test_a_temporary_folder_is_removed_after_a_plan(self, monkeypatch):
        made = []
        monkeypatch.setattr(tempfile, "mkdtemp", _recorded(tempfile.mkdtemp, made))
        mia_jax.audit(_pair(), **_data(), **SMALL, plan=True)
        assert made and not any(pathlib.Path(path).exists() for path in made)


def _recorded(function, made):
    def recorded(*args, **options):
        made.append(function(*args, **options))
        return made[-1]

    return recorded


BAD_AUDITS = {
    "optax": ("optimizer is a", {"optimizer": object()}),
    "unknown": ("argument='lerning_rate' is unknown", {"lerning_rate": 0.1}),
    "outputs": (r"gives float32 \[2, 2\]", {"model": Linen(num_outputs=2)}),
    "linen batch norm": ("keeps batch_stats", {"model": BatchNormed()}),
    "nnx batch norm": ("keeps BatchStat", {"model": NnxBatchNormed}),
    "nnx object": ("with its weights", {"model": Nnx(nnx.Rngs(0))}),
    "linen class": ("is the class Linen", {"model": Linen}),
    "no model": ("model is a int", {"model": 3}),
    "text": ("columns d are no numbers", {"X": _data()["X"].assign(d="a")}),
    "length": ("X has 79 records, y 80", {"X": np.zeros((79, 3))}),
    "index": ("X and y have different rows", {"X": _data()["X"][:-1]}),
    "measured": ("no whole numbers", {"y": np.linspace(0, 1, 80)}),
    "one-hot": ("is one-hot", {"y": np.eye(2)[np.arange(80) % 2]}),
    "group": ("sex differs within", {"sensitive_features": {"sex": list("ab") * 40}}),
    "column": ("column 'auc'|column auc", {"sensitive_features": {"auc": ["a"] * 80}}),
    "odd": ("must be even", {"num_models": 9}),
    "few": ("at least 3", {"num_models": 4}),
}


@pytest.mark.parametrize("case", BAD_AUDITS)
def test_bad_audits_are_named_before_training(case, tmp_path):
    message, changes = BAD_AUDITS[case]
    with pytest.raises(validate.InputError, match=message) as error:
        mia_jax.audit(
            **{"model": _pair(), **_data(), **SMALL, "workdir": tmp_path, **changes}
        )
    assert str(error.value).count("\n") == 2
    assert not any(tmp_path.iterdir())


class TestModules:
    SHAPE = (3,)

    def _identity(self, model):
        name, pair = _modules.pure(model)
        return _modules.identity(pair, name, self.SHAPE, 1)

    def test_the_same_network_has_the_same_identity(self):
        for make in (Linen, _pair, lambda: lambda rngs: Nnx(rngs)):
            assert self._identity(make()) == self._identity(make())

    @pytest.mark.parametrize(
        "changed",
        [
            _pair(scale=2.0),  # other initial weights
            _pair(constant=np.float32(1e-3)),  # a number in a closure
            _pair(constant=np.arange(2.0, dtype=np.float32)[:, None] * 1e-3),
        ],
    )
    def test_a_number_in_a_closure_changes_the_identity(self, changed):
        assert self._identity(changed) != self._identity(_pair())

    def test_constants_are_hashed_to_the_last_entry(self):
        def model(table):
            total = lambda: jnp.asarray(table).sum()
            apply = lambda params, x, key=None: x @ params["w"] + total()
            return contracts.Model(_pair().init, apply)

        table = np.zeros((50_000, 1), np.float32)
        other = table.copy()
        other[-1] = 1e-3
        assert self._identity(model(table)) != self._identity(model(other))

    def test_a_changed_gradient_changes_the_identity(self):
        @jax.custom_vjp
        def passes(x):
            return x

        passes.defvjp(lambda x: (x, None), lambda _, g: (2.0 * g,))
        pair = _pair()
        changed = pair._replace(apply=lambda *args: passes(pair.apply(*args)))
        assert self._identity(changed) != self._identity(pair)

    @pytest.mark.parametrize("model", [Linen(dropout=0.2), Nnx])
    def test_modules_are_pure_functions(self, model):
        _, pair = _modules.pure(model)
        inputs = jax.random.normal(jax.random.key(0), (5, 3))
        params = pair.init(jax.random.key(1), inputs[:1])
        evaluated = pair.apply(params, inputs)
        np.testing.assert_array_equal(evaluated, pair.apply(params, inputs))
        trained = [pair.apply(params, inputs, jax.random.key(k)) for k in (2, 2, 3)]
        np.testing.assert_array_equal(trained[0], trained[1])
        assert (trained[0] != trained[2]).any()
        other = pair.init(jax.random.key(2), inputs[:1])
        leaves = zip(jax.tree.leaves(params), jax.tree.leaves(other), strict=True)
        assert any((a != b).any() for a, b in leaves)
        by_model = jax.vmap(lambda key: pair.init(key, inputs[:1]))
        stacked = by_model(jax.random.split(jax.random.key(1), 2))
        assert jax.tree.leaves(stacked)[0].shape[0] == 2
        gradient = jax.grad(lambda p: pair.apply(p, inputs, jax.random.key(0)).sum())
        assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(gradient(params)))

    def test_nnx_equals_the_module_itself(self):
        _, pair = _modules.pure(Nnx)
        key, inputs = jax.random.key(1), jnp.ones((2, 3))
        module = Nnx(nnx.Rngs(key))
        module.eval()
        found = pair.apply(pair.init(key, inputs[:1]), inputs)
        np.testing.assert_allclose(found, module(inputs), rtol=1e-6)


def test_sorted_ids_of_numbers_are_sorted_as_numbers():
    assert _people._is_sorted(np.arange(12))
    assert not _people._is_sorted(np.arange(12).astype(str))  # "10" before "2"


DOCS = pathlib.Path(__file__).parents[1] / "docs" / "predictions.md"


@pytest.mark.slow
def test_examples_of_the_documentation_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S)
    names = {}
    for block in blocks:
        exec(block, names)
    for layout in config.names("layouts"):
        assert f"`{layout}`" in DOCS.read_text()
    plt.close("all")
