"""The report of a simulated run: what the files and the page must be."""

import json
import re

import fake_run
import numpy as np
import pandas as pd
import pytest
import report_pages

from mia_jax import results, validate
from mia_jax.report import build, contents, figures, html

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of 600 patients, some exposed, with its report."""
    folder = fake_run.write(tmp_path_factory.mktemp("run"), num_patients=600)
    build.write(folder, folder.parent / "key")
    return folder


@pytest.fixture(scope="module")
def data(run):
    return contents.confidential(run, report_pages.KEY)


@pytest.fixture(scope="module")
def pairs(data):
    return figures.for_page(data)


@pytest.fixture(scope="module")
def text(run):
    return (run / "report.html").read_text()


def test_page_is_well_formed_and_ids_are_unique(text):
    page = report_pages.Page(text)
    assert len(page.ids) == len(set(page.ids)) > 50
    assert len(page.of("h1")) == 1
    targets = [a["href"] for a in page.of("a")] + re.findall(r"url\((#[^)]*)\)", text)
    targets += re.findall(r'xlink:href="(#[^"]*)"', text)
    assert len(targets) > 20
    assert {target[1:] for target in targets} <= set(page.ids)


def test_page_loads_nothing(text):
    assert set(re.findall(r"https?://([^/\"'\s]*)", text)) == {"www.w3.org"}
    page = report_pages.Page(text)
    policy = [m["content"] for m in page.of("meta") if "http-equiv" in m]
    assert policy == [
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "img-src data:"
    ]
    assert not page.of("link") and not page.of("img")
    assert all("src" not in script for script in page.of("script"))


def test_page_is_small_and_its_script_short(text):
    assert len(text.encode()) < MEGABYTE
    scripts = [path.read_text() for path in sorted(html._TEMPLATES.glob("*.js"))]
    assert len(scripts) == 2
    assert sum(len(script.splitlines()) for script in scripts) < 100


def test_same_bytes_on_rebuild(run):
    names = ["report.html", build.PUBLIC]
    names += [f"figures/{name}" for name in figures.FILES]
    before = {name: (run / name).read_bytes() for name in names}
    build.write(run, run.parent / "key")
    assert all((run / name).read_bytes() == old for name, old in before.items())


def test_every_figure_has_an_alternative_and_a_table(text, data):
    images = [e for e in report_pages.Page(text).of("div") if e.get("role") == "img"]
    assert len(images) == len(figures.NAMES) == text.count("</figure>")
    assert all(e["aria-label"].endswith(".") for e in images)
    assert len({e["aria-label"] for e in images}) == len(images)
    for part in text.split("</figure>")[1:]:
        assert "<table" in part.split("<h2", 1)[0]


def test_table_headings_have_a_scope(text):
    assert all(th["scope"] in ("row", "col") for th in report_pages.Page(text).of("th"))


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
    names = {"schema", "summary", "curves", "groups", "survival_by_group"}
    assert set(found) == names
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


def test_curves_of_groups_are_in_the_data(text, data):
    """What the script draws for a chosen group is what was measured for it."""
    script = re.search(r'<script type="application/json" id="[^"]*">(.*?)<', text)
    found = json.loads(script.group(1))["survival_by_group"]
    table = data.curves["survival_by_group"]
    assert [g["attribute"] for g in found] == ["health"] * 4 + ["sex"] * 2 + [
        *["age"] * 4,
        *["plan"] * 4,
    ]
    for group in found:
        own = table["attribute"].eq(group["attribute"])
        own &= table["value"].eq(group["value"])
        np.testing.assert_allclose(group["share"], table.loc[own, "share"], atol=1e-6)
        assert len(group["auc"]) == own.sum()
    options = [e for e in report_pages.Page(text).of("option") if e["value"]]
    assert [int(e["value"]) for e in options] == list(range(len(found)))


def test_frame_of_the_survival_figure(text, data, pairs):
    """The script draws where matplotlib does: 36 to 100 fill the frame it is told."""
    frame = [float(end) for end in pairs["survival"].wide_frame.split()]
    assert f'data-frame="{pairs["survival"].wide_frame}"' in text
    ticks = re.findall(r'<g id="survival-wide-xtick_\d+">.*?x="([\d.]+)"', text, re.S)
    levels = np.arange(40, 101, 10)
    expected = frame[0] + (levels - 36) / 64 * (frame[2] - frame[0])
    # Coordinates in the page have two digits.
    np.testing.assert_allclose([float(x) for x in ticks], expected, atol=0.02)


def test_all_sections_are_there(text):
    found = re.findall(r'<h2 id="([a-z]+)"', text)
    assert found == [
        *("attack", "overall", "risk", "records", "groups", "use", "top"),
        *("precision", "file", "method", "words"),
    ]
    for name in ("Every attack", "Does a threshold keep its promise?"):
        assert f"<h3>{name}</h3>" in text
    assert "Risk accepted by" in text and "compliance" not in text


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


def test_refuses_half_a_run(tmp_path, run):
    (tmp_path / "summary.json").write_bytes((run / "summary.json").read_bytes())
    with pytest.raises(validate.InputError, match="has no patients"):
        contents.confidential(tmp_path, report_pages.KEY)


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
