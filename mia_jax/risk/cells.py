"""Groups as sets of patients: the values of each attribute, and cells of two.

Which cells are compared is fixed by sizes and the order of the columns alone, never by
what was measured: cells of at least `min_cell` patients, pairs of attributes in the
order (1, 2), (1, 3), (2, 3), (1, 4), ... as long as all cells of a pair fit into the
number allowed. Put the attributes that matter first.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from mia_jax.risk import _factors

SEPARATOR = " x "


class Cell(NamedTuple):
    """A group of patients.

    Attributes:
      attribute: "race", or "race x insurance".
      value: "black", or "black x medicaid".
      columns: numbers of its one or two attributes.
      is_group: [patients] bool.
    """

    attribute: str
    value: str
    columns: tuple[int, ...]
    is_group: np.ndarray

    @property
    def is_intersection(self) -> bool:
        """Whether it is a cell of two attributes."""
        return len(self.columns) == 2


class Cells(NamedTuple):
    """All groups that are compared.

    Attributes:
      cells: values of the attributes, then cells of two.
      num_small: cells of two with fewer than `min_cell` patients, left out.
      num_over_limit: cells of two that were large enough and did not fit.
    """

    cells: list[Cell]
    num_small: int
    num_over_limit: int


def attributes(groups: pd.DataFrame) -> tuple[list[str], list[_factors.Factor]]:
    """Names and factors of all attributes with more than one value.

    Missing values are the value "unknown".
    """
    names, found = [], []
    for name in groups.columns:
        column = groups[name].astype(object).where(groups[name].notna(), "unknown")
        factor = _factors.factor(column.astype(str).to_numpy(object))
        if factor.num_levels > 1:
            names.append(str(name))
            found.append(factor)
    return names, found


def find(
    names: list[str],
    factors: list[_factors.Factor],
    intersections: bool,
    min_cell: int,
    max_intersections: int,
) -> Cells:
    """All groups to compare.

    Args:
      names, factors: of `attributes`.
      intersections: whether cells of two attributes are compared too.
      min_cell: fewest patients of such a cell, and of all others.
      max_intersections: most such cells.

    Returns:
      `Cells`. A cell that holds all patients of one of its values is that value and
      not listed again.
    """
    singles = [
        Cell(name, value, (i,), factor.code == level)
        for i, (name, factor) in enumerate(zip(names, factors, strict=True))
        for level, value in enumerate(factor.values)
    ]
    pairs: list[Cell] = []
    num_small = num_over = 0
    for b in range(len(names) if intersections else 0):
        for a in range(b):
            joint = _factors.crossed(factors[a], factors[b])
            chosen, small = _large_enough(joint, factors[b].num_levels, min_cell)
            num_small += small
            if len(pairs) + len(chosen) > max_intersections:
                num_over += len(chosen)
                continue
            attribute = SEPARATOR.join((names[a], names[b]))
            pairs += [
                Cell(attribute, joint.values[level], (a, b), joint.code == level)
                for level in chosen
            ]
    return Cells(singles + pairs, num_small, num_over)


def _large_enough(
    joint: _factors.Factor, num_columns: int, min_cell: int
) -> tuple[list[int], int]:
    """Levels of the cells to compare, and how many are too small."""
    table = np.bincount(joint.code, minlength=joint.num_levels)
    table = table.reshape(-1, num_columns)
    is_empty = table == 0
    is_small = (np.minimum(table, len(joint.code) - table) < min_cell) & ~is_empty
    is_whole = (table == table.sum(1, keepdims=True)) | (table == table.sum(0))
    chosen = np.flatnonzero(~(is_empty | is_small | is_whole))
    return chosen.tolist(), int(is_small.sum())
