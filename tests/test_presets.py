"""Presets against numbers that the authors' own code gave for the same arrays.

The literals were printed by running, in float64, `generate_ours` and
`generate_ours_offline` of tensorflow/privacy, research/mi_lira_2021/plot.py, and
`aggregate_signals` of the RMIA authors' main.py, for targets 0, 6 and 12 of `_draw`
with all other models as theirs. Rounded to 6 digits; ours are float32.
"""

import pathlib
import re

import numpy as np
import pytest

from mia_jax import config, leave_one_out, presets, validate
from mia_jax.notebook import _run

DOC = pathlib.Path(__file__).parents[1] / "docs" / "presets.md"
TARGETS, RECORDS = [0, 6, 12], np.arange(0, 40, 4)
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


def _table(text):
    """[targets, records] of numbers; two lines each."""
    return np.array(text.split(), float).reshape(len(TARGETS), len(RECORDS))


# Their scores are low for members: all signs are turned.
LIRA = {
    "lira-2022-online": _table("""
        2.31129 -2.657665 1.894376 1.396569 -5.209346
        13.40417 4.840075 1.188495 0.288594 -0.821338
        -1.961502 -1.169879 5.576676 1.838699 -0.729926
        3.135755 -6.355041 0.94023 8.800822 0.887691
        3.963716 -2.894807 2.388135 0.271466 1.471697
        44.082472 21.93235 -0.409276 1.661911 -4.245923
    """),
    "lira-2022-online-fixed": _table("""
        0.541564 -0.541693 0.410874 0.442911 -0.689499
        0.714648 0.481366 0.337427 0.039937 0.006376
        -1.026431 -0.24089 1.190169 0.620679 -0.102116
        -0.378363 -1.098942 0.234982 0.055058 0.205916
        -0.863865 -0.606308 0.415193 0.007744 0.160722
        1.292113 1.166042 -0.056774 0.343886 -0.369326
    """),
    "lira-2022-offline": _table("""
        3.580372 1.304575 3.593432 2.425658 2.105978
        14.443695 6.139485 2.339495 1.321194 1.214274
        1.198635 0.820984 8.010191 2.490677 0.977612
        5.716129 0.974464 1.762699 10.616612 1.548621
        7.418922 1.286832 3.482651 1.485722 2.557273
        46.80998 25.205976 1.046321 3.127941 1.073496
    """),
    "lira-2022-offline-fixed": _table("""
        2.037101 1.638107 2.097671 2.01272 1.719823
        2.220477 2.057499 1.907508 1.634085 1.611344
        1.615524 1.54582 2.919424 2.124836 1.572191
        1.551205 1.630013 1.771571 1.757567 1.72547
        1.730227 1.631615 1.982083 1.644505 1.739778
        2.987878 3.082675 1.576065 1.941165 1.553616
    """),
}
# With softmax confidences of one view, num_ref_models=10 (5 IN and 5 OUT, the most that
# every record has without the target), gamma 2, proportiontocut .2, offline_a .3.
RMIA = {
    "rmia-2024-online": _table("""
        0.6 0.428571 0.133333 0.333333 0.142857
        0.4 0.4 0.4 0.333333 0.333333
        0.043478 0.478261 0.166667 0.478261 0.434783
        0.478261 0.375 0.458333 0.478261 0.416667
        0.071429 0.142857 0.2 0.066667 0.066667
        0.2 0.133333 0.066667 0.066667 0.142857
    """),
    "rmia-2024-offline": _table("""
        0.666667 0.5 0.133333 0.466667 0.142857
        0.6 0.466667 0.466667 0.4 0.4
        0.086957 0.478261 0.125 0.478261 0.434783
        0.478261 0.416667 0.416667 0.478261 0.416667
        0.071429 0.214286 0.2 0.2 0.133333
        0.266667 0.2 0.066667 0.2 0.285714
    """),
}


def _draw():
    """13 models, 40 records of one patient each in 6 or 7 of them, 2 views."""
    generator = np.random.default_rng(2022)
    place = generator.random((13, 40)).argsort(0).argsort(0)
    member = place < generator.integers(6, 8, 40)
    x = 1.5 * generator.standard_normal((1, 40, 1))
    x = x + generator.standard_normal((13, 40, 2)) + 1.5 * member[..., None]
    return x.astype(np.float32), member


