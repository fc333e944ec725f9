"""The report of simulated runs: what the page must be, and every edge case of it."""

import json
import re
from html import parser

import fake_run
import matplotlib
import numpy as np
import pandas as pd
import pytest

from mia_jax import results, validate
from mia_jax.report import (
    build,
    contents,
    figures,
    findings,
    html,
    style,
    tables,
    tiles,
)

KEY = b"test-key"
MEGABYTE = 2**20
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(parser.HTMLParser):
    """Collects what the tests ask about and checks that elements nest."""

    def __init__(self, text: str):
        super().__init__()
        self.ids, self.elements, self.open = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def of(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of 600 patients, some exposed, with its report."""
    folder = fake_run.write(tmp_path_factory.mktemp("run"), num_patients=600)
    build.write(folder, folder.parent / "key")
    return folder


@pytest.fixture(scope="module")
def data(run):
    return contents.confidential(run, KEY)


@pytest.fixture(scope="module")
def pairs(data):
    return figures.for_page(data)


@pytest.fixture(scope="module")
def text(run):
    return (run / "report.html").read_text()


def rendered(folder) -> tuple[contents.ReportData, str]:
    data = contents.confidential(folder, KEY)
    text = html.render(data)
    Page(text)
    return data, text


@pytest.fixture
def drawn_before(data, monkeypatch, pairs):
    """Tests of words alone do not wait for figures."""
    monkeypatch.setattr(html.figures, "for_page", lambda _: pairs)
    return data


def shows_nan(text: str) -> bool:
    return bool(re.search(r"\bnan\b", re.sub(r"<script.*?</script>", "", text)))


def change_summary(data, **changes) -> contents.ReportData:
    return data._replace(summary={**data.summary, **changes})


def test_page_is_well_formed_and_ids_are_unique(text):
    page = Page(text)
    assert len(page.ids) == len(set(page.ids)) > 50
    assert len(page.of("h1")) == 1
    targets = [a["href"] for a in page.of("a")] + re.findall(r"url\((#[^)]*)\)", text)
    targets += re.findall(r'xlink:href="(#[^"]*)"', text)
    assert len(targets) > 20
    assert {target[1:] for target in targets} <= set(page.ids)


def test_page_loads_nothing(text):
    assert set(re.findall(r"https?://([^/\"'\s]*)", text)) == {"www.w3.org"}
    page = Page(text)
    policy = [m["content"] for m in page.of("meta") if "http-equiv" in m]
    assert policy == [
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "img-src data:"
    ]
    assert not page.of("link") and not page.of("img")
    assert all("src" not in script for script in page.of("script"))


def test_page_is_small_and_its_script_short(text):
    assert len(text.encode()) < MEGABYTE
    script = (html._TEMPLATES / "report.js").read_text()
    assert len(script.splitlines()) < 100


def test_same_bytes_on_rebuild(run):
    names = ["report.html", *(f"figures/{name}" for name in figures.FILES)]
    before = {name: (run / name).read_bytes() for name in names}
    build.write(run, run.parent / "key")
    assert all((run / name).read_bytes() == old for name, old in before.items())


def test_report_does_not_depend_on_its_own_wall_time(drawn_before):
    timed = {**drawn_before.summary["wall_seconds"], "report": 3.21}
    changed = change_summary(drawn_before, wall_seconds=timed)
    page = lambda d: re.sub(r"<script type=.*?</script>", "", html.render(d))
    assert page(changed) == page(drawn_before)


def test_every_figure_has_an_alternative_and_a_table(text, data):
    images = [e for e in Page(text).of("div") if e.get("role") == "img"]
    assert len(images) == len(figures.NAMES) == text.count("</figure>")
    assert all(e["aria-label"].endswith(".") for e in images)
    assert len({e["aria-label"] for e in images}) == len(images)
    for part in text.split("</figure>")[1:]:
        assert "<table" in part.split("<h2", 1)[0]


def test_table_headings_have_a_scope(text):
    assert all(th["scope"] in ("row", "col") for th in Page(text).of("th"))


def test_no_patient_id_anywhere_but_pseudonyms(run, data, text):
    patients = results.load(run / "patients.pkl")["table"]
    assert not any(patient in text for patient in patients["patient_id"])
    assert "patient_id" not in data.most_exposed
    files = [p.read_bytes() for p in (run / "figures").iterdir()]
    assert not any(b"patient-0" in content for content in files)
    assert len(re.findall(r"[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}", text)) == 100


def test_json_parses_and_holds_no_patient_rows(text, data):
    script = re.search(r'<script type="application/json" id="[^"]*">(.*?)<', text)
    found = json.loads(script.group(1))
    assert found["summary"] == data.summary
    assert set(found) == {"schema", "summary", "curves", "groups"}
    assert found["curves"]["survival"]["share"][0] == data.curves["survival"].share[0]
    assert not any(name in script.group(1) for name in data.most_exposed["pseudonym"])


def test_numbers_of_the_page_are_those_of_the_run(run, text):
    patients = results.load(run / "patients.pkl")["table"]
    above = int((patients["auc"] > 0.7).sum())
    assert f"{above} patients lie above 70 in 100" in text
    proven = int(patients["is_proven"].sum())
    assert f"For {proven:,} it is proven" in text
    null = "Null check: 0 of 600 proven on permuted masks"
    assert null in text


def test_labels_of_figures_keep_their_digits(text):
    """Coordinates are shortened to two digits; numbers that are read are not."""
    shown = re.findall(r"<text[^>]*>(0\.\d+)</text>", text)
    assert "0.848" in shown and "0.775" in shown


def test_paper_figures(run):
    for name in figures.FILES:
        assert (run / "figures" / name).stat().st_size > 50, name
    pdf = (run / "figures" / "fig_survival.pdf").read_bytes()
    assert b"/FontType 42" in pdf or b"/CIDFontType2" in pdf or b"/TrueType" in pdf
    size = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+)", pdf)
    assert float(size.group(1)) / 72 * 25.4 == pytest.approx(183, abs=0.1)  # mm
    assert float(size.group(2)) / 72 * 25.4 < 247
    curve = pd.read_csv(run / "figures" / "fig_survival.csv")
    assert {"auc", "share", "null_low", "denoised_share"} <= set(curve)
    # On one row: grids of two curves meet though both are decimals.
    assert curve.loc[np.isclose(curve["auc"], 0.7), "denoised_share"].notna().all()


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
    data, text = rendered(fake_run.write(tmp_path, leak=leak, **options))
    assert data.summary["headline_case"] == case
    assert findings.lead(data.summary["headline"]).subject in text
    assert "No attribute of the patients was given" in text
    assert not shows_nan(text)


@pytest.mark.slow
def test_many_patients_make_no_larger_page(tmp_path):
    _, text = rendered(fake_run.write(tmp_path, 65_000, 128, has_groups=False))
    assert len(text.encode()) < MEGABYTE
    assert text.count("<use ") < 2_500


@pytest.mark.parametrize("num_proven", [0, 1, 300, 301])
def test_dots_up_to_300_bars_above(data, num_proven):
    auc = np.linspace(0.6, 0.99, num_proven)
    is_few = num_proven <= contents.MAX_DOTS
    changed = change_summary(data, num_proven=num_proven)
    changed = changed._replace(proven_auc=auc if is_few else None)
    with matplotlib.rc_context(style.rc(style.WIDE)):
        drawn = figures._KINDS["overview"].draw(changed, style.WIDE)
    assert len(drawn.axes) == (1 if num_proven == 0 else 2)
    if num_proven:
        dots = [line for line in drawn.axes[1].lines if line.get_marker() == "o"]
        assert sum(len(line.get_xdata()) for line in dots) == num_proven * is_few


def test_missing_usefulness_is_said(data):
    nothing = change_summary(data, metrics={"test": None}, metrics_sd={"test": None})
    text = html.render(nothing)
    assert "How useful the models are was not measured" in text
    assert "figure" in text and "usefulness-wide" not in text
    no_auroc = {k: {**v, "auroc": None} for k, v in data.summary["metrics"].items()}
    with matplotlib.rc_context(style.rc(style.WIDE)):
        changed = change_summary(data, metrics=no_auroc)
        drawn = figures._KINDS["usefulness"].draw(changed, style.WIDE)
    assert len(drawn.axes) == 1


def test_missing_test_patients_are_said(drawn_before):
    metrics = {**drawn_before.summary["metrics"], "test": None}
    text = html.render(change_summary(drawn_before, metrics=metrics))
    assert "usefulness on new patients was not measured" in text
    assert '<td class="number">not measured</td>' in text


def test_rates_that_cannot_be_reported(drawn_before):
    none = {"0.001": None, "0.01": None, "0.1": None}
    text = html.render(
        change_summary(drawn_before, tpr_at_fpr=none, tpr_at_fpr_band=none)
    )
    assert text.count(">not reported<") == 3
    assert "All records together: right" in text


def test_models_trained_elsewhere(drawn_before):
    unknown = dict.fromkeys(("model", "train", "defence", "data_fingerprint", "code"))
    text = html.render(
        change_summary(drawn_before, **unknown, versions={}, dataset=None)
    )
    assert text.count("Not known: the models were trained elsewhere") == 2
    assert "None</td>" not in text


def test_guarantee_is_stated(drawn_before):
    guarantee = {"unit": "patient", "epsilon": 8.0, "delta": 1e-5}
    defence = {"name": "dp_sgd", "options": {}, "guarantee": guarantee}
    text = html.render(change_summary(drawn_before, defence=defence))
    assert "dp_sgd: unit patient, epsilon 8.0, delta 1e-05" in text


def test_undefined_numbers_of_groups_and_exposure(data):
    undefined = data.groups.copy()
    names = undefined.columns.drop(["attribute", "value", "num_patients", "num_proven"])
    undefined[names] = np.nan
    nothing = {key: dict.fromkeys(("share", "low", "high")) for key in ("0.7", "0.9")}
    denoised = data.curves["denoised"].assign(share=np.nan, low=np.nan, high=np.nan)
    changed = change_summary(data, exposed=nothing, detection_limit=None)
    changed = changed._replace(
        groups=undefined, curves={**data.curves, "denoised": denoised}
    )
    text = html.render(changed)
    assert "too few patients or models to estimate" in text
    assert not shows_nan(text)


def test_undefined_intervals_and_q_values(run, tmp_path):
    for name in ("summary.json", "groups.pkl", "curves.pkl", "patients.pkl"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    content = results.load(tmp_path / "patients.pkl")
    columns = ["q_value", "p_holm", "auc_low", "auc_high", "auc_max_record"]
    content["table"][columns] = np.nan
    results.save(tmp_path / "patients.pkl", content)
    _, text = rendered(tmp_path)
    assert text.count("not distinguishable from 50") == contents.MAX_ROWS


def test_hostile_names_stay_text(data):
    name = "</script><b>$x_1$ & up"
    hostile = data.groups.assign(value=name, attribute="income < $10k")
    rows = data.most_exposed.rename(columns={"health": name})
    rows[name] = name
    changed = change_summary(data, title=name, groups_title=name)
    changed = changed._replace(
        groups=hostile, most_exposed=rows, attributes=(name, "sex")
    )
    text = html.render(changed)
    Page(text)
    assert "<b>$x" not in text and text.count("</script>") == 2
    assert "$x_1$" in text


def test_relative_risk_while_few_are_proven(data):
    few = change_summary(data, num_proven=40)
    few = few._replace(proven_auc=np.linspace(0.6, 0.9, 40))
    assert "relative risk of being proven" in findings.alternatives(few)["groups"]
    assert "Relative risk of being proven" in figures.for_page(few)["groups"].wide
    many = figures.for_page(data)["groups"].wide
    assert "Above 70 in 100" in many and "Relative risk" not in many


def test_no_public_data_needs_patients(data):
    """A report without patient rows is the same page from less data."""
    public = data._replace(most_exposed=None, proven_auc=None, highest=None)
    public = public._replace(record_dots=data.record_dots.iloc[:0])
    text = html.render(public)
    Page(text)
    assert "Confidential" not in text and "Pseudonym" not in text
    assert figures.for_page(public)["records"].wide.count("<use") < 60


def test_tiles_without_proof_show_the_detection_limit(data):
    zero = change_summary(data, num_proven=0, num_proven_holm=0, detection_limit=0.6721)
    tile = tiles.make(zero._replace(highest=0.64))[2]
    assert (tile.number, tile.unit) == ("68", "in 100")
    assert tile.note.startswith("highest seen 64, chance alone reaches ")


@pytest.mark.parametrize(
    ("num_models", "expected"), [(64, 0.761), (128, 0.684), (256, 0.630), (512, 0.592)]
)
def test_chance_maximum(data, num_models, expected):
    """Golden values for 5,912 patients, three digits."""
    sd = np.sqrt((num_models + 1) / 3) / num_models
    changed = change_summary(data, num_patients=5912, precision={"sd_at_half": sd})
    assert tiles.chance_maximum(changed) == pytest.approx(expected, abs=6e-4)


def test_worst_patient_is_never_certain(data):
    worst = {"auc": 1.0, "lower_limit": 0.999}
    tile = tiles.make(change_summary(data, worst_patient=worst))[2]
    assert tile.number == "over 99" and tile.note.startswith("at least 99 ")
    worst = {"auc": 0.63, "lower_limit": 0.47}
    assert "chance" in tiles.make(change_summary(data, worst_patient=worst))[2].note


def test_p_values_are_short():
    shown = [tables.p_value(p) for p in (0.0321, 1.0, 2.04e-7, 1e-200, np.nan)]
    assert shown == ["0.032", "1", "2e-7", "under 1e-99", "\u2013"]


def test_folded_histogram_loses_nobody(data):
    total = sum(int(row[1].text.replace(",", "")) for row in tables.overview(data).rows)
    assert total == data.num_patients


def test_refuses_half_a_run(tmp_path, run):
    (tmp_path / "summary.json").write_bytes((run / "summary.json").read_bytes())
    with pytest.raises(validate.InputError, match="has no patients"):
        contents.confidential(tmp_path, KEY)


def test_refuses_a_key_inside_the_results(run):
    with pytest.raises(validate.InputError, match="must not get the key"):
        build.write(run, run / "key")


def test_figures_that_no_longer_apply_are_removed(run, pairs, tmp_path, monkeypatch):
    for name in ("summary.json", "groups.pkl", "curves.pkl", "patients.pkl"):
        results.write_json(tmp_path / "run" / "figures" / "fig_groups.svg", "old")
        (tmp_path / "run" / name).write_bytes((run / name).read_bytes())
    monkeypatch.setattr(html.figures, "for_page", lambda _: pairs)
    monkeypatch.setattr(build.figures, "for_print", lambda _: {"fig_roc.svg": b"new"})
    build.write(tmp_path / "run", tmp_path / "key")
    kept = [path.name for path in (tmp_path / "run" / "figures").iterdir()]
    assert kept == ["fig_roc.svg"]
