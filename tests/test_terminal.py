"""The plan and the result, letter by letter."""

import re

from mia_jax import terminal

PLAN = terminal.Plan(
    program="mia_jax 0.1.0 (a1b2c3d), JAX 0.10.2, 2 cpu devices",
    title="RAND Health Insurance Experiment",
    num_records=20190,
    num_patients=5912,
    num_audited=4730,
    records_per_patient=(1, 5),
    num_classes=2,
    task="binary",
    blocks=(512,),
    model="MLP (128, 128)",
    epochs=40.0,
    design="balanced",
    unit="patient",
    defence="plain (no differential privacy)",
    attacks=("lira",),
    statistic="logit-scaled confidence",
    seconds=165.0,
    timing="measured on one group of 4",
    gigabytes=0.43,
    total_gigabytes=24.0,
    half_width=0.05,
    detection_limit=0.628,
    models_needed=20,
    models_for_exposed=None,
    workdir="runs/r",
)
PLAN_TEXT = """\
mia_jax 0.1.0 (a1b2c3d), JAX 0.10.2, 2 cpu devices
Plan
  data      RAND Health Insurance Experiment: 20,190 records of 5,912 patients
            (1 to 5 each), 2 classes; 4,730 audited, 1,182 held out as test
  models    512 x MLP (128, 128), 40 epochs; every patient in exactly 256
  defence   plain (no differential privacy)
  attacks   lira; statistic: logit-scaled confidence
  time      about 3 min (measured on one group of 4); memory 0.4 of 24 GB
  precision patient AUC +- .05 (95%); .63 or more is found with 80% probability
  writes    runs/r (new folder)
"""

ATTACK = {
    "name": "lira",
    "label": "lira",
    "options": {},
    "num_proven": 2535,
    "num_proven_holm": 892,
    "aggregate_auc": 0.5421,
    "tpr_at_fpr": {"0.001": None, "0.01": 0.0174, "0.1": 0.13},
    "tpr_at_fpr_band": {"0.001": None, "0.01": [0.0131, 0.0209], "0.1": [0.12, 0.14]},
    "worst_patient": {"auc": 0.931, "lower_limit": 0.853},
}
SUMMARY = {
    "headline": "For about 335 of 4,730 patients (7 %; 6 to 8) an attacker is right "
    "more than 70 times in 100. For 2,535 it is proven that they can be recognised "
    "better than by chance.",
    "headline_detail": "'Right' means: someone who holds a patient's record and can "
    "query the model tells whether it was trained on this patient; a coin flip is "
    "right 50 times in 100.",
    "num_models": 512,
    "models_needed": 20,
    "num_proven": 2535,
    "num_proven_holm": 892,
    "fdr": 0.05,
    "null_check": {"num_proven": 0, "num_patients": 4730, "num_permutations": 1},
    "metrics": {
        "members": {"accuracy": 0.7421},
        "left_out": {"accuracy": 0.7033},
        "test": {"accuracy": 0.7007},
    },
    "attacks": [ATTACK],
    "train": {"num_models": 512},
    "groups_title": "Proven more exposed: Poor (health), 4.1x; Fair, 3.2x",
}
RESULT_TEXT = """\
For about 335 of 4,730 patients (7 %; 6 to 8) an attacker is right more than 70
times in 100. For 2,535 it is proven that they can be recognised better than by
chance. 'Right' means: someone who holds a patient's record and can query the
model tells whether it was trained on this patient; a coin flip is right 50
times in 100.

attack    AUC     TPR at 1% FPR     proven (one by one)  worst patient (at least)
lira      .542    1.7% (1.3-2.1)    2,535 (892)          .93 (.85)
null check 0 of 4,730 proven on permuted masks
groups     Proven more exposed: Poor (health), 4.1x; Fair, 3.2x
accuracy   members .742, left out .703, test .701

report     runs/r/report.html   CONFIDENTIAL, 0.6 MB
tables     runs/r/tables/*.csv  mia_jax.results.load("runs/r")
next       --config.train.num_models=1024 keeps the first 512
"""
OUTPUT = terminal.Output("runs/r", "runs/r/report.html", 0.58)


def test_plan_golden():
    assert terminal.render_plan(PLAN) == PLAN_TEXT
    assert max(map(len, PLAN_TEXT.splitlines())) <= terminal.WIDTH


