"""--attack and --preset: names, options, and what is wrong with them."""

import types

import pytest

from experiments import attacks
from mia_jax import config, presets, validate


def _flags(attack=(), preset=()):
    return types.SimpleNamespace(attack=list(attack), preset=list(preset))


def test_without_flags_the_default():
    assert attacks.chosen(_flags()) == (config.plugin("attacks", "lira"),)
    given = config.plugin("attacks", "lira", mode="offline")
    assert attacks.chosen(_flags(), given) == (given,)


def test_options_follow_the_name():
    (plugin,) = attacks.chosen(_flags(["lira:mode=offline:variance=fixed"]))
    assert plugin.options["mode"] == "offline" and plugin.options["variance"] == "fixed"
    assert plugin.label == "lira (offline, fixed)"


def test_the_configs_options_hold_for_its_own_attack():
    given = config.plugin("attacks", "lira", mode="offline")
    (plugin,) = attacks.chosen(_flags(["lira:variance=fixed"]), given)
    assert (plugin.options["mode"], plugin.options["variance"]) == ("offline", "fixed")


def test_attacks_then_presets_in_their_order():
    found = attacks.chosen(_flags(["lira"], ["lira-2022-offline"]))
    assert [one.name for one in found] == ["lira", "lira_2022"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["lirra"], "did you mean 'lira'"),
        (["lira:mod=online"], "did you mean 'mode'"),
        (["lira:mode"], "has no value"),
        (["lira", "lira"], "given twice"),
    ],
)
def test_what_is_wrong_is_told(given, message):
    with pytest.raises(validate.InputError, match=message):
        attacks.chosen(_flags(given))


def test_numbers_are_parsed_by_the_defaults_type():
    plugin = attacks.parse("rmia:gamma=1.5")
    assert plugin.options["gamma"] == 1.5
    with pytest.raises(validate.InputError, match="is not a number"):
        attacks.parse("rmia:gamma=much")


@pytest.mark.parametrize("name", presets.PRESETS)
def test_every_preset_is_an_attack_with_its_source(name):
    assert presets.plugin(name).kind == "attacks"
    assert "arXiv" in presets.PRESETS[name].source


def test_an_unknown_preset_is_told():
    with pytest.raises(validate.InputError, match="did you mean 'lira-2022-online'"):
        presets.plugin("lira-2022-onlin")
