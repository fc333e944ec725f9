"""What was attacked, by whom, and where the numbers come from."""

from typing import Any

from mia_jax.report import contents, tables_attacks, words

_ATTACKS = {
    "lira": "likelihood-ratio attack (LiRA)",
    "rmia": "robust attack against a population (RMIA)",
    "base": "likelihood-ratio attack against the mean of all models (BASE)",
    "loss": "threshold on the loss",
    "reference": "loss against reference models",
    "quantile": "quantile regression of the loss",
}
_DEFENCES = {"plain": "None (no differential privacy)"}
_ELSEWHERE = "Not known: the models were trained elsewhere"


def _options(plugin: dict[str, Any] | None) -> str:
    """The settings of a plug-in: "widths=[128, 128], dropout=0.0"."""
    options = (plugin or {}).get("options") or {}
    return ", ".join(f"{name}={value}" for name, value in options.items())


def _named(plugin: dict[str, Any], names: dict[str, str]) -> str:
    name = names.get(plugin["name"], plugin["name"])
    return f"{name}; {_options(plugin)}" if _options(plugin) else name


def protection(summary: dict[str, Any]) -> str:
    """How the models were protected, with the guarantee if there is one."""
    defence = summary.get("defence")
    if not defence:
        return _ELSEWHERE
    name = _named(defence, _DEFENCES)
    if not defence.get("guarantee"):
        return name
    found = defence["guarantee"]
    parts = [
        f"{key} {_rounded(found[key])}"
        for key in ("unit", "epsilon", "delta")
        if key in found
    ]
    return f"{name}: {', '.join(parts)}"


def _rounded(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def guarantee(defence: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Terms of a guarantee: unit, epsilon, delta and whatever else it states."""
    found = (defence or {}).get("guarantee") or {}
    return [
        (key.replace("_", " ").capitalize(), _rounded(value))
        for key, value in found.items()
    ]


def setup(data: contents.ReportData) -> list[tuple[str, str]]:
    """Term and description of what was attacked."""
    s = data.summary
    count = words.count
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
        *_attack_rows(data),
        ("Protection", protection(s)),
    ]


def _attack_rows(data: contents.ReportData) -> list[tuple[str, str]]:
    """Every attack with its settings, and the test that patients are proven by."""
    s, found = data.summary, tables_attacks.of(data)
    texts = []
    for place, attack in enumerate(found):
        text = _named(attack, _ATTACKS)
        # A label that says no more than the name would only repeat it.
        is_plain = attack["label"] == attack["name"] and attack["name"] in _ATTACKS
        start = text[:1].upper() + text[1:]
        texts.append(start if is_plain else f"{attack['label']}: {text}")
        if place == 0 and len(found) > 1:
            texts[0] += " (first: headline and figures)"
    rows = [
        (
            "Attack" if len(found) < 2 else "Attacks",
            f"{'. '.join(texts)}. A patient's records are joined.",
        )
    ]
    if s.get("patient_test"):
        mean = s.get("model_mean")
        level = f"; mean of every model {mean}" if mean else ""
        rows.append(("Patient test", f"Exact {s['patient_test']} test{level}."))
    return rows


def provenance(s: dict[str, Any]) -> list[tuple[str, str]]:
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
            f"{stage} {words.seconds(value)}"
            for stage, value in parts.items()
            # Would differ each time the same report is written.
            if stage != "report"
        ),
        "Training": ", ".join(f"{k}={v}" for k, v in (s.get("train") or {}).items()),
    }
    return [(k, str(v)) for k, v in rows.items() if v not in (None, "")]


def _listed(blocks: list[int] | None) -> str:
    return ", ".join(map(str, blocks)) if blocks else "unknown size"
