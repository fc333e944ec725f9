"""Config files and values, without a process of their own."""

import ml_collections
import pytest

from experiments import config_file, overrides, values
from mia_jax import validate


def test_known_config_files_are_suggested(monkeypatch, tmp_path):
    (tmp_path / "randhie.py").touch()
    (tmp_path / "synthetic.py").touch()
    monkeypatch.setattr(config_file, "CONFIGS", tmp_path)
    with pytest.raises(validate.InputError) as caught:
        config_file.load("configs/randhi.py")
    assert caught.value.remedy == f"did you mean --config={tmp_path}/randhie.py ?"
    assert "synthetic.py" in caught.value.rule
    assert "randhie.py" in config_file.missing().remedy


def test_what_is_shown_can_be_typed():
    """`as_typed` is the inverse of the parsers, for every type that can be typed."""
    for value in (3, -1, 1e-4, 0.0, True, False, "mlp", (64, 64), (3,), (0.5, 1.0), ()):
        text = values.as_typed(value)
        values.check("train.x", type(value), value, text)
        config = ml_collections.ConfigDict({"x": value})
        assert overrides.fields(config) == ["x"]
    with pytest.raises(validate.InputError, match="1e3"):
        values.check("train.x", int, 3, "1e3")
    values.check("train.x", float, 0.0, "1e-4")
    values.check("train.x", tuple, (0.5,), "1,2")  # whole numbers are numbers


def test_closest_field():
    known = ["seed", "model.name", "attack.name", "train.num_models", "train.epochs"]
    meant = {
        "train.num_model": "train.num_models",
        "num_models": "train.num_models",
        "num_model": "train.num_models",
        "model.epochs": "train.epochs",
        "atack.name": "attack.name",  # the last part alone fits two
        "sead": "seed",
        "qqqq": None,
    }
    assert {name: overrides.closest(name, known) for name in meant} == meant
