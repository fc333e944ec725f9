"""The figure and tables of groups: raw and adjusted, for every endpoint."""

import fake_run
import matplotlib
import pandas as pd
import pytest
import report_pages

from mia_jax.report import (
    contents,
    figures,
    figures_groups,
    findings,
    group_words,
    style,
    tables_groups,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = fake_run.write(tmp_path_factory.mktemp("run"), num_patients=600)
    return contents.confidential(folder, report_pages.KEY)


def test_relative_risk_while_few_are_proven(data):
    few = report_pages.change_summary(data, groups_endpoint="proven")
    assert "relative risk of being proven" in findings.alternatives(few)["groups"]
    draw = figures._KINDS["groups"].draw
    with matplotlib.rc_context(style.rc(style.WIDE)):
        drawn = [_titles(draw(d, style.WIDE)) for d in (few, data)]
    assert drawn[0] == ["Proven, v others", "The same, adjusted"]
    assert drawn[1] == ["Above 70 in 100", "Right, v others", "Right, adjusted"]


def _titles(figure):
    bold = lambda ax: [t for t in ax.texts if t.get_fontweight() == "bold"]
    return [bold(ax)[0].get_text() for ax in figure.axes]


@pytest.mark.parametrize("endpoint", ["top", "rank", None])
def test_raw_and_adjusted_for_every_endpoint(data, endpoint):
    changed = report_pages.change_summary(data, groups_endpoint=endpoint)
    with matplotlib.rc_context(style.rc(style.NARROW)):
        drawn = figures._KINDS["groups"].draw(changed, style.NARROW)
    assert len(drawn.axes) == 2 and "adjusted" in figures_groups.panels(changed)[-1]


def test_a_table_without_adjustment_is_drawn_raw(data):
    names = [name for name in data.groups if not name.startswith("adjusted")]
    changed = data._replace(groups=data.groups[names])
    with matplotlib.rc_context(style.rc(style.WIDE)):
        drawn = figures._KINDS["groups"].draw(changed, style.WIDE)
    assert _titles(drawn) == ["Above 70 in 100", "Right, v others"]


def test_intersections_are_in_the_table_alone(data):
    pairs = data.groups[data.groups["is_intersection"]]
    shown = figures_groups.shown_rows(data.groups)
    assert len(pairs) and not shown["is_intersection"].any()
    names = [row[0].text for row in tables_groups.risk(data).rows]
    assert f"{pairs['attribute'].iloc[0]}: {pairs['value'].iloc[0]}" in names


def test_title_says_what_adjustment_leaves():
    """Singles before pairs; largest first; what vanishes is said to."""
    row = {"attribute": "health", "is_intersection": False, "p_holm": 0.01}
    adjusted = "adjusted_relative_risk", "adjusted_relative_risk_p_holm"
    rows = [
        {**row, "value": "fair", "relative_risk": 3.24, adjusted[0]: 1.1},
        {**row, "value": "poor", "relative_risk": 4.09, adjusted[0]: 2.96},
        {**row, "value": "good", "relative_risk": 0.5, adjusted[0]: 0.5},
        {**row, "value": "a, b", "relative_risk": 9.0, "is_intersection": True},
    ]
    table = pd.DataFrame(rows)
    table[adjusted[1]] = [0.4, 0.01, 0.01, 0.01]
    assert group_words.title(table, "proven", False) == (
        "Proven more exposed: poor (health), 4.1x (adjusted 3.0x); fair (health), 3.2x "
        "(not after adjustment)"
    )
    none = table.assign(p_holm=0.2)
    assert group_words.title(none, "proven", False) == group_words.NONE
    assert group_words.title(none, "proven", True).startswith("No group shown here")
