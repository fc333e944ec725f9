"""The page: one file without scripts, fonts or addresses from elsewhere.

Everything is readable and printable without scripts; the one inside adds a read-out and
sorting. The content security policy forbids loading anything.
"""

import datetime
import pathlib
import re
from typing import Any

import jinja2
import markupsafe

from mia_jax.report import contents, figures, findings, tables, tables_patients, tiles
from mia_jax.report import words as word_forms

_TEMPLATES = pathlib.Path(__file__).parent / "templates"
_UNIT = re.compile(r"(?<=\d) (?=%)")
_ATTACKS = {"lira": "Likelihood-ratio attack (LiRA)"}
_DEFENCES = {"plain": "None (no differential privacy)"}
_ELSEWHERE = "Not known: the models were trained elsewhere"


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
    pairs = figures.for_page(data)
    sections = _sections(data)
    return {
        "s": summary,
        "title": summary.get("title") or "Predictions",
        "date": _date(summary.get("date")),
        "lead": findings.lead(summary["headline"]),
        "tone": "quiet" if summary["headline_case"] in ("none", "underpowered") else "",
        "tiles": tiles.make(data),
        "figures": pairs,
        "alt": findings.alternatives(data),
        "sections": sections,
        "number": {name: i for i, (name, _, _) in enumerate(sections, 1)},
        "heading": {name: title for name, _, title in sections},
        "tables": _tables(data),
        "setup": _setup(data),
        "overview_caption": findings.overview_caption(data),
        "null_check": findings.null_check(data),
        "max_record": findings.max_record(data),
        "provenance": _provenance(summary),
        "has_rows": data.most_exposed is not None,
        "words": word_forms,
        "json": markupsafe.Markup(contents.to_json(data)),
    }


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
    if data.most_exposed is not None:
        sections.append(("top", "Most exposed", findings.exposed_title(data)))
    sections.append(("method", "Method and limits", "What this report cannot say"))
    sections.append(("words", "Glossary", "The words used here"))
    return sections


def _tables(data: contents.ReportData) -> dict[str, tables.Table | None]:
    found = {
        "overview": tables.overview(data),
        "roc": tables.roc(data),
        "survival": tables.survival(data),
        "records": tables.num_records(data),
        "max_record": tables.max_record(data),
        "groups": tables.groups(data),
        "usefulness": tables.usefulness(data),
        "composition": tables_patients.composition(data),
    }
    if data.most_exposed is not None:
        found["top"] = tables_patients.most_exposed(data)
    return found


def _date(text: str | None) -> str:
    """ "2026-11-25" -> "25 November 2026"; anything else as it is."""
    try:
        day = datetime.date.fromisoformat(text or "")
    except ValueError:
        return text or "no date"
    # Not by strftime: month names would follow the locale.
    months = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ]
    return f"{day.day} {months[day.month - 1]} {day.year}"


def _options(plugin: dict[str, Any] | None) -> str:
    """The settings of a plug-in: "widths=[128, 128], dropout=0.0"."""
    options = (plugin or {}).get("options") or {}
    return ", ".join(f"{name}={value}" for name, value in options.items())


def _named(plugin: dict[str, Any], names: dict[str, str]) -> str:
    name = names.get(plugin["name"], plugin["name"])
    return f"{name}; {_options(plugin)}" if _options(plugin) else name


def _protection(defence: dict[str, Any] | None) -> str:
    if not defence:
        return _ELSEWHERE
    name = _named(defence, _DEFENCES)
    if not defence.get("guarantee"):
        return name
    parts = [f"{key} {value}" for key, value in defence["guarantee"].items()]
    return f"{name}: {', '.join(parts)}"


def _setup(data: contents.ReportData) -> list[tuple[str, str]]:
    """Term and description of what was attacked."""
    s = data.summary
    count = word_forms.count
    models = "1 model" if s["num_models"] == 1 else f"{count(s['num_models'])} models"
    model = _named(s["model"], {}) if s.get("model") else _ELSEWHERE
    held_out = s.get("num_test_patients")
    test = (
        f", {count(held_out)} more were held out from every model" if held_out else ""
    )
    drawn = "" if s.get("unit", "patient") == "patient" else f" (by {s['unit']})"
    return [
        ("Model", f"{model}; {s.get('task', '')} task. {models} of the same kind."),
        (
            "Data",
            f"{count(s['num_records'])} records of {count(s['num_patients'])} "
            f"patients{test}. The patient is audited{drawn}, with all records.",
        ),
        (
            "Attacker",
            "Holds the patient's complete records, can query the model, and can train "
            f"{count(max(s['num_models'] - 1, 0))} similar models on similar patients. "
            "Stronger than most real attackers.",
        ),
        ("Attack", f"{_named(s['attack'], _ATTACKS)}. A patient's records are joined."),
        ("Protection", _protection(s.get("defence"))),
    ]


def _provenance(s: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the numbers come from; what is not known is left out."""
    versions = s.get("versions") or {}
    parts = s.get("wall_seconds") or {}
    rows = {
        "Data set": s.get("dataset"),
        "Data fingerprint": s.get("data_fingerprint"),
        "Models": f"{s['num_models']}, in blocks of {_listed(s.get('blocks'))}",
        "Member masks": s.get("mask_design"),
        "Seed": s.get("seed"),
        "Code": s.get("code"),
        "Versions": ", ".join(f"{k} {v}" for k, v in versions.items() if v),
        "Device": s.get("device"),
        "Wall time": ", ".join(
            f"{stage} {word_forms.seconds(value)}"
            for stage, value in parts.items()
            # Would differ each time the same report is written.
            if stage != "report"
        ),
        "Training": ", ".join(f"{k}={v}" for k, v in (s.get("train") or {}).items()),
    }
    return [(k, str(v)) for k, v in rows.items() if v not in (None, "")]


def _listed(blocks: list[int] | None) -> str:
    return ", ".join(map(str, blocks)) if blocks else "unknown size"
