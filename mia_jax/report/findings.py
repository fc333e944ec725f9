"""Section titles, alternative texts and sentences, generated from numbers."""

import re
from typing import NamedTuple

import numpy as np
import scipy.stats

from mia_jax.report import (
    contents,
    figures_groups,
    figures_models,
    figures_patients,
    words,
)

_SENTENCE = re.compile(r"(?<=\.) (?=[A-Z])")
_SUBJECT = re.compile(
    r"(?:about )?[\d,]+ of (?:[\d,]+ patients|[\d,]+)|(?:Most|All [\d,]+) patients"
)
_MIN_COLUMN = 30  # patients; medians of fewer are noise


class Lead(NamedTuple):
    """A headline, cut for the page: before + subject + after, then the rest."""

    before: str
    subject: str
    after: str
    rest: str


def lead(headline: str) -> Lead:
    """The first sentence with its subject, "335 of 4,730 patients", and the rest."""
    first, *rest = _SENTENCE.split(headline, maxsplit=1)
    found = _SUBJECT.search(first)
    start, end = found.span() if found else (0, 0)
    return Lead(first[:start], first[start:end], first[end:], " ".join(rest))


def overall_title(data: contents.ReportData) -> str:
    summary = data.summary
    hits = (summary.get("tpr_at_fpr") or {}).get("0.01")
    auc = summary.get("aggregate_auc")
    if words.is_missing(hits):
        start = f"All records together: right {words.times(auc)} times in 100"
    else:
        start = f"On average: {words.percent(hits)} hits at 1 % false alarms"
    return f"{start}; averages hide single patients" if data.num_proven else start


def risk_title(data: contents.ReportData) -> str:
    """What is measured above 70 in 100, beside what chance gives there."""
    curve = data.curves["survival"]
    row = curve.iloc[int(np.argmin(np.abs(curve["auc"] - 0.7)))]
    measured = round(row["share"] * data.num_patients)
    high = max(round(row["null_high"] * data.num_patients), _by_chance(data))
    if data.num_proven == 0:
        return "No patient is proven to lie outside what chance explains"
    if measured > high:
        be = "patient lies" if measured == 1 else "patients lie"
        gives = f"at most {high:,}" if high else "none"
        return f"{measured:,} {be} above 70 in 100, where chance alone gives {gives}"
    return "Some patients are proven recognisable, but weakly"


def _by_chance(data: contents.ReportData) -> int:
    """Patients above 70 in 100 that chance alone exceeds once in 200 cohorts.

    One permutation of few patients may show none where the normal law expects some.
    """
    sd = data.summary["precision"]["sd_at_half"]
    share = scipy.stats.norm.sf(0.2 / sd)
    return int(scipy.stats.binom.ppf(0.995, data.num_patients, share))


def records_title(data: contents.ReportData) -> str:
    """Whether the typical patient's risk goes with the number of records."""
    table = data.curves["by_num_records"]
    known = table[table["num_patients"] >= _MIN_COLUMN]
    if len(table) == 1:
        return f"Every patient has {_records(table.iloc[0])}"
    if len(known) < 2:
        return "Too few patients to compare numbers of records"
    first, last = known.iloc[0], known.iloc[-1]
    difference = last["q50"] - first["q50"]
    pair = (
        f"{words.times(first['q50'])} in 100 with {_records(first)}, "
        f"{words.times(last['q50'])} with {last['num_records']}"
    )
    # A hundredth less would print as the same number.
    if abs(difference) < max(2 * _median_error(first, last), 0.01):
        return f"The typical risk hardly differs with the number of records: {pair}"
    kind = "More" if difference > 0 else "Fewer"
    return f"{kind} records, more risk for the typical patient: {pair}"


def _records(row) -> str:
    """Number of records with its noun: "1 record", "5-9 records"."""
    label = str(row["num_records"])
    return "1 record" if label == "1" else f"{label} records"


def _median_error(*rows) -> float:
    """Standard error of a difference of medians, from normal quartiles."""
    errors = [
        1.2533 * (row["q75"] - row["q25"]) / 1.349 / np.sqrt(row["num_patients"])
        for row in rows
    ]
    return float(np.hypot(*errors))


def groups_title(data: contents.ReportData) -> str:
    if data.groups.empty:
        return "Groups were not compared"
    return data.summary["groups_title"]