def test_plan_variants():
    text = terminal.render_plan(
        PLAN._replace(
            blocks=(64, 192),
            unit="household",
            records_per_patient=(1, 1),
            num_audited=5912,
            detection_limit=None,
            seconds=None,
            timing="",
            gigabytes=None,
            note="continues: 40 of 128 groups are on disk",
        )
    )
    flat = " ".join(text.split())
    assert "256 x MLP" in flat
    many = terminal.render_plan(PLAN._replace(task="multilabel", num_classes=14))
    assert "14 labels" in " ".join(many.split())
    assert "every household in exactly half of each block (64 + 192)" in flat
    assert "(1 each), 2 classes; all audited models" in flat
    assert "too few models to prove anything about single patients: 20 needed" in flat
    assert "time unknown precision" in flat
    assert "runs/r (continues: 40 of 128 groups are on disk)" in flat
    few = PLAN._replace(detection_limit=0.88, models_for_exposed=208)
    flat = " ".join(terminal.render_plan(few).split())
    assert ".88 or more is found with 80% probability, .70 with 208 models" in flat
    bernoulli = terminal.render_plan(PLAN._replace(design="bernoulli"))
    flat = " ".join(bernoulli.split())
    assert "every patient in about half of them, drawn by coin" in flat
    given = terminal.render_plan(PLAN._replace(epochs=None))
    assert "512 models trained elsewhere\n" in given


def test_result_golden():
    assert terminal.render_result(SUMMARY, OUTPUT) == RESULT_TEXT


def test_result_without_what_is_optional():
    unknown = {"tpr_at_fpr": {"0.01": None}, "tpr_at_fpr_band": {}}
    summary = SUMMARY | {
        "attacks": [ATTACK | unknown | {"worst_patient": None}],
        "groups_title": "",
        "train": None,
        "metrics": SUMMARY["metrics"] | {"test": None},
        "null_check": {"num_proven": 3, "num_patients": 50, "num_permutations": 1},
    }
    text = terminal.render_result(summary, terminal.Output("out"))
    assert "not reported" in text and "- (-)" in text
    assert "3 of 50 proven on permuted masks: by chance in about 5 of 100" in text
    for word in ("groups", "next", "report  ", "test", "None", "nan"):
        assert word not in text
    elsewhere = terminal.render_result(SUMMARY | {"metrics": {}}, OUTPUT)
    assert "accuracy" not in elsewhere
    public = terminal.render_result(SUMMARY, OUTPUT._replace(public_report="p.html"))
    assert re.search(r"share +p.html +no individual rows", public)


def test_every_attack_has_its_row():
    named = ATTACK | {"name": "rmia", "label": "rmia (offline)", "num_proven": 7}
    text = terminal.render_result(SUMMARY | {"attacks": [ATTACK, named]}, OUTPUT)
    rows = text.split("\n\n")[1].splitlines()
    assert rows[2] == "rmia (offline)"
    assert rows[3].split()[:2] == [".542", "1.7%"] and "7 (892)" in rows[3]
    assert rows[3].index(".542") == rows[1].index(".542")


def test_agreement_of_attacks_is_told():
    row = {"a": "lira", "b": "rmia", "num_top": 47, "jaccard": 0.62}
    text = terminal.render_result(SUMMARY | {"agreement": [row]}, OUTPUT)
    assert "lira and rmia share 77 % of their 47 most exposed patients" in text


def test_next_step_reaches_what_can_prove_something():
    few = SUMMARY | {"num_models": 8, "models_needed": 21}
    assert "num_models=22 keeps the first 8" in terminal.render_result(few, OUTPUT)


def test_numbers():
    numbers = {0.5083: ".51", 1.0: "1.00", 0.0: ".00", 0.9991: ">.99", None: "-"}
    assert {value: terminal.number(value) for value in numbers} == numbers
    shares = {0.0174: "1.7", 0.00034: "0.03", 0.42: "42", 0.0996: "10", 0.0: "0.0"}
    assert {value: terminal.percent(value) for value in shares} == shares
    times = {0.2: "1 s", 40: "40 s", 165: "3 min", 7800: "2 h 10 min", 10800: "3 h"}
    times |= {5390: "1 h 30 min", 259200: "3 days"}
    assert {value: terminal.duration(value) for value in times} == times
