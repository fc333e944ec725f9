"""Sentences of the page that are generated from numbers: captions and checks."""

from mia_jax.report import contents, figures_patients, tables_attacks, words


def overview_caption(data: contents.ReportData) -> str:
    """What the first picture shows and, if so, what it leaves out."""
    text = (
        "Grey: all patients, by how often the attacker is right whether a model was "
        "trained with or without them. Dashed: what chance alone gives."
    )
    if figures_patients.proven_bars(data)["count_proven"].sum() > 0:
        fdr = words.percent(data.summary["fdr"])
        text += f" Red: proven patients (false-discovery rate {fdr})."
    text += _bar_widths(data)
    low, expected = figures_patients.left_out(data)
    if low or expected:
        text += (
            f" Not drawn: {low:,} below {figures_patients.LEFT} in 100 "
            f"({expected:,} by chance), a sign of noise, not of protection."
        )
    return text


def _bar_widths(data: contents.ReportData) -> str:
    """How to read bars of unequal width."""
    if not data.is_public:
        return ""
    return " Every bar holds at least five patients: its area."


def survival_caption(data: contents.ReportData) -> str:
    """The lines of the survival figure."""
    text = (
        "Blue: measured. Grey: 99 % range if nothing leaked. Green, dashed: noise of "
        "measurement removed, with its 95 % band; a lower estimate, since weak leaks "
        "count as chance."
    )
    if len(data.curves.get("denoised_ash", ())):
        text += " Dotted: the same by a second model of the distribution."
    if data.is_public:
        text += " Measured numbers change in steps of at least five, and end below."
    return text


def null_check(data: contents.ReportData) -> str:
    """The audit's own control: the same test where nothing can leak."""
    null = data.summary["null_check"]
    text = (
        f"Null check: {words.number_of(null['num_proven'])} of "
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


def worst_record(data: contents.ReportData) -> str | None:
    """The riskiest record, chosen and measured on different models."""
    found = data.summary.get("worst_record") or {}
    if words.is_missing(found.get("mean")) or words.is_missing(found.get("null_mean")):
        return None
    return (
        "Chosen on other models than it is measured on, a patient's riskiest record is "
        f"told {100 * found['mean']:.1f} times in 100 on average, and "
        f"{100 * found['null_mean']:.1f} where nothing can leak: that one is unbiased."
    )


def gaussian_check(data: contents.ReportData) -> str | None:
    """Whether the records obey the law that likelihood-ratio attacks assume."""
    found = data.summary.get("gaussian_check")
    if not found:
        return None
    rejected = words.share_or_hidden(found.get("share_rejected"))
    text = (
        f"Likelihood-ratio attacks take a record's statistic as normal over models. "
        f"The data reject this for {rejected} of "
        f"{words.count(found.get('num_records_tested'))} records tested (false-"
        f"discovery rate {words.percent(found.get('fdr'))})"
    )
    kinds = {
        "share_saturated": "saturated",
        "share_tied": "tied",
        "share_skewed": "skewed",
        "share_heavy_tailed": "heavy-tailed",
    }
    parts = [
        f"{words.percent(found[key])} {name}"
        for key, name in kinds.items()
        if not words.is_missing(found.get(key))
    ]
    parts = f"; {', '.join(parts)}" if parts else ""
    return f"{text}{parts}. The proof of patients does not rest on it: ranks alone."


def stability(data: contents.ReportData) -> str | None:
    """Whether half of the models would have told the same."""
    found = data.summary.get("stability") or {}
    if words.is_missing(found.get("spearman_full")):
        return None
    return (
        "Two halves of the models agree on the order of patients with rank correlation "
        f"{found['spearman']:.2f}; for all models together that makes "
        f"{found['spearman_full']:.2f} (Spearman and Brown)."
    )


def attacks(data: contents.ReportData) -> str:
    """What was tried: "Only this attack was" or "Only these 3 attacks were"."""
    number = len(tables_attacks.of(data))
    return "Only this attack was" if number < 2 else f"Only these {number} attacks were"