def usefulness_title(data: contents.ReportData) -> str:
    """The gap between members and others that an attack lives on."""
    metrics = data.summary.get("metrics") or {}
    for metric, name in (("accuracy", "accuracy"), ("auroc", "AUROC")):
        known = figures_models.known_sets(data, metric)
        if not {"members", "left_out"} <= set(known):
            continue
        inside, outside = (metrics[s][metric] for s in ("members", "left_out"))
        gap = f"{name} {100 * inside:.1f} v {100 * outside:.1f} %"
        if inside - outside >= 0.005:
            return f"The models know the patients they were trained on better: {gap}"
        return f"The models serve trained-on and left-out patients alike: {gap}"
    return "How useful the models are was not measured"


def exposed_title(data: contents.ReportData) -> str:
    shown = len(data.most_exposed)
    proven = int(data.most_exposed["is_proven"].sum())
    if shown == 1:
        return "The only patient"
    kind = (
        "none is" if proven == 0 else "all are" if proven == shown else f"{proven} are"
    )
    return f"Of the {shown} patients with the highest numbers, {kind} proven"


def alternatives(data: contents.ReportData) -> dict[str, str]:
    """Figure name -> what it shows, in one sentence for those who cannot see it."""
    summary, quantiles = data.summary, data.summary["patient_auc_quantiles"]
    median, top = words.times(quantiles["0.5"]), words.times(quantiles["1"])
    count = words.count(data.num_patients)
    endpoint = (
        "the relative risk of being proven"
        if figures_groups.uses_relative_risk(data)
        else "the share above 70 in 100 and the difference of the mean"
    )
    return {
        "overview": (
            f"Histogram of {count} patients by how often the attacker is right: median "
            f"{median}, highest {top} times in 100, beside the shape expected if "
            f"nothing leaked; {words.count(data.num_proven)} proven patients apart."
        ),
        "roc": (
            "Hit rate against false-alarm rate of the attack over all records, log "
            f"axes; the area below is {words.times(summary['aggregate_auc'])} in 100."
        ),
        "survival": (
            "Share of patients above a level of risk, log axis, with the 99 % range "
            f"if nothing leaked. {risk_title(data)}."
        ),
        "records": f"Patients' risk by number of records. {records_title(data)}.",
        "groups": f"Every group with {endpoint}. {groups_title(data)}.",
        "usefulness": (
            "Accuracy and AUROC on trained-on, left-out and test patients. "
            f"{usefulness_title(data)}."
        ),
    }


def overview_caption(data: contents.ReportData) -> str:
    """What the first picture shows and, if so, what it leaves out."""
    text = (
        "Grey: all patients, by how often the attacker is right whether a model was "
        "trained with or without them. Dashed: what chance alone gives."
    )
    if data.num_proven:
        fdr = words.percent(data.summary["fdr"])
        text += f" Red: proven patients (false-discovery rate {fdr})."
    low, expected = figures_patients.left_out(data)
    if low or expected:
        text += (
            f" Not drawn: {low:,} below {figures_patients.LEFT} in 100 "
            f"({expected:,} by chance), a sign of noise, not of protection."
        )
    return text


def null_check(data: contents.ReportData) -> str:
    """The audit's own control: the same test where nothing can leak."""
    null = data.summary["null_check"]
    text = (
        f"Null check: {words.count(null['num_proven'])} of "
        f"{words.count(null['num_patients'])} proven on permuted masks"
    )
    mean = null.get("mean_auc")
    if words.is_missing(mean):
        return f"{text}."
    return f"{text}; mean {100 * mean:.1f} times in 100 (50 expected)."


def max_record(data: contents.ReportData) -> str:
    """The published maximum over records beside its no-leak null, named as biased."""
    found = data.summary["max_record"]
    if words.is_missing(found.get("mean")) or words.is_missing(found.get("null_mean")):
        return "The maximum over records was not measured."
    return (
        "Published work often reports a patient's riskiest record. That maximum is "
        f"biased upwards: here it averages {100 * found['mean']:.1f} times in 100, but "
        f"{100 * found['null_mean']:.1f} even where nothing can leak, and patients "
        "with more records get larger ones by chance. This report does not use it."
    )
