"""Section titles, alternative texts and sentences, generated from numbers."""

import datetime
import re
from typing import NamedTuple

import numpy as np
import scipy.stats

from mia_jax.report import (
    contents,
    figures_groups,
    figures_models,
    words,
)

_SENTENCE = re.compile(r"(?<=\.) (?=[A-Z])")
_SUBJECT = re.compile(
    r"(?:about |fewer than )?[\d,]+ of (?:[\d,]+ patients|[\d,]+)"
    r"|(?:Most|All [\d,]+) patients"
)
_MIN_COLUMN = 30  # patients; medians of fewer are noise


_MONTHS = (  # not by strftime: names would follow the locale
    *("January", "February", "March", "April", "May", "June", "July", "August"),
    *("September", "October", "November", "December"),
)


def date(text: str | None) -> str:
    """ "2026-11-25" -> "25 November 2026"; anything else as it is."""
    try:
        day = datetime.date.fromisoformat(text or "")
    except ValueError:
        return text or "no date"
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


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
    share = data.share_above(0.7)
    if data.num_proven == 0:
        return "No patient is proven to lie outside what chance explains"
    if words.is_few(share):
        return "Fewer than 5 patients lie above 70 in 100"
    if share is None:
        return "Some patients are proven recognisable"
    measured = round(share * data.num_patients)
    high = max(round(_null_high(data, 0.7) * data.num_patients), _by_chance(data))
    if measured > high:
        be = "patient lies" if measured == 1 else "patients lie"
        gives = f"at most {high:,}" if high else "none"
        return f"{measured:,} {be} above 70 in 100, where chance alone gives {gives}"
    return "Some patients are proven recognisable, but weakly"


def _null_high(data: contents.ReportData, level: float) -> float:
    curve = data.curves["survival"]
    return float(curve["null_high"].iloc[int(np.argmin(np.abs(curve["auc"] - level)))])


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
    if len(table) == 1 and table["num_patients"].iloc[0] == data.num_patients:
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
    median, top = words.times(quantiles.get("0.5")), _highest(data)
    count, proven = words.count(data.num_patients), words.number_of(data.num_proven)
    endpoint = figures_groups.endpoint(data).sentence
    return {
        "overview": (
            f"Histogram of {count} patients by how often the attacker is right: median "
            f"{median}, {top} times in 100, beside the shape expected if nothing "
            f"leaked; {proven} proven patients apart."
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
        "groups": (
            f"Every group with {endpoint}, raw and adjusted. {groups_title(data)}."
        ),
        "usefulness": (
            "Accuracy and AUROC on trained-on, left-out and test patients. "
            f"{usefulness_title(data)}."
        ),
        "precision": (
            "Detection limit and half width of one patient's interval by number of "
            f"models. {precision_title(data)}."
        ),
    }


def _highest(data: contents.ReportData) -> str:
    """The highest patient, or the highest quantile that may be shown."""
    quantiles = data.summary["patient_auc_quantiles"]
    if "1" in quantiles:
        return f"highest {words.times(quantiles['1'])}"
    if data.top_quantile is None:
        return "highest not shown"
    q, auc = data.top_quantile
    return f"{percentile(q)} {words.times(auc)}"


def percentile(q: float) -> str:
    """.999 -> "99.9th percentile"."""
    return f"{100 * q:g}th percentile"


def precision_title(data: contents.ReportData) -> str:
    limit = data.summary["detection_limit"]
    if words.is_missing(limit):
        return "With so few models no leak is found reliably"
    times = words.limit(limit)
    return (
        f"A patient recognised {times} times in 100 would be found, a weaker leak not"
    )


def protection_title(data: contents.ReportData) -> str:
    """What the guarantee of the defence left to be seen."""
    if (data.summary.get("violation") or {}).get("is_violated"):
        return "The guarantee is broken: the training has a bug"
    if data.num_proven == 0:
        return "Under the guarantee no patient is proven recognisable"
    who = words.number_of(data.num_proven)
    return f"Despite the guarantee {who} of {words.count(data.num_patients)} are proven"
