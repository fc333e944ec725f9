"""Checks at the edges: bad input gets the value, the rule and the remedy.

Library code raises `InputError`; binaries print its three lines and exit with code 2.
Checks see static values only: shapes, names and options, never traced numbers.
"""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input from a user.

    Attributes:
      what: the offending name and value, e.g. "train.num_models=3".
      rule: what must hold, e.g. "must be even: every patient is in half the models".
      remedy: what to do, e.g. "use --config.train.num_models=4".
    """

    def __init__(self, what: str, rule: str, remedy: str):
        self.what, self.rule, self.remedy = what, rule, remedy
        super().__init__(f"{what}\n{rule}\n{remedy}")


def require(condition: bool, what: str, rule: str, remedy: str) -> None:
    """Raises `InputError(what, rule, remedy)` unless the condition holds."""
    if not condition:
        raise InputError(what, rule, remedy)


def one_of(name: str, value: str, known: Iterable[str]) -> None:
    """Raises unless `value` is one of `known`; suggests the closest known name."""
    known = sorted(known)
    if value in known:
        return
    close = difflib.get_close_matches(str(value), known, n=1)
    raise InputError(
        f"{name}={value!r} is unknown",
        f"known: {', '.join(known)}",
        f"did you mean {close[0]!r}?" if close else "use one of the known names",
    )


def listing(items: Iterable, limit: int = 5) -> str:
    """The first few items and how many more there are: "3, 7, 9 and 12 more"."""
    items = [str(item) for item in items]
    shown = ", ".join(items[:limit])
    return shown if len(items) <= limit else f"{shown} and {len(items) - limit} more"
