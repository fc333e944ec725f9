"""The public report under attack: subtraction, curves, text; nobody is worked out."""

import json
import math
import re

import fake_run
import numpy as np
import pandas as pd
import pytest
import report_pages

from mia_jax import results, validate
from mia_jax.report import build, contents, figures, html, words

PSEUDONYM = re.compile(r"[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}")
COUNTS = re.compile(r"^(num_(proven|patients|top|test_patients|false_alarms).*|count)")


def rare_groups(num_patients: int) -> pd.DataFrame:
    """Attributes with values of 1 to 12 patients, and one that splits in two."""
    number = np.arange(num_patients)
    rare = np.select([number < 3, number < 15], ["rare", "scarce"], "common")
    sizes = [1, 2, 4, 6, 8, 9, 11, 20]
    clinic = np.repeat([f"clinic {i}" for i in range(8)], sizes)
    clinic = np.r_[clinic, np.full(num_patients - sum(sizes), "clinic 8")]
    two = np.where(number < 4, "yes", "no")
    return pd.DataFrame({"kind": rare, "clinic": clinic, "device": two})


CASES = {
    "few": {"num_patients": 900, "num_models": 256, "leak": "few"},
    "three": {"num_patients": 900, "num_models": 256, "leak": "three"},
    "some": {"num_patients": 400, "num_models": 256, "leak": "some"},
    "many": {"num_patients": 5200, "num_models": 128, "leak": "most"},
    "all": {"num_patients": 40, "num_models": 64, "leak": "all"},
    "none": {"num_patients": 300, "num_models": 128, "leak": "none"},
    "tiny": {"num_patients": 12, "num_models": 64, "leak": "some"},
    "rare": {"num_patients": 700, "num_models": 256, "attributes": rare_groups(700)},
}


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    """Folder, public data and public page without pictures."""
    folder = fake_run.write(tmp_path_factory.mktemp("run"), **CASES[request.param])
    data = contents.public(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "for_page", lambda _: dict.fromkeys(figures.NAMES))
        text = html.render(data)
    return folder, data, text


def page_data(text: str) -> dict:
    found = re.search(r'<script type="application/json" id="[^"]*">(.*?)<', text)
    return json.loads(found.group(1))


