"""Answers for the data-protection file: what was asked, tried and left open.

After EDPB Opinion 28/2024: whether any data subject can be recognised, by means
reasonably likely to be used. The answers are numbers of the run; none of them claims
compliance.
"""

from mia_jax.report import contents, findings, tables_attacks, words

_NOT_TRIED = (
    "Attacks that see weights or gradients, attacks by answers without probabilities, "
    "extraction or reconstruction of records, inference of unknown attributes, and "
    "attackers without the patient's record. A stronger attack of the same kind may "
    "find more."
)


def answers(data: contents.ReportData, protection: str) -> list[tuple[str, str]]:
    """Question and answer, in the order of a data-protection impact assessment.

    Args:
      data: what may be shown.
      protection: how the models were protected.
    """
    return [
        ("Is every data subject covered?", _covered(data)),
        ("What was found?", data.summary["headline"]),
        ("Which attacks, by whom, when?", _attacks(data)),
        ("What was not tried?", _NOT_TRIED),
        ("How small a leak could have been missed?", _missed(data)),
        ("Do groups carry different risk?", _groups(data)),
        ("What mitigates the risk, and at what cost?", _mitigation(data, protection)),
    ]


def _covered(data: contents.ReportData) -> str:
    summary = data.summary
    text = (
        f"Each of the {words.count(data.num_patients)} audited patients was tested one "
        "by one, with all records; no average stands for a patient."
    )
    held_out = summary.get("num_test_patients")
    if held_out:
        text += f" {words.count(held_out)} test patients were never trained on."
    return text


def _attacks(data: contents.ReportData) -> str:
    summary = data.summary
    labels = ", ".join(attack["label"] for attack in tables_attacks.of(data))
    version = (summary.get("versions") or {}).get("mia_jax")
    tool = f"mia_jax {version}" if version else "mia_jax"
    code = f" (code {summary['code']})" if summary.get("code") else ""
    return (
        f"{labels}, against {words.count(summary['num_models'])} models of the same "
        f"kind, with {tool}{code}, {findings.date(summary.get('date'))}. Run by: "
    )


def _missed(data: contents.ReportData) -> str:
    limit = data.summary["detection_limit"]
    if words.is_missing(limit):
        return "Any: with so few models no leak could be found reliably."
    return (
        f"A patient recognised {words.limit(limit)} times in 100 or more would have "
        "been found with 80 % probability; weaker leaks may have been missed."
    )


def _groups(data: contents.ReportData) -> str:
    return f"{findings.groups_title(data)}."


def _mitigation(data: contents.ReportData, protection: str) -> str:
    text = f"{protection}."
    metrics = data.summary.get("metrics") or {}
    for name, place in (("test", "test"), ("left_out", "left-out")):
        accuracy = (metrics.get(name) or {}).get("accuracy")
        if not words.is_missing(accuracy):
            return (
                f"{text} Accuracy on {place} patients {100 * accuracy:.1f} %; the cost "
                "of a protection shows beside a run without it."
            )
    return f"{text} Its cost was not measured."
