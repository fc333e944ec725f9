"""Edge cases of the report: none or all proven, missing numbers, hostile names."""

import re

import fake_run
import matplotlib
import numpy as np
import pytest
import report_pages

from mia_jax import results
from mia_jax.report import (
    contents,
    figures,
    findings,
    html,
    sentences,
    style,
    tables,
    tiles,
)

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return fake_run.write(tmp_path_factory.mktemp("run"), num_patients=600)


@pytest.fixture(scope="module")
def data(run):
    return contents.confidential(run, report_pages.KEY)


@pytest.fixture(scope="module")
def pairs(data):
    return figures.for_page(data)


@pytest.fixture
def drawn_before(data, monkeypatch, pairs):
    """Tests of words alone do not wait for figures."""
    monkeypatch.setattr(html.figures, "for_page", lambda _: pairs)
    return data


@pytest.mark.parametrize(
    ("leak", "changes", "case"),
    [
        ("none", {}, "none"),
        ("weak", {}, "proven_none_exposed"),
        pytest.param("most", {}, "most", marks=pytest.mark.slow),
        ("all", {}, "most"),
        pytest.param("few", {"num_patients": 3000}, "exposed", marks=pytest.mark.slow),
        ("none", {"num_patients": 20, "num_models": 16}, "underpowered"),
        pytest.param("some", {"num_patients": 20}, "exposed", marks=pytest.mark.slow),
        ("all", {"num_patients": 1}, "most"),
    ],
)
def test_cases_render(tmp_path, leak, changes, case):
    options = {"num_patients": 300, "has_groups": False, "seed": 3, **changes}
    data, text = report_pages.rendered(fake_run.write(tmp_path, leak=leak, **options))
    assert data.summary["headline_case"] == case
    assert findings.lead(data.summary["headline"]).subject in text
    assert "No attribute of the patients was given" in text
    assert not report_pages.shows_nan(text)


@pytest.mark.slow
def test_many_patients_make_no_larger_page(tmp_path):
    _, text = report_pages.rendered(
        fake_run.write(tmp_path, 65_000, 128, has_groups=False)
    )
    assert len(text.encode()) < MEGABYTE
    assert text.count("<use ") < 2_500


@pytest.mark.parametrize("num_proven", [0, 1, 300, 301])
def test_dots_up_to_300_bars_above(data, num_proven):
    auc = np.linspace(0.6, 0.99, num_proven)
    is_few = num_proven <= contents.MAX_DOTS
    changed = report_pages.change_summary(data, num_proven=num_proven)
    changed = changed._replace(proven_auc=auc if is_few else None)
    histogram = data.curves["histogram"]
    if not num_proven:
        histogram = histogram.assign(count_proven=0)
    changed = changed._replace(curves={**data.curves, "histogram": histogram})
    with matplotlib.rc_context(style.rc(style.WIDE)):
        drawn = figures._KINDS["overview"].draw(changed, style.WIDE)
    assert len(drawn.axes) == (1 if num_proven == 0 else 2)
    if num_proven:
        dots = [line for line in drawn.axes[1].lines if line.get_marker() == "o"]
        assert sum(len(line.get_xdata()) for line in dots) == num_proven * is_few


def test_missing_usefulness_is_said(data):
    nothing = report_pages.change_summary(
        data, metrics={"test": None}, metrics_sd={"test": None}
    )
    text = html.render(nothing)
    assert "How useful the models are was not measured" in text
    assert "figure" in text and "usefulness-wide" not in text
    no_auroc = {k: {**v, "auroc": None} for k, v in data.summary["metrics"].items()}
    with matplotlib.rc_context(style.rc(style.WIDE)):
        changed = report_pages.change_summary(data, metrics=no_auroc)
        drawn = figures._KINDS["usefulness"].draw(changed, style.WIDE)
    assert len(drawn.axes) == 1


