"""A private run from its config to its report: what is promised travels along."""

import json

import fake_run
import numpy as np
import pandas as pd
import pytest
import report_pages

from mia_jax import _files, config, predictions, results, terminal, validate
from mia_jax.report import contents, html
from mia_jax.report import protection as sentences
from mia_jax.stages import attack, plan, protection, report, score, train


def _config(**changes):
    given = config.default(data="synthetic", defence="dp_sgd")
    given.data.num_patients = 80
    given.data.num_planted = 4
    given.model.widths = (8,)
    given.train.num_models = 16
    given.train.models_per_group = 8
    given.train.epochs = 3.0
    given.train.batch_size = 16
    given.defence.delta = 1e-3
    given.update_from_flattened_dict(changes)
    return given


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder, its plan and its summary."""
    folder = tmp_path_factory.mktemp("private")
    settings, speed = config.settings(_config())
    job = train.prepare(settings, speed, folder)
    text = terminal.render_plan(plan.of(job))
    train.execute(job)
    score.gather(folder)
    summary = attack.run(folder / "predictions", folder, (settings.attack,))
    return folder, text, summary


def test_the_guarantee_stands_in_every_file(run):
    folder, text, summary = run
    promised = _files.read_json(folder / protection.FILE)
    assert promised["unit"] == "patient" and promised["epsilon"] <= 8
    assert "dp_sgd: epsilon 8, delta 0.001 for every patient" in text
    assert predictions.read(folder / "predictions").about["guarantee"] == promised
    assert summary["defence"]["guarantee"] == promised
    assert results.load(folder)["summary"]["defence"]["guarantee"] == promised


def test_ceiling_and_check_are_stored(run):
    folder, _, summary = run
    assert 0.5 < summary["ceiling"]["auc"] < 1
    assert not summary["violation"]["is_violated"]
    table = results.load(folder)["curves"]["ceiling"]
    assert len(table) > 150 and table["tpr"].is_monotonic_increasing
    area = np.trapezoid(table["tpr"], table["fpr"])
    assert area == pytest.approx(summary["ceiling"]["auc"], abs=1e-3)


def test_terminal_and_reports_say_it(run):
    folder, _, summary = run
    text = terminal.render_result(summary, terminal.Output("r"))
    assert "guarantee  epsilon 8, delta 0.001, for every patient" in text
    assert "kept" in text
    report.run(folder)
    for name in ("report.html", "report_public.html"):
        page = (folder / name).read_text()
        assert '<h2 id="protection">' in page and "keeps below the ceiling" in page
        assert "ceiling of the guarantee" in page


def test_a_second_run_with_another_budget_is_another_run(run):
    folder, _, _ = run
    settings, speed = config.settings(_config(**{"defence.epsilon": 4.0}))
    with pytest.raises(validate.InputError, match="epsilon"):
        train.prepare(settings, speed, folder)


def test_clipping_alone_promises_nothing(tmp_path):
    changes = {"defence.epsilon": float("inf"), "train.num_models": 8}
    settings, speed = config.settings(_config(**changes))
    job = train.prepare(settings, speed, tmp_path)
    assert "dp_sgd (no differential privacy)" in terminal.render_plan(plan.of(job))
    train.execute(job)
    assert not (tmp_path / protection.FILE).exists()
    again = train.prepare(settings, speed, tmp_path)  # infinity survives JSON
    assert not again.todo


def _given(guarantee, leak=0.0, num_models=64):
    generator = np.random.default_rng(0)
    member = generator.random((num_models, 100)).argsort(0) < num_models // 2
    statistic = generator.standard_normal(member.shape) + leak * member
    about = {"guarantee": guarantee} if guarantee else None
    given = predictions.from_arrays(
        statistic.astype(np.float32),
        member,
        np.zeros(100, np.int32),
        is_logits=False,
        about=about,
    )
    return given, statistic.astype(np.float32)


GUARANTEE = {
    **{"unit": "patient", "epsilon": 1.0, "delta": 1e-4, "noise_multiplier": 5.6237},
    **{"sampling_prob": 0.0866, "num_steps": 400, "overflow_delta": 1e-6},
}


def test_an_attack_above_the_ceiling_is_a_bug():
    assert not protection.measure(*_given(GUARANTEE)).check.is_violated
    found = protection.measure(*_given(GUARANTEE, leak=2.0))
    assert found.check.is_violated
    summary = {"defence": {"guarantee": GUARANTEE}, **found.to_json()}
    assert "bug" in sentences.violation(summary)
    assert json.loads(json.dumps(found.to_json())) == found.to_json()


def test_a_guarantee_of_records_bounds_no_patient():
    found = protection.measure(*_given({**GUARANTEE, "unit": "record"}))
    assert found.curve is None and found.check is None
    summary = {"defence": {"guarantee": {"unit": "record"}}, **found.to_json()}
    assert "bounds no attack on a patient" in sentences.bound(summary)
    pd.testing.assert_index_equal(found.table().columns, pd.Index(["fpr", "tpr"]))


def test_a_guarantee_without_its_mechanism_is_refused():
    with pytest.raises(validate.InputError, match="num_steps"):
        protection.measure(*_given({"unit": "patient", "epsilon": 1.0}))


def test_nothing_promised_nothing_said():
    found = protection.measure(*_given(None))
    assert found == protection.Protection(None)
    assert sentences.bound({}) is sentences.violation({}) is None


def test_a_broken_guarantee_is_red(tmp_path):
    folder = fake_run.write(tmp_path, num_patients=300)
    data = contents.confidential(folder, report_pages.KEY)
    found = protection.measure(*_given(GUARANTEE, leak=2.0)).to_json()
    defence = {"name": "dp_sgd", "guarantee": GUARANTEE}
    page = html.render(report_pages.change_summary(data, defence=defence, **found))
    assert '<p class="alarm">The attack exceeds the ceiling' in page
    assert "The guarantee is broken: the training has a bug" in page
