"""What a run says in words: the plan before it starts, the result when it ends.

Both are plain text of at most 80 columns without control characters, so they read the
same in a terminal, a pipe and a job's log. The plan belongs on stderr, the result on
stdout.
"""

import math
import textwrap
from typing import Any, NamedTuple

WIDTH = 80  # columns; the narrowest terminal in common use
_NAME_WIDTH = 10  # of an attack; longer ones get a line of their own


class Plan(NamedTuple):
    """What a run is about to do.

    Attributes:
      program: versions and devices, e.g. "mia_jax 0.1.0 (a1b2c3d), JAX 0.10.2, 1 cpu
        device".
      title: name of the cohort.
      num_records, num_patients: size of the whole cohort.
      num_audited: patients in the pool that masks are drawn over; the rest is the test
        set.
      records_per_patient: fewest and most records of one patient.
      num_classes: classes of the label; for "multilabel" the number of labels.
      task: "binary", "multiclass" or "multilabel".
      blocks: number of models of each block of masks, in the order of their making.
      model: description, e.g. "MLP (3 x 128)".
      epochs: passes over the members; None = trained elsewhere.
      design: "balanced" (every unit in exactly half of each block) or "bernoulli".
      unit: what masks are drawn over: "patient" or "household".
      defence: description, e.g. "plain (no differential privacy)".
      attacks: names of the attacks.
      statistic: description, e.g. "logit-scaled confidence".
      seconds: expected time of the whole run; None = unknown.
      timing: how `seconds` is known, e.g. "measured on one group of 16".
      gigabytes, total_gigabytes: memory needed and present; None = unknown.
      half_width: of the 95% interval of one patient's AUC at .5.
      detection_limit: smallest AUC of one patient that is found with 80 % power; None
        = these models cannot prove anything.
      models_needed: smallest number of models that can prove anything.
      models_for_exposed: models that would find an AUC of .7; None = these do.
      workdir: folder that is written to.
      note: state of that folder, e.g. "continues: 40 of 128 groups are on disk".
    """

    program: str
    title: str
    num_records: int
    num_patients: int
    num_audited: int
    records_per_patient: tuple[int, int]
    num_classes: int
    task: str
    blocks: tuple[int, ...]
    model: str
    epochs: float | None
    design: str
    unit: str
    defence: str
    attacks: tuple[str, ...]
    statistic: str
    seconds: float | None
    timing: str
    gigabytes: float | None
    total_gigabytes: float | None
    half_width: float
    detection_limit: float | None
    models_needed: int
    models_for_exposed: int | None
    workdir: str
    note: str = "new folder"


class Output(NamedTuple):
    """Where a finished run lies.

    Attributes:
      workdir: its folder.
      report: path of the report; None = not written.
      report_megabytes: size of the report.
      public_report: path of the report without patient rows; None = not written.
    """

    workdir: str
    report: str | None = None
    report_megabytes: float = 0.0
    public_report: str | None = None


def render_plan(plan: Plan) -> str:
    """The plan as text: what, how long, how much memory, how precise, where to."""
    rows = [
        ("data", _data(plan)),
        ("models", _models(plan)),
        ("defence", plan.defence),
        ("attacks", f"{', '.join(plan.attacks)}; statistic: {plan.statistic}"),
        ("time", _cost(plan)),
        ("precision", _precision(plan)),
        ("writes", f"{plan.workdir} ({plan.note})"),
    ]
    lines = [_row(label, text, indent=2) for label, text in rows]
    return "\n".join([plan.program, "Plan", *lines]) + "\n"


def render_result(summary: dict[str, Any], output: Output) -> str:
    """The result as text.

    Args:
      summary: what summary.json holds (schema "mia_jax.summary/2").
      output: where the files of the run lie.
    """
    blocks = [
        textwrap.fill(f"{summary['headline']} {summary['headline_detail']}", WIDTH),
        "\n".join([*_attack_table(summary), *_findings(summary)]),
        "\n".join(_files(summary, output)),
    ]
    return "\n\n".join(blocks) + "\n"


