"""The page: one file without scripts, fonts or addresses from elsewhere.

Everything is readable and printable without scripts; the one inside adds a read-out and
sorting. The content security policy forbids loading anything.
"""

import pathlib
import re
from typing import Any

import jinja2
import markupsafe

from mia_jax.report import (
    contents,
    data_protection,
    figures,
    figures_survival,
    findings,
    origin,
    protection,
    sentences,
    tables,
    tables_attacks,
    tables_groups,
    tables_patients,
    tiles,
)
from mia_jax.report import words as word_forms

_TEMPLATES = pathlib.Path(__file__).parent / "templates"
_UNIT = re.compile(r"(?<=\d) (?=%)")


def render(data: contents.ReportData) -> str:
    """The page as text; the same every time.

    Args:
      data: what it may show; with `most_exposed` it is marked confidential.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["nb"] = _no_break
    environment.globals["file"] = _file
    template = environment.get_template("report.html.j2")
    return template.render(_context(data))


def _file(name: str) -> markupsafe.Markup:
    """A style sheet or script of ours, to stand inside the page."""
    return markupsafe.Markup((_TEMPLATES / name).read_text(encoding="utf-8"))


def _no_break(text: str) -> str:
    """Keeps "7 %" on one line, and typographic apostrophes."""
    text = re.sub(r"(^|[\s(])'", "\\1\u2018", str(text))
    return _UNIT.sub("\u00a0", text).replace("'", "\u2019")


def _context(data: contents.ReportData) -> dict[str, Any]:
    summary = data.summary
    sections = _sections(data)
    return {
        "s": summary,
        "title": summary.get("title") or "Predictions",
        "date": findings.date(summary.get("date")),
        "lead": findings.lead(summary["headline"]),
        "tone": "quiet" if summary["headline_case"] in ("none", "underpowered") else "",
        "tiles": tiles.make(data),
        "figures": figures.for_page(data),
        "floor": f"{figures_survival.lowest_share(data):.6g}",
        "choices": _choices(data),
        "alt": findings.alternatives(data),
        "sections": sections,
        "number": {name: i for i, (name, _, _) in enumerate(sections, 1)},
        "heading": {name: title for name, _, title in sections},
        "tables": _tables(data),
        "say": _sentences(data),
        "setup": origin.setup(data),
        "guarantee": origin.guarantee(summary.get("defence")),
        "answers": data_protection.answers(data, origin.protection(summary)),
        "provenance": origin.provenance(summary),
        "has_rows": not data.is_public,
        "words": word_forms,
        "json": markupsafe.Markup(contents.to_json(data)),
    }


def _sentences(data: contents.ReportData) -> dict[str, str | None]:
    return {
        "overview": sentences.overview_caption(data),
        "survival": sentences.survival_caption(data),
        "null_check": sentences.null_check(data),
        "max_record": sentences.max_record(data),
        "worst_record": sentences.worst_record(data),
        "gaussian": sentences.gaussian_check(data),
        "stability": sentences.stability(data),
        "attacks": sentences.attacks(data),
        "bound": protection.bound(data.summary),
        "violation": protection.violation(data.summary),
    }


def _choices(data: contents.ReportData) -> dict[str, list[tuple[int, str]]]:
    """Attribute -> place in the data and name of every group with a curve."""
    found: dict[str, list[tuple[int, str]]] = {}
    for place, group in enumerate(contents.group_curves(data)):
        name = f"{group['value']} ({word_forms.count(group['num_patients'])})"
        found.setdefault(group["attribute"], []).append((place, name))
    return found


def _sections(data: contents.ReportData) -> list[tuple[str, str, str]]:
    """Anchor, short name and finding of every section, in order."""
    sections = [
        ("attack", "What was attacked", "What was attacked, and by whom"),
        ("overall", "All together", findings.overall_title(data)),
        ("risk", "Risk of each patient", findings.risk_title(data)),
        ("records", "Number of records", findings.records_title(data)),
        ("groups", "Groups", findings.groups_title(data)),
        ("use", "Usefulness", findings.usefulness_title(data)),
    ]
    if not data.is_public:
        sections.append(("top", "Most exposed", findings.exposed_title(data)))
    if (data.summary.get("defence") or {}).get("guarantee"):
        sections.append(("protection", "Protection", findings.protection_title(data)))
    return [
        *sections,
        ("precision", "Precision", findings.precision_title(data)),
        ("file", "For the data-protection file", "What this audit can answer"),
        ("method", "Limits", "What this report cannot say"),
        ("words", "Glossary", "The words used here"),
    ]


def _tables(data: contents.ReportData) -> dict[str, tables.Table | None]:
    has_groups = not data.groups.empty
    return {
        "overview": tables.overview(data),
        "roc": tables.roc(data),
        "attacks": tables_attacks.attacks(data),
        "thresholds": tables_attacks.thresholds(data),
        "ppv": tables_attacks.ppv(data),
        "agreement": tables_attacks.agreement(data),
        "survival": tables.survival(data),
        "levels": tables_patients.levels(data),
        "rates": tables_patients.rates(data),
        "records": tables.num_records(data),
        "max_record": tables.max_record(data),
        "groups": tables_groups.risk(data) if has_groups else None,
        "groups_mean": tables_groups.mean(data) if has_groups else None,
        "usefulness": tables.usefulness(data),
        "precision": tables_attacks.precision(data),
        "top": None if data.is_public else tables_patients.most_exposed(data),
        "composition": None if data.is_public else tables_groups.composition(data),
    }