def test_missing_test_patients_are_said(drawn_before):
    metrics = {**drawn_before.summary["metrics"], "test": None}
    text = html.render(report_pages.change_summary(drawn_before, metrics=metrics))
    assert "usefulness on new patients was not measured" in text
    assert '<td class="number">not measured</td>' in text


def test_rates_that_cannot_be_reported(drawn_before):
    none = {"0.001": None, "0.01": None, "0.1": None}
    text = html.render(
        report_pages.change_summary(drawn_before, tpr_at_fpr=none, tpr_at_fpr_band=none)
    )
    assert text.count(">not reported<") == 3 + 3  # and of every attack at .1 %
    assert "All records together: right" in text


def test_models_trained_elsewhere(drawn_before):
    unknown = dict.fromkeys(("model", "train", "defence", "data_fingerprint", "code"))
    text = html.render(
        report_pages.change_summary(drawn_before, **unknown, versions={}, dataset=None)
    )
    assert text.count("Not known: the models were trained elsewhere") == 3
    assert "None</td>" not in text


def test_guarantee_is_stated(drawn_before):
    """In a section of its own, and in the answers for the data-protection file."""
    guarantee = {"unit": "patient", "epsilon": 8.0, "delta": 1e-5}
    defence = {"name": "dp_sgd", "options": {}, "guarantee": guarantee}
    text = html.render(report_pages.change_summary(drawn_before, defence=defence))
    assert text.count("dp_sgd: unit patient, epsilon 8, delta 1e-05") == 2
    assert '<h2 id="protection">' in text
    assert '<h2 id="protection">' not in html.render(drawn_before)


def test_undefined_numbers_of_groups_and_exposure(data):
    undefined = data.groups.copy()
    names = undefined.columns.drop(["attribute", "value", "num_patients", "num_proven"])
    undefined[names] = np.nan
    nothing = {key: dict.fromkeys(("share", "low", "high")) for key in ("0.7", "0.9")}
    denoised = data.curves["denoised"].assign(share=np.nan, low=np.nan, high=np.nan)
    changed = report_pages.change_summary(data, exposed=nothing, detection_limit=None)
    changed = changed._replace(
        groups=undefined, curves={**data.curves, "denoised": denoised}
    )
    text = html.render(changed)
    assert "too few patients or models to estimate" in text
    assert not report_pages.shows_nan(text)