def numbers(value, path=()):
    """Every number of a JSON value with the names that lead to it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from numbers(item, (*path, key))
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value


def is_small(number) -> bool:
    return 0.5 < number < 4.5


def test_no_count_of_one_to_four_in_the_data(case):
    counts = [n for path, n in numbers(page_data(case[2])) if COUNTS.match(path[-1])]
    assert len(counts) >= 8
    assert not [n for n in counts if is_small(n)]


def test_no_count_of_one_to_four_in_the_text(case):
    text = re.sub(r"<(script|style).*?</\1>", "", case[2], flags=re.S)
    text = re.sub(r"At most about \d+ of the", "", text)  # of a number that is shown
    text = re.sub(r"<[^>]*>", "|", text)
    found = re.findall(
        r"\b[1-4] (?:(?:one by one|of|patients?|proven)\b(?! other)).{0,20}", text
    )
    assert not found
    assert not re.findall(r"(?:For|about|none:) [1-4] ", text)


def test_no_patient_and_no_pseudonym(case):
    folder, data, text = case
    assert not PSEUDONYM.search(text)
    assert "patient-0" not in text and "Confidential: patient rows" not in text
    assert data.most_exposed is None and data.proven_auc is None
    assert data.highest is None and not len(data.record_dots)
    secret = contents.confidential(folder, report_pages.KEY).most_exposed["auc"].max()
    flat = [n for _, n in numbers(page_data(text))]
    assert secret == 1 or not np.isclose(flat, secret, rtol=0, atol=1e-7).any()
    assert data.summary["worst_patient"] is None
    assert all(a["worst_patient"] is None for a in data.summary["attacks"])


def test_page_is_whole(case):
    report_pages.Page(case[2])
    assert not report_pages.shows_nan(case[2])
    assert (
        "Public: no patient rows" in case[2]
        and "filter" not in report_pages.Page(case[2]).ids
    )


def test_headline_is_of_the_same_case(case):
    folder, data, text = case
    secret = results.load(folder)["summary"]
    assert data.summary["headline_case"] == secret["headline_case"]
    plain = html._no_break(data.summary["headline_detail"])
    assert plain in text.replace("&lt;", "<")


def test_histogram_has_five_or_none_of_each_kind(case):
    folder, data, _ = case
    table = data.curves["histogram"]
    patients = results.load(folder)["patients"]
    assert table["count"].sum() == len(patients)
    assert (table["count"] >= 5).all()
    assert table["left"].iloc[0] == 0 and table["right"].iloc[-1] == 1
    assert (table["left"].iloc[1:].to_numpy() == table["right"].iloc[:-1]).all()
    assert "count_proven" not in table


def test_proven_bars_have_five_or_none_of_each_kind(case):
    """In bins that join those of all patients: what is not proven is told too."""
    folder, data, _ = case
    proven, table = data.curves["proven"], data.curves["histogram"]
    patients = results.load(folder)["patients"]
    is_few = words.is_few(data.num_proven)
    is_few |= is_small(len(patients) - patients["is_proven"].sum())
    assert proven.empty == is_few
    if is_few:
        return
    assert proven["count_proven"].sum() == data.num_proven
    assert set(proven["left"]) <= set(table["left"])
    number = np.searchsorted(proven["left"], table["left"], side="right") - 1
    every = np.bincount(number, table["count"])
    for kind in (proven["count_proven"], every - proven["count_proven"]):
        assert not kind.map(is_small).any()


def test_curve_of_patients_tells_no_more_than_the_histogram(case):
    _, data, _ = case
    curve = data.curves["survival"].dropna(subset="share")
    edges = data.curves["histogram"]["left"].round(3).tolist()
    assert set(curve["auc"].round(3)) <= set(edges)
    above = np.r_[data.num_patients, curve["share"] * data.num_patients, 0]
    assert (np.abs(np.diff(above)) > 4.5).all()


def test_curves_of_groups_differ_by_five_or_none(case):
    """Also of all patients less the groups shown, of whom there may be few left."""
    _, data, text = case
    total = data.curves["survival"].dropna(subset="share")
    total = dict(zip(total["auc"].round(3), total["share"], strict=True))
    by_attribute = {}
    for group in page_data(text)["survival_by_group"]:
        by_attribute.setdefault(group["attribute"], []).append(group)
    for groups in by_attribute.values():
        rest = [data.num_patients - sum(g["num_patients"] for g in groups)]
        kinds = {g["value"]: [g["num_patients"]] for g in groups}
        for place, level in enumerate(groups[0]["auc"]):
            shares = [g["share"][place] for g in groups]
            if all(share is None for share in shares):
                continue
            assert round(level, 3) in total
            for group, share in zip(groups, shares, strict=True):
                number = (share or 0) * group["num_patients"]
                kinds[group["value"]].append(number)
                assert share is None or number > 4.5
            shown = sum(k[-1] for k in kinds.values())
            if None not in shares:
                rest.append(total[round(level, 3)] * data.num_patients - shown)
        for kind in (*kinds.values(), rest):
            assert not any(is_small(-step) for step in np.diff(kind)), groups


def test_subtraction_of_groups_gives_nobody_away(case):
    _, data, _ = case
    if data.groups.empty:
        return
    for _, part in data.groups.groupby("attribute", sort=False):
        sizes = pd.to_numeric(part["num_patients"], errors="coerce")
        assert not (sizes < 10).any()
        missing = data.num_patients - sizes.sum()
        assert missing == 0 or missing >= 10
        proven = pd.to_numeric(part["num_proven"], errors="coerce")
        assert not proven.map(is_small).any()
        if isinstance(data.num_proven, int) and proven.notna().any():
            assert not is_small(data.num_proven - proven.sum())
        ratio = pd.to_numeric(part["relative_risk"], errors="coerce")
        assert (proven[ratio.notna()] >= 5).all()


def test_quantiles_have_five_patients_beyond(case):
    folder, data, _ = case
    auc = results.load(folder)["patients"]["auc"].to_numpy()
    assert "1" not in data.summary["patient_auc_quantiles"]
    for q in data.summary["patient_auc_quantiles"]:
        assert min(float(q), 1 - float(q)) * len(auc) >= 5
    if data.top_quantile:
        q, value = data.top_quantile
        assert (auc > np.quantile(auc, q)).sum() >= 5 and value == round(value, 2)


def test_pictures_are_data_too(tmp_path):
    """Shares read back from the path of the measured curve change by five patients."""
    data = contents.public(fake_run.write(tmp_path, **CASES["few"]))
    pair = figures.for_page(data)["survival"]
    left, top, right, bottom = (float(end) for end in pair.wide_frame.split())
    path = re.search(r'<g id="survival-wide-cohort-1">.*?d="([^"]*)"', pair.wide, re.S)
    points = np.array(re.findall(r"[ML] ([\d.]+) ([\d.]+)", path.group(1)), float)
    floor = 0.6 / data.num_patients
    span = math.log(1.15 / floor) * (bottom - points[:, 1]) / (bottom - top)
    number = data.num_patients * floor * np.exp(span)
    curve = data.curves["survival"].dropna(subset="share")
    level = 0.36 + 0.64 * (points[:, 0] - left) / (right - left)
    np.testing.assert_allclose(level, curve["auc"], atol=5e-4)
    # A hundredth of a point on the axis is half a patient of 900 at most.
    np.testing.assert_allclose(number, curve["share"] * data.num_patients, rtol=1e-3)
    assert (-np.diff(number) > 4).all() and number.min() > 4.5


def test_what_is_not_known_stays_inside(tmp_path):
    folder = fake_run.write(tmp_path, **CASES["three"])
    found = results.load(folder)
    found["summary"]["secret"] = "patient-000007"
    found["summary"]["data"] = {"options": {"path": "/home/clinic/patients.csv"}}
    results.write_json(folder / "summary.json", found["summary"])
    groups = found["groups"].assign(secret=1.0)
    content = {"schema": results.schema("groups"), "table": groups, "provenance": {}}
    results.save(folder / "groups.pkl", content)
    curves = {**found["curves"], "secret": found["curves"]["roc"]}
    curves["roc"] = curves["roc"].assign(secret=1.0)
    content = {"schema": results.schema("curves"), "tables": curves, "provenance": {}}
    results.save(folder / "curves.pkl", content)
    text = contents.to_json(contents.public(folder))
    for word in ("secret", "patient-0", "clinic", "fingerprint"):
        assert word not in text


def test_both_files_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "for_page", lambda _: dict.fromkeys(figures.NAMES))
    monkeypatch.setattr(figures, "for_print", lambda _: {})
    run, key = tmp_path / "run", tmp_path / "key"
    path = build.write(fake_run.write(run, **CASES["tiny"]), key)
    assert path == run / "report.html" and (run / build.PUBLIC).exists()
    # Under ten patients there is nothing to show, and no older page may stay.
    fake_run.write(run, num_patients=9, num_models=64, has_groups=False)
    build.write(run, key)
    assert path.exists() and not (run / build.PUBLIC).exists()
    with pytest.raises(validate.InputError, match="at least 10"):
        contents.public(run)


def test_of_nested_attributes_the_coarsest_is_shown(tmp_path):
    """Years and bands: the years of a band, less those shown, would be one year."""
    rng = np.random.default_rng(0)
    years = rng.integers(20, 40, 700)
    attributes = pd.DataFrame(
        {"years": years.astype(str), "band": np.where(years < 30, "20-29", "30-39")}
    )
    options = {**CASES["rare"], "attributes": attributes}
    folder = fake_run.write(tmp_path, **options)
    shown = contents.public(folder).groups["attribute"].unique()
    assert "band" in shown and "years" not in shown


def test_equal_splits_hide_equal_cells(tmp_path):
    """The same split under two names, sorted differently: no cell is hidden once."""
    rng = np.random.default_rng(1)
    kind = rng.choice([1, 2, 3, 4, 5, 6], 900, p=[0.03, 0.03, 0.03, 0.03, 0.44, 0.44])
    attributes = pd.DataFrame({"a": kind.astype(str), "b": (9 - kind).astype(str)})
    options = {**CASES["few"], "attributes": attributes}
    groups = contents.public(fake_run.write(tmp_path, **options)).groups
    hidden = {
        name: {str(int(v) if name == "a" else 9 - int(v)) for v in part["value"]}
        for name, part in groups[groups["num_proven"].isna()].groupby("attribute")
    }
    assert hidden.get("a", set()) == hidden.get("b", set())
