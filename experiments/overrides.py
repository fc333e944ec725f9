"""Checks `--config` and its overrides before the flags are parsed.

ml_collections finds mistakes while it parses, with tracebacks of fifty lines. So the
command line is read once before; what a person can get wrong in it becomes a
`validate.InputError`, and what passes here, ml_collections accepts.
"""

import difflib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import ml_collections

from experiments import config_file, values
from mia_jax import validate


class Override(NamedTuple):
    """One `--config.field=value` of a command line.

    Attributes:
      field: dotted name, e.g. "train.num_models".
      value: the text given; None for a flag at the end of the line.
      has_equals: False where the value is the next argument.
      is_negated: True for `--noconfig.field`.
    """

    field: str
    value: str | None
    has_equals: bool
    is_negated: bool


def check(arguments: list[str]) -> ml_collections.ConfigDict | None:
    """Checks all that a command line says about the config.

    Args:
      arguments: the command line without the program's name, flag files expanded.

    Returns:
      The config of the file, without the overrides; None if `--config` is not given.

    Raises:
      InputError: for the first mistake found.
    """
    arguments = _before_terminator(arguments)
    path, position = _config_path(arguments)
    overrides = list(_overrides(arguments))
    if path is None:
        if overrides:
            raise config_file.missing()
        return None
    for override in _overrides(arguments[:position]):
        raise validate.InputError(
            f"{_shown(override)} stands before --config",
            "the file comes first, then what differs from it",
            f"write --config={path} {_shown(override)}",
        )
    config = config_file.load(path)
    for override in overrides:
        _check_override(config, override)
    return config


def fields(config: ml_collections.ConfigDict, prefix: str = "") -> list[str]:
    """The dotted names of all fields of a config."""
    found = []
    for name in config:
        if _is_section(config, name):
            found += fields(config[name], f"{prefix}{name}.")
        else:
            found.append(prefix + name)
    return found


def closest(name: str, known: list[str]) -> str | None:
    """The field that a mistyped dotted name most likely means.

    A right last part in the wrong section goes before a similar spelling.
    """
    last = name.rpartition(".")[2]
    same = [field for field in known if field.rpartition(".")[2] == last]
    if same:
        return max(same, key=lambda field: _similarity(field, name))
    close = difflib.get_close_matches(name, known, n=1)
    if not close:
        # "num_model" is not close to "train.num_models", but to its last part.
        by_last = {field.rpartition(".")[2]: field for field in known}
        close = difflib.get_close_matches(last, by_last, n=1)
        return by_last[close[0]] if close else None
    return close[0]


def _similarity(first: str, second: str) -> float:
    return difflib.SequenceMatcher(None, first, second).ratio()


def _before_terminator(arguments: list[str]) -> list[str]:
    """What stands before "--": the rest are no flags."""
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _config_path(arguments: list[str]) -> tuple[str | None, int]:
    """The value of `--config` and its position in the command line."""
    found = []
    for i, argument in enumerate(arguments):
        match = re.fullmatch(r"--?config(?:=(.*))?", argument, re.S)
        if match:
            rest = arguments[i + 1 : i + 2]
            value = match.group(1) if "=" in argument else (rest[0] if rest else "")
            found.append((value, i))
    validate.require(
        len(found) < 2,
        f"--config is given {len(found)} times",
        "a run has one config file",
        "keep one; what differs from it is given by --config.FIELD=VALUE",
    )
    if not found:
        return None, -1
    if not found[0][0]:  # --config= , or at the end of the line
        raise config_file.missing()
    return found[0]


def _overrides(arguments: list[str]) -> Iterator[Override]:
    for i, argument in enumerate(arguments):
        match = re.fullmatch(r"--?(no)?config\.([^=]*)(?:=(.*))?", argument, re.S)
        if match:
            value = match.group(3)
            following = arguments[i + 1] if i + 1 < len(arguments) else None
            has_equals = value is not None
            value = value if has_equals else following
            yield Override(match.group(2), value, has_equals, bool(match.group(1)))


def _shown(override: Override) -> str:
    """An override as it was typed."""
    name = f"--{'no' if override.is_negated else ''}config.{override.field}"
    return f"{name}={override.value}" if override.has_equals else name


def _is_section(config: ml_collections.ConfigDict, name: str) -> bool:
    kind = config.get_type(name)
    return isinstance(kind, type) and issubclass(kind, ml_collections.ConfigDict)


def _check_override(config: ml_collections.ConfigDict, override: Override) -> None:
    """Checks that the field exists and that the text is a value of its type."""
    holder = config
    *sections, name = override.field.split(".")
    for section in sections:
        if section not in holder or not _is_section(holder, section):
            raise _unknown(config, override)
        holder = holder[section]
    if name not in holder:
        raise _unknown(config, override)
    if _is_section(holder, name):
        raise _is_a_section(config, override)
    _check_value(override, holder.get_type(name), holder[name])


def _unknown(
    config: ml_collections.ConfigDict, override: Override
) -> validate.InputError:
    known = fields(config)
    meant = closest(override.field, known)
    section = override.field.rpartition(".")[0]
    inside = [field for field in known if field.rpartition(".")[0] == section]
    return validate.InputError(
        f"{_shown(override)}: there is no such field",
        f"did you mean {_shown(override._replace(field=meant))} ?"
        if meant
        else "--help_config prints every field and what it means",
        f"known: {', '.join(inside or known)}",
    )


def _is_a_section(
    config: ml_collections.ConfigDict, override: Override
) -> validate.InputError:
    inside = [f for f in fields(config) if f.startswith(f"{override.field}.")]
    meant = f"{override.field}.name"
    return validate.InputError(
        f"{_shown(override)}: {override.field} is a section, not a field",
        f"did you mean {_shown(override._replace(field=meant))} ?"
        if meant in inside
        else "name one of its fields",
        f"known: {', '.join(inside)}",
    )


def _check_value(override: Override, kind: type, default: Any) -> None:
    if override.is_negated:
        # ml_collections takes --noconfig.field for false, on yes/no fields only.
        validate.require(
            kind is bool and not override.has_equals,
            f"{_shown(override)}: only a true/false field is turned off so",
            f"{override.field} is {values.as_typed(default)}",
            f"write --config.{override.field}=VALUE",
        )
    elif override.has_equals or kind is not bool:
        values.check(override.field, kind, default, override.value or "")
