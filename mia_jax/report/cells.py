"""Arithmetic of small counts: what to hide so that nobody can work them out again.

A count of one to four patients is hidden. That is not enough: who knows the total and
all other cells subtracts. So cells are hidden together until every hidden small count
could still be any of one to four, and neighbouring bins are joined until none holds one
to four. Rules of thumb of official statistics (Hundepool et al. 2012, Statistical
Disclosure Control, chapter 4: primary and secondary suppression).
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from mia_jax.report import words

FEWEST = 5  # patients in a cell that may be shown
FEWEST_IN_GROUP = 10  # patients in a group that may be shown


class Hidden(NamedTuple):
    """Cells that are not shown.

    Attributes:
      is_hidden: [cells] bool.
      is_few: [cells] bool, those that may be marked as "<5"; none where the mark itself
        would give a count away.
    """

    is_hidden: np.ndarray
    is_few: np.ndarray


def is_small(counts: np.ndarray | float) -> np.ndarray:
    """Whether a count of patients is too small to be shown; zero is not."""
    return (np.asarray(counts) > 0) & (np.asarray(counts) < FEWEST)


def hide(
    counts: np.ndarray,
    most: np.ndarray,
    fewest: int = FEWEST,
    is_gone: np.ndarray | None = None,
) -> Hidden:
    """Cells to hide, of a table whose total is known.

    Cells from 1 to fewest - 1 go first; then, smallest first, others with them, until
    from total, shown cells and marks each of the first may still be any number from 1
    to fewest - 1, and their sum is none of these.

    Args:
      counts: [cells] int, the cells of one attribute: they add up to the total.
      most: [cells] int, patients in each cell, as far as known: no count is larger.
      fewest: smallest count that may be shown.
      is_gone: [cells] bool, hidden already, whatever they hold.

    Returns:
      The hidden cells, `is_gone` among them.
    """
    counts, most = np.asarray(counts, int), np.asarray(most, int)
    gone = np.zeros(len(counts), bool) if is_gone is None else np.asarray(is_gone)
    few = (counts > 0) & (counts < fewest) & ~gone
    taken = np.zeros(len(counts), bool)
    while not _is_safe(counts, most, fewest, few, gone, taken):
        left = np.flatnonzero(~few & ~gone & ~taken & (counts > 0))
        if not len(left):
            # Nothing is left to hide behind: even the marks must go, and the zeros.
            return Hidden(np.ones(len(counts), bool), np.zeros(len(counts), bool))
        taken[left[np.argmin(counts[left])]] = True
    return Hidden(few | gone | taken, few)


def _is_safe(counts, most, fewest: int, few, gone, taken) -> bool:
    """Whether every cell of `few` may still be anything from 1 to fewest - 1."""
    hidden = few | gone | taken
    total, largest = int(counts[hidden].sum()), fewest - 1
    if 0 < total < fewest:
        return False
    if not few.any():
        return True
    others = int(few.sum()) - 1
    least_others = others + fewest * int(taken.sum())
    most_others = others * largest + int(most[gone | taken].sum())
    return total - most_others <= 1 and total - least_others >= largest


def join(counts: np.ndarray, preferred: Collection[int] = ()) -> list[int]:
    """Joins neighbouring bins until none holds one to four of anything.

    From the right: a bin ends where it holds at least five, so empty bins never stand
    alone and its left edge tells no more than a quantile with five patients above. The
    last bin reaches to the right end: the highest patient does not show.

    Args:
      counts: [bins, kinds] int; the sum of every kind must be 0 or at least five.
      preferred: left edges that are kept where possible.

    Returns:
      Edges of the joined bins, ascending, from 0 to the number of bins.
    """
    edges, sums = [len(counts)], []
    rest = np.zeros(counts.shape[1], int)
    for place in range(len(counts) - 1, -1, -1):
        rest = rest + counts[place]
        if not rest.any():
            continue
        if not is_small(rest).any():
            edges.append(place)
            sums.append(rest)
            rest = np.zeros_like(rest)
        elif place in preferred and sums and not is_small(sums[-1] + rest).any():
            edges[-1] = place
            sums[-1] = sums[-1] + rest
            rest = np.zeros_like(rest)
    while sums and is_small(rest).any():
        rest = rest + sums.pop()
        edges.pop()
    if len(edges) > 1 and not rest.any():
        edges.pop()  # empty to the left: the last bin takes it
    return sorted({*edges, 0})


def shown(value: int | None) -> int | str | None:
    """A count as it may be shown: "<5" for one to four."""
    return words.FEW if value is not None and is_small(value) else value


def part_of(part: int | None, whole: int) -> int | str | None:
    """A count inside another; hidden where the rest would be one to four."""
    if part is None or is_small(part):
        return shown(part)
    return None if is_small(whole - part) and not is_small(whole) else part


def estimate(share: float | None, total: int) -> float | str | None:
    """An estimated share, in whole patients: none, "<5" or as it is."""
    if words.is_missing(share):
        return None
    number = round(share * total)
    return words.FEW if is_small(number) else share if number else 0.0