def number(value: float | None, digits: int = 2) -> str:
    """An AUC or accuracy without its leading zero: .508; "-" where there is none."""
    if value is None:
        return "-"
    text = f"{value:.{digits}f}"
    if value < 1.0 <= float(text):  # certainty is never printed for less
        return f">.{'9' * digits}"
    return text[1:] if text.startswith("0.") else text


def percent(share: float) -> str:
    """A share in percent, two significant digits below 10 %: 1.7, 0.03, 42."""
    value = 100.0 * share
    digits = 0 if value >= 9.95 else 1 if value >= 0.095 or value == 0.0 else 2
    return f"{value:.{digits}f}"


def duration(seconds: float) -> str:
    """A rough time in words: "40 s", "3 min", "2 h 10 min", "3 days"."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        # Nobody needs single minutes of a run of hours.
        hours, rest = divmod(5 * round(minutes / 5), 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{round(minutes / (24 * 60))} days"


def _row(label: str, text: str, indent: int = 0) -> str:
    """A label and its text, wrapped with a hanging indent."""
    head = " " * indent + f"{label:<10}"
    # A path or a command must stay in one piece to be copied.
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _data(plan: Plan) -> str:
    low, high = plan.records_per_patient
    each = f"{low}" if low == high else f"{low} to {high}"
    held_out = plan.num_patients - plan.num_audited
    kind = "labels" if plan.task == "multilabel" else "classes"
    pool = f"{plan.num_audited:,} audited" if held_out else "all audited"
    test = f", {held_out:,} held out as test" if held_out else ""
    return (
        f"{plan.title}: {plan.num_records:,} records of {plan.num_patients:,} patients "
        f"({each} each), {plan.num_classes} {kind}; {pool}{test}"
    )


def _models(plan: Plan) -> str:
    num_models = sum(plan.blocks)
    if plan.epochs is None:
        return f"{num_models:,} models trained elsewhere"
    head = f"{num_models:,} x {plan.model}, {plan.epochs:g} epochs"
    return f"{head}; every {plan.unit} in {_membership(plan)}"


def _membership(plan: Plan) -> str:
    if plan.design != "balanced":
        return "about half of them, drawn by coin"
    if len(plan.blocks) == 1:
        return f"exactly {plan.blocks[0] // 2:,}"
    sizes = " + ".join(f"{size:,}" for size in plan.blocks)
    return f"exactly half of each block ({sizes})"


def _cost(plan: Plan) -> str:
    time = "unknown" if plan.seconds is None else f"about {duration(plan.seconds)}"
    time += f" ({plan.timing})" if plan.timing else ""
    if plan.gigabytes is None or plan.total_gigabytes is None:
        return time
    return f"{time}; memory {plan.gigabytes:.1f} of {plan.total_gigabytes:.0f} GB"


def _precision(plan: Plan) -> str:
    head = f"patient AUC +- {number(plan.half_width)} (95%)"
    if plan.detection_limit is None:
        return (
            f"{head}; too few models to prove anything about single patients: "
            f"{plan.models_needed:,} needed"
        )
    text = (
        f"{head}; {number(plan.detection_limit)} or more is found with 80% probability"
    )
    if plan.models_for_exposed is None:
        return text
    return f"{text}, .70 with {plan.models_for_exposed:,} models"


def _attack_table(summary: dict[str, Any]) -> list[str]:
    titles = ("attack", "AUC", "TPR at 1% FPR", "proven (one by one)")
    lines = [_cells(*titles, "worst patient (at least)")]
    for attack in summary["attacks"]:
        label = attack["label"]
        if len(label) >= _NAME_WIDTH:
            lines.append(label)
            label = ""
        proven = f"{attack['num_proven']:,} ({attack['num_proven_holm']:,})"
        auc = number(attack["aggregate_auc"], 3)
        lines.append(_cells(label, auc, _tpr(attack), proven, _worst(attack)))
    return lines


def _cells(name: str, auc: str, tpr: str, proven: str, worst: str) -> str:
    return f"{name:<{_NAME_WIDTH}}{auc:<8}{tpr:<18}{proven:<21}{worst}".rstrip()


def _worst(attack: dict[str, Any]) -> str:
    worst = attack["worst_patient"] or {"auc": None, "lower_limit": None}
    limit = worst["lower_limit"]
    at_least = None if limit is None else math.floor(100 * limit) / 100
    return f"{number(worst['auc'])} ({number(at_least)})"


def _tpr(attack: dict[str, Any]) -> str:
    """True-positive rate at 1 % with its band; too few non-members: not reported."""
    value = attack["tpr_at_fpr"].get("0.01")
    if value is None:
        return "not reported"
    band = attack["tpr_at_fpr_band"].get("0.01")
    if not band or None in band:
        return f"{percent(value)}%"
    return f"{percent(value)}% ({percent(band[0])}-{percent(band[1])})"


def _findings(summary: dict[str, Any]) -> list[str]:
    rows = [
        ("null check", _null_check(summary)),
        *(("agreement", _agreement(row)) for row in _with_first(summary)),
        ("guarantee", _guarantee(summary)),
        ("groups", summary["groups_title"]),
        ("accuracy", _accuracy(summary)),  # unknown for models trained elsewhere
    ]
    return [_row(label, f" {text}") for label, text in rows if text]


def _null_check(summary: dict[str, Any]) -> str:
    check = summary["null_check"]
    text = f"{check['num_proven']:,} of {check['num_patients']:,} proven"
    text += " on permuted masks"
    if not check["num_proven"]:
        return text
    # Benjamini-Hochberg without any leak proves one or more with probability fdr.
    return f"{text}: by chance in about {100 * summary['fdr']:g} of 100 audits"


def _with_first(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Agreement of the first attack with each other one."""
    first = summary["attacks"][0]["label"]
    return [row for row in summary.get("agreement", ()) if row["a"] == first]


