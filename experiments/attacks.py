"""The flags that choose attacks: --attack=lira,rmia:mode=offline --preset=NAME."""

from typing import Any

from absl import flags

from experiments import values
from mia_jax import config, presets, validate


def define() -> None:
    """Defines --attack, --preset and --fail_if_proven."""
    flags.DEFINE_list(
        "attack",
        [],
        "attacks by name, each with its options: lira,rmia:mode=offline:gamma=1.5; the "
        "first is the report's. Instead of the config's",
    )
    flags.DEFINE_list("preset", [], f"published settings: {', '.join(presets.PRESETS)}")
    flags.DEFINE_integer(
        "fail_if_proven", None, "exit code 3 if more patients than this are proven"
    )


def chosen(
    flag: flags.FlagValues, default: config.Plugin | None = None
) -> tuple[config.Plugin, ...]:
    """The attacks of the flags, in their order; without any the default.

    Args:
      flag: with `attack` and `preset`.
      default: of the config; None = LiRA with its defaults.

    Raises:
      InputError: an unknown attack, option, value or preset; the same attack twice.
    """
    found = [parse(text, default) for text in flag.attack]
    found += [presets.plugin(name) for name in flag.preset]
    if not found:
        return (default or config.plugin("attacks", "lira"),)
    named = [one.label for one in found]
    twice = sorted({name for name in named if named.count(name) > 1})
    validate.require(
        not twice,
        f"--attack, --preset: {validate.listing(twice)} is given twice",
        "each attack with its options is run once",
        "leave one out, or change its options",
    )
    return tuple(found)


def parse(text: str, default: config.Plugin | None = None) -> config.Plugin:
    """An attack from NAME or NAME:OPTION=VALUE:...

    Args:
      text: as typed.
      default: the config's attack; its options hold where the name is the same.
    """
    name, *pairs = text.split(":")
    plugin = config.plugin("attacks", name)
    if default is not None and default.name == name:
        plugin = default
    options = dict(plugin.options)
    for pair in pairs:
        option, is_pair, value = pair.partition("=")
        validate.one_of(f"option of --attack={name}", option, options)
        validate.require(
            bool(is_pair),
            f"--attack={text}: {pair!r} has no value",
            "options are written OPTION=VALUE, separated by colons",
            f"write --attack={name}:{option}={values.as_typed(options[option])}",
        )
        options[option] = _value(f"attack.{option}", options[option], value)
    return config.Plugin(kind="attacks", name=name, options=options)


def _value(field: str, default: Any, text: str) -> Any:
    values.check(field, type(default), default, text)
    return values.parse(type(default), default, text)
