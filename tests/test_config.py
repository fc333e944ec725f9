import dataclasses

import pytest

from mia_jax import config, validate


def test_default_config_becomes_settings():
    run, speed = config.settings(config.default(data="synthetic"))
    assert run.train == config.TrainSettings() and run.model.name == "mlp"
    assert speed == config.SpeedSettings()


def test_every_field_has_a_comment():
    rows = config.describe(config.default(data="synthetic"))
    assert not [name for name, _, comment in rows if not comment]
    names = [name for name, _, _ in rows]
    assert "train.num_models" in names and "model.widths" in names


def test_number_of_models_and_attack_are_not_part_of_a_trained_run():
    base = config.default(data="synthetic")
    before = config.settings(base)[0].training_dict()
    base.train.num_models = 64
    base.attack.mode = "offline"
    base.speed.record_chunk = 7
    assert config.settings(base)[0].training_dict() == before
    base.train.learning_rate = 0.5
    assert config.settings(base)[0].training_dict() != before


@pytest.mark.parametrize(
    "field", [f.name for f in dataclasses.fields(config.TrainSettings)]
)
def test_every_other_training_field_is(field):
    """A setting left out of the fingerprint would mix models of two runs."""
    names = config.settings(config.default(data="synthetic"))[0].training_dict()[
        "train"
    ]
    assert (field in names) == (field != "num_models")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_models", 2, "train.num_models=2"),
        ("learning_rate", 0.0, "above 0"),
        ("learning_rate", float("nan"), "learning_rate=nan"),
        ("batch_size", 0, "at least 1"),
        ("optimizer", "adam", "did you mean 'adamw'"),
        ("warmup", 1.0, "at most 0.9"),
        ("ema_decay", 1.0, "ema_decay"),
    ],
)
def test_bad_training_settings_are_named(field, value, message):
    with pytest.raises(validate.InputError, match=message):
        config.TrainSettings(**{field: value})


def test_unknown_plugin_and_option_list_the_known_ones():
    with pytest.raises(validate.InputError, match="tabresnet"):
        config.find("models", "tabresnett")
    with pytest.raises(validate.InputError, match="did you mean 'widths'"):
        config.Plugin(kind="models", name="mlp", options={"width": (3,)})