def _agreement(row: dict[str, Any]) -> str:
    """Of two sets of equal size with Jaccard index J, 2 J / (1 + J) is in both."""
    shared = 2.0 * row["jaccard"] / (1.0 + row["jaccard"])
    pair = f"{row['a']} and {row['b']} share {percent(shared)} %"
    return f"{pair} of their {row['num_top']:,} most exposed patients"


def _guarantee(summary: dict[str, Any]) -> str | None:
    """What was promised, and whether the attack kept below it."""
    promised = (summary.get("defence") or {}).get("guarantee")
    if not promised:
        return None
    text = f"epsilon {promised['epsilon']:.3g}, delta {promised['delta']:g}, for every "
    text += promised["unit"]
    if summary.get("ceiling"):
        text += f"; no attack exceeds AUC {number(summary['ceiling']['auc'])}"
    checked = summary.get("violation")
    if not checked:
        return text
    return f"{text}; {'BROKEN: a bug' if checked['is_violated'] else 'kept'}"


def _accuracy(summary: dict[str, Any]) -> str:
    names = (("members", "members"), ("left_out", "left out"), ("test", "test"))
    shown = [
        f"{title} {number(summary['metrics'][name]['accuracy'], 3)}"
        for name, title in names
        if summary["metrics"].get(name)
    ]
    return ", ".join(shown)


def _files(summary: dict[str, Any], output: Output) -> list[str]:
    workdir = output.workdir
    rows = []
    if output.report:
        size = f"{output.report_megabytes:.1f} MB"
        rows.append(("report", output.report, f"CONFIDENTIAL, {size}"))
    if output.public_report:
        rows.append(("share", output.public_report, "no individual rows"))
    load = f'mia_jax.results.load("{workdir}")'
    rows.append(("tables", f"{workdir}/tables/*.csv", load))
    width = max(len(path) for _, path, _ in rows)
    lines = [f"{label:<11}{path:<{width}}  {note}" for label, path, note in rows]
    return lines + _next_step(summary)


def _next_step(summary: dict[str, Any]) -> list[str]:
    """How to sharpen the result; nothing if the models were trained elsewhere."""
    if not summary.get("train"):
        return []
    num_models = summary["num_models"]
    more = max(2 * num_models, 2 * ((summary["models_needed"] + 1) // 2))
    return [
        f"{'next':<11}--config.train.num_models={more} keeps the first {num_models}"
    ]