def test_undefined_intervals_and_q_values(run, tmp_path):
    for name in ("summary.json", "groups.pkl", "curves.pkl", "patients.pkl"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    content = results.load(tmp_path / "patients.pkl")
    columns = ["q_value", "p_holm", "auc_low", "auc_high", "auc_max_record"]
    content["table"][columns] = np.nan
    results.save(tmp_path / "patients.pkl", content)
    _, text = report_pages.rendered(tmp_path)
    assert text.count("not distinguishable from 50") == contents.MAX_ROWS


def test_hostile_names_stay_text(data):
    name = "</script><b>$x_1$ & up"
    hostile = data.groups.assign(value=name, attribute="income < $10k")
    rows = data.most_exposed.rename(columns={"health": name})
    rows[name] = name
    changed = report_pages.change_summary(data, title=name, groups_title=name)
    changed = changed._replace(
        groups=hostile, most_exposed=rows, attributes=(name, "sex")
    )
    text = html.render(changed)
    report_pages.Page(text)
    assert "<b>$x" not in text and text.count("</script>") == 2
    assert "$x_1$" in text


def test_a_run_of_one_attack_without_the_new_tables(drawn_before):
    """A run of an older version, or of a single attack: sections say less."""
    new = (
        *("attacks", "thresholds", "ppv", "agreement", "stability", "worst_record"),
        *("gaussian_check", "exposed_ash", "tpr_of_patients", "groups_endpoint"),
    )
    summary = {k: v for k, v in drawn_before.summary.items() if k not in new}
    summary["attack"] = {"name": "lira", "options": {}}
    curves = {name: drawn_before.curves[name] for name in contents._CURVES}
    text = html.render(drawn_before._replace(summary=summary, curves=curves))
    report_pages.Page(text)
    assert "Every attack" not in text and "Likelihood-ratio attack (LiRA)" in text
    assert "Only this attack was tried" in text and 'id="group"' not in text
    assert not report_pages.shows_nan(text)


def test_no_public_data_needs_patients(drawn_before):
    """A report without patient rows is the same page from less data."""
    public = drawn_before._replace(most_exposed=None, proven_auc=None, highest=None)
    public = public._replace(record_dots=drawn_before.record_dots.iloc[:0])
    text = html.render(public)
    report_pages.Page(text)
    assert "Confidential" not in text and "Pseudonym" not in text
    with matplotlib.rc_context(style.rc(style.WIDE)):
        drawn = figures._KINDS["records"].draw(public, style.WIDE)
    dots = [line for line in drawn.axes[0].lines if line.get_marker() == "o"]
    assert not any(len(line.get_xdata()) for line in dots)


def test_tiles_without_proof_show_the_detection_limit(data):
    zero = report_pages.change_summary(
        data, num_proven=0, num_proven_holm=0, detection_limit=0.6721
    )
    tile = tiles.make(zero._replace(highest=0.64))[2]
    assert (tile.number, tile.unit) == ("68", "in 100")
    assert tile.note.startswith("highest seen 64, chance alone reaches ")


@pytest.mark.parametrize(
    ("num_models", "expected"), [(64, 0.761), (128, 0.684), (256, 0.630), (512, 0.592)]
)
def test_chance_maximum(data, num_models, expected):
    """Golden values for 5,912 patients, three digits."""
    sd = np.sqrt((num_models + 1) / 3) / num_models
    changed = report_pages.change_summary(
        data, num_patients=5912, precision={"sd_at_half": sd}
    )
    assert tiles.chance_maximum(changed) == pytest.approx(expected, abs=6e-4)


def test_worst_patient_is_never_certain(data):
    worst = {"auc": 1.0, "lower_limit": 0.999}
    tile = tiles.make(report_pages.change_summary(data, worst_patient=worst))[2]
    assert tile.number == "over 99" and tile.note.startswith("at least 99 ")
    worst = {"auc": 0.63, "lower_limit": 0.47}
    assert (
        "chance"
        in tiles.make(report_pages.change_summary(data, worst_patient=worst))[2].note
    )


def test_p_values_are_short():
    shown = [tables.p_value(p) for p in (0.0321, 1.0, 2.04e-7, 1e-200, np.nan)]
    assert shown == ["0.032", "1", "2e-7", "under 1e-99", "\u2013"]


def test_table_of_the_histogram_loses_nobody(data):
    total = sum(int(row[1].text.replace(",", "")) for row in tables.overview(data).rows)
    assert total == data.num_patients


def test_report_does_not_depend_on_its_own_wall_time(drawn_before):
    timed = {**drawn_before.summary["wall_seconds"], "report": 3.21}
    changed = report_pages.change_summary(drawn_before, wall_seconds=timed)
    page = lambda d: re.sub(r"<script type=.*?</script>", "", html.render(d))
    assert page(changed) == page(drawn_before)


def test_patients_left_of_the_axis_are_counted_in_words(data):
    histogram = data.curves["histogram"].copy()
    histogram.loc[:5, ["count", "null_count"]] = [[30, 50], *[[2, 3]] * 5]
    curves = {**data.curves, "histogram": histogram}
    caption = sentences.overview_caption(data._replace(curves=curves))
    # .30 to .36: 30 + 5 x 2 patients, 50 + 5 x 3 by chance.
    assert "Not drawn: 40 below 36 in 100 (65 by chance)" in caption
    histogram.loc[:5, ["count", "null_count"]] = 0
    assert "Not drawn" not in sentences.overview_caption(data._replace(curves=curves))
