"""Small counts: nobody who sees the rest can work one out, by trying everything."""

import itertools

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from mia_jax.report import cells, words


def is_small(number) -> bool:
    return 0 < number < 5


def feasible(counts, hidden: cells.Hidden) -> list[set[int]]:
    """What every hidden cell may be, for one who sees total, other cells and marks.

    By trying everything: a marked cell is 1 to 4; another one hidden beside marks is 0
    or at least 5; where nothing is marked, hidden cells are anything.
    """
    total = int(sum(counts))
    rest = total - int(np.sum(np.asarray(counts)[~hidden.is_hidden]))
    places = np.flatnonzero(hidden.is_hidden)
    choices = []
    for place in places:
        if hidden.is_few[place]:
            choices.append(range(1, 5))
        elif hidden.is_few.any():
            choices.append([0, *range(5, rest + 1)])
        else:
            choices.append(range(rest + 1))
    found = [set() for _ in counts]
    for combination in itertools.product(*choices):
        if sum(combination) == rest:
            for place, number in zip(places, combination, strict=True):
                found[place].add(number)
    return found


tables_of_counts = st.lists(st.integers(0, 9), min_size=1, max_size=5)


@hypothesis.settings(max_examples=150, derandomize=True, deadline=None)
@hypothesis.given(tables_of_counts)
def test_no_hidden_cell_can_be_worked_out(counts):
    most = [50] * len(counts)
    hidden = cells.hide(np.array(counts), np.array(most))
    small = np.array([0 < c < 5 for c in counts])
    assert (hidden.is_hidden >= small).all() and (hidden.is_few <= small).all()
    found = feasible(counts, hidden)
    for place in np.flatnonzero(hidden.is_few):
        assert found[place] == {1, 2, 3, 4}
    if not hidden.is_hidden.all():
        assert not is_small(sum(np.array(counts)[hidden.is_hidden]))
    if not small.any():
        assert not hidden.is_hidden.any()


@pytest.mark.parametrize(
    ("counts", "is_found_out"),
    [
        ([3, 20, 40], True),  # the total tells the only one
        ([4, 4, 20], True),  # 8 is 4 and 4 at most
        ([1, 1, 20], True),
        ([2, 3, 20], False),
    ],
)
def test_small_cells_alone_are_not_enough(counts, is_found_out):
    """What hiding only the small cells would give away; ours does not."""
    counts = np.array(counts)
    alone = cells.Hidden(cells.is_small(counts), cells.is_small(counts))
    known = [s for s, few in zip(feasible(counts, alone), alone.is_few) if few]
    assert any(len(s) == 1 for s in known) == is_found_out
    hidden = cells.hide(counts, np.full(3, 50))
    assert all(len(feasible(counts, hidden)[i]) == 4 for i in np.flatnonzero(alone[0]))


def test_next_smallest_goes_with_a_single_one():
    hidden = cells.hide(np.array([3, 30, 12, 0, 50]), np.full(5, 60))
    assert hidden.is_hidden.tolist() == [True, False, True, False, False]
    assert hidden.is_few.tolist() == [True, False, False, False, False]


@hypothesis.settings(max_examples=200, derandomize=True, deadline=None)
@hypothesis.given(
    st.lists(st.tuples(*[st.integers(0, 7)] * 2), min_size=1, max_size=30),
    st.sets(st.integers(0, 29)),
)
def test_joined_bins(bins, preferred):
    counts = np.array(bins)
    hypothesis.assume(not cells.is_small(counts.sum(0)).any())
    edges = cells.join(counts, preferred)
    assert edges[0] == 0 and edges[-1] == len(counts)
    assert edges == sorted(set(edges))
    joined = np.add.reduceat(counts, edges[:-1], axis=0)
    assert not cells.is_small(joined).any()
    assert joined.sum(0).tolist() == counts.sum(0).tolist()
    # No bin is empty unless all are: emptiness would show where the next patient is.
    assert joined.sum(1).all() or not counts.any()


def test_preferred_edges_are_kept_where_possible():
    counts = np.array([[5], [5], [2], [1], [6]])
    assert cells.join(counts) == [0, 1, 4, 5] or cells.join(counts)[-2] == 4
    assert 2 in cells.join(counts, {2})


def test_estimates_and_parts():
    assert cells.estimate(0.003, 1000) == words.FEW
    assert cells.estimate(0.0003, 1000) == 0.0
    assert cells.estimate(0.3, 1000) == 0.3 and cells.estimate(None, 10) is None
    assert cells.part_of(61, 65) is None and cells.part_of(60, 65) == 60
    assert cells.part_of(65, 65) == 65 and cells.part_of(3, 65) == words.FEW
