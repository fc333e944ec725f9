"""The three numbers of the first screen: exposed, typical and worst patient."""

import math
from typing import NamedTuple

import scipy.special

from mia_jax.report import contents, findings, words


class Tile(NamedTuple):
    """One number: `number` large, `unit` beside it, `label` and `note` below.

    `tone` is "risk", "measured" or "plain": a stripe that repeats what the words say.
    """

    number: str
    unit: str
    label: str
    note: str
    tone: str


def make(data: contents.ReportData) -> tuple[Tile, Tile, Tile]:
    """The tiles, left to right."""
    return _exposed(data), _typical(data), _last(data)


def _last(data: contents.ReportData) -> Tile:
    if not data.num_proven:
        return _detection_limit(data)
    if not data.is_public:
        return _worst(data)
    return _high(data) if data.top_quantile else _detection_limit(data)


def _high(data: contents.ReportData) -> Tile:
    """In place of the worst patient, whom a public report does not show."""
    q, auc = data.top_quantile
    note = f"one patient in {words.count(1 / (1 - q))} lies higher"
    label = f"right guesses, {findings.percentile(q)}"
    return Tile(words.times(auc), "in 100", label, note, "risk")


def _exposed(data: contents.ReportData) -> Tile:
    label = "patients recognised more than 70 times in 100"
    band = data.summary["exposed"].get("0.7", {})
    if words.is_few(band.get("share")):
        unit = f"of {words.count(data.num_patients)}"
        return Tile(words.FEW, unit, label, "noise of measurement removed", "risk")
    if words.is_missing(band.get("share")):
        note = "too few patients or models to estimate"
        return Tile(
            words.DASH, f"of {words.count(data.num_patients)}", label, note, "plain"
        )
    number = band["share"] * data.num_patients
    share, between = words.share_with_band(
        band["share"], band.get("low"), band.get("high")
    )
    unit = f"of {words.count(data.num_patients)} ({share})"
    notes = [f"{between} %"] if between else []
    above = data.summary["exposed"].get("0.9", {}).get("share")
    if words.is_few(above):
        notes.append(f"above 90 in 100: {words.FEW}")
    elif not words.is_missing(above):
        most = above * data.num_patients
        about = f"about {words.about(most, data.num_patients)}"
        notes.append(f"above 90 in 100: {about if round(most) else 'none'}")
    note = "; ".join(notes)
    tone = "risk" if round(number) else "plain"
    return Tile(words.about(number, data.num_patients), unit, label, note, tone)


def _typical(data: contents.ReportData) -> Tile:
    median = data.summary["patient_auc_quantiles"]["0.5"]
    note = f"a coin flip gives 50; {words.number_of(data.num_proven)} proven"
    one_by_one = data.summary["num_proven_holm"]
    if data.num_proven and not words.is_few(data.num_proven) and one_by_one is not None:
        note += f", {words.number_of(one_by_one)} one by one"
    label = "right guesses, typical patient"
    return Tile(words.times(median), "in 100", label, note, "measured")


def _worst(data: contents.ReportData) -> Tile:
    worst = data.summary["worst_patient"]
    low = worst["lower_limit"]
    # Rounded down: "at least" must hold.
    least = math.floor(100 * low + 1e-9) if not words.is_missing(low) else 0
    if least > 50:
        note = f"at least {min(least, 99)} after allowing for chance"
    else:
        note = "chance in so many patients could explain this height"
    label = "right guesses, worst patient"
    return Tile(words.times(worst["auc"]), "in 100", label, note, "risk")


def chance_maximum(data: contents.ReportData) -> float:
    """The AUC that one patient in all is expected to exceed if nothing leaked.

    Normal approximation .5 + sd x Phi^-1(1 - 1/P), sd that of a mask-free AUC.
    """
    sd = data.summary["precision"]["sd_at_half"]
    num_patients = max(data.num_patients, 2)
    return min(0.5 + sd * -scipy.special.ndtri(1 / num_patients), 1.0)


def _detection_limit(data: contents.ReportData) -> Tile:
    limit = data.summary["detection_limit"]
    label = "detection limit for one patient (80 % power)"
    chance = words.times(chance_maximum(data))
    note = f"chance alone reaches {chance}"
    if data.highest is not None:
        note = f"highest seen {words.times(data.highest)}, {note}"
    if words.is_missing(limit):
        return Tile(words.DASH, "", label, "no leak could be found reliably", "plain")
    return Tile(words.limit(limit), "in 100", label, note, "plain")