def _scores(name, x, member, **changed):
    plugin = presets.plugin(name)
    attack = config.find(plugin.kind, plugin.name)
    options = plugin.options | changed
    found = leave_one_out.scores(attack, x, member, np.arange(40), **options)
    return found[np.ix_(TARGETS, RECORDS)]


def _without_their_count(scores, member):
    """The RMIA authors add 1 to the count of a non-member: (count + 1) / (Z - 1)."""
    others = (~member).sum(1)[TARGETS, None] - 1
    adjusted = scores - 1 / others
    return np.where(member[np.ix_(TARGETS, RECORDS)], scores, adjusted)


@pytest.mark.parametrize("name", LIRA)
def test_lira_gives_the_authors_numbers(name):
    """Nothing is aligned but the sign; two views, sides of unequal counts."""
    x, member = _draw()
    np.testing.assert_allclose(_scores(name, x, member), LIRA[name], **TOLERANCE)


@pytest.mark.parametrize("name", RMIA)
def test_rmia_gives_the_authors_numbers(name):
    """Aligned: one view, as our vote is another; softmax; their count is taken off.

    Shares are exact as long as no ratio is within rounding of gamma: the nearest log
    ratio here is 2e-3 away.
    """
    x, member = _draw()
    expected = _without_their_count(RMIA[name], member)
    found = _scores(name, x[..., :1], member)
    np.testing.assert_allclose(found, expected, **TOLERANCE)
    # The count of one is what differs, and only for non-members.
    is_off = ~np.isclose(found, RMIA[name], **TOLERANCE)
    np.testing.assert_array_equal(is_off, ~member[np.ix_(TARGETS, RECORDS)])


@pytest.mark.parametrize(
    "name, changed",
    [
        ("lira-2022-online", {"variance": "fixed"}),
        ("lira-2022-online", {"channels": "mean"}),
        ("lira-2022-online-fixed", {"mode": "offline"}),
        ("lira-2022-offline", {"channels": "mean"}),
        ("lira-2022-offline-fixed", {"variance": "record"}),
        ("rmia-2024-online", {"center": "mean"}),
        ("rmia-2024-online", {"center": "trimmed"}),
        ("rmia-2024-online", {"gamma": 1.0}),
        ("rmia-2024-offline", {"center": "trimmed"}),
        ("rmia-2024-offline", {"a": 0.6}),
        ("rmia-2024-offline", {"population_reference": "out"}),
    ],
    ids=str,
)
def test_every_setting_is_needed_for_them(name, changed):
    """The golden numbers tell the published settings from their neighbours."""
    x, member = _draw()
    if name in LIRA:
        expected = LIRA[name]
    else:
        x = x[..., :1]
        expected = _without_their_count(RMIA[name], member)
    assert np.abs(_scores(name, x, member, **changed) - expected).max() > 0.02


@pytest.mark.parametrize("name", presets.PRESETS)
def test_options_are_options_of_the_attack(name):
    given = presets.PRESETS[name]
    plain = config.plugin("attacks", given.attack)
    assert set(given.options) <= set(plain.options)
    found = presets.plugin(name)
    assert (found.kind, found.name) == ("attacks", given.attack)
    assert found.options == {**plain.options, **given.options}


def test_every_preset_has_golden_numbers():
    assert set(LIRA) | set(RMIA) == set(presets.PRESETS)


def test_an_unknown_preset_is_told_in_three_lines():
    with pytest.raises(validate.InputError) as caught:
        presets.plugin("rmia-2024-onlin")
    what, rule, remedy = str(caught.value).splitlines()
    assert what == "preset='rmia-2024-onlin' is unknown"
    assert all(name in rule for name in presets.PRESETS)
    assert remedy == "did you mean 'rmia-2024-online'?"


class TestDoc:
    def test_names_every_preset_and_no_other(self):
        text = DOC.read_text()
        named = set(re.findall(r"(?:lira-2022|rmia-2024)-[a-z]+(?:-[a-z]+)*", text))
        assert named == set(presets.PRESETS)

    def test_its_python_makes_the_presets_attacks(self):
        (block,) = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.S)
        names = {}
        exec(block, names)
        expected = tuple(map(presets.plugin, names["names"]))
        assert _run.plugins("attacks", names["attacks"]) == expected
