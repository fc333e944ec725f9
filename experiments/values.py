"""Values of config fields as they are typed on the command line."""

from typing import Any

from absl import flags
from ml_collections.config_flags import tuple_parser

from mia_jax import validate


def check(field: str, kind: type, default: Any, text: str) -> None:
    """Raises `InputError` unless `text` is a value of the field's type.

    Args:
      field: dotted name.
      kind: type of the field; int, float, bool, str and tuple can be typed.
      default: its value in the config file.
      text: what was typed.
    """
    if kind not in _PARSERS:
        raise validate.InputError(
            f"--config.{field} is {default!r} in the file and cannot be set from here",
            "the command line sets int, float, bool, str and tuple fields",
            "set it in a copy of the config file",
        )
    try:
        _PARSERS[kind](text, default)
    except (ValueError, TypeError, SyntaxError):
        raise validate.InputError(
            f"--config.{field}={text} is not {_RULES[kind]}",
            f"in the file {field} is {as_typed(default)}",
            f"write --config.{field}={_example(kind, default, text)}",
        ) from None


def parse(kind: type, default: Any, text: str) -> Any:
    """The value of a text that passed `check`."""
    return _PARSERS[kind](text, default)


def as_typed(value: Any) -> str:
    """A value as it is typed on the command line: true, 64,64, mlp."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple) and value:
        return ",".join(as_typed(element) for element in value)
    return '""' if value == "" else str(value)


def _parse_tuple(text: str, default: Any) -> tuple:
    """Raises ValueError unless the text is a tuple of elements like the default's."""
    value = tuple_parser.TupleParser().parse(text)
    kinds = {type(element) for element in default or ()}
    if kinds in ({float}, {int, float}):
        kinds = {int, float}
    if kinds and not {type(element) for element in value} <= kinds:
        raise ValueError(text)
    return value


def _parse_any(text: str, default: Any) -> str:
    del default  # any text is a text
    return text


# What ml_collections parses a field of each type with.
_PARSERS = {
    int: lambda text, default: flags.IntegerParser().parse(text),
    float: lambda text, default: flags.FloatParser().parse(text),
    bool: lambda text, default: flags.BooleanParser().parse(text),
    str: _parse_any,
    tuple: _parse_tuple,
}
_RULES = {
    int: "a whole number, written without point or exponent",
    float: "a number",
    bool: "true or false",
    str: "a text",
    tuple: "a list like the default, separated by commas",
}


def _example(kind: type, default: Any, text: str) -> str:
    """A right value: the one that was probably meant, or else the default."""
    lowered = text.strip().lower()
    if kind is bool:
        words = {"yes": "true", "on": "true", "y": "true"}
        words |= {"no": "false", "off": "false", "n": "false"}
        return words.get(lowered, as_typed(default))
    if kind not in (int, float):
        return as_typed(default)
    try:
        value = float(lowered.replace(",", ".") if kind is float else lowered)
    except ValueError:
        return as_typed(default)
    if kind is float:
        return f"{value:g}"
    return f"{int(value)}" if value.is_integer() else as_typed(default)
