"""What a guarantee bounds, and whether the attack kept below it, in sentences."""

from typing import Any

from mia_jax.report import words

_LIMITS = (
    "The promise is that of one trained model. Choosing settings by looking at "
    "results, and publishing several models, stand outside of it."
)


def bound(summary: dict[str, Any]) -> str | None:
    """What no attack can exceed; None without a guarantee."""
    guarantee = (summary.get("defence") or {}).get("guarantee")
    if not guarantee:
        return None
    found = summary.get("ceiling")
    if not found:
        unit = guarantee.get("unit", "unit")
        return (
            f"The guarantee is given to every {unit}. It bounds no attack on a patient "
            "who has several records, so no ceiling is drawn."
        )
    hits = 100 * found["tpr_at_fpr"]["0.01"]
    return (
        "No attack on one of these models, whatever it knows, is right about a patient "
        f"more than {words.limit(found['auc'])} times in 100, or finds more than "
        f"{hits:.2g} % of the members at 1 % false alarms: the dashed ceiling in the "
        f"figure of all records together. {_LIMITS}"
    )


def violation(summary: dict[str, Any]) -> str | None:
    """The run's own check of its guarantee; None where it was not made."""
    found = summary.get("violation")
    if not found:
        return None
    how = f"{found['num_tests']} thresholds, false-alarm rate {found['level']:g}"
    if not found["is_violated"]:
        return (
            "The attack keeps below the ceiling, all patients pooled and tested over "
            f"the models ({how})."
        )
    text = (
        f"The attack exceeds the ceiling ({how}). That is no bad luck but a bug: in "
        "training, masks, accounting or attack. Do not rely on the guarantee."
    )
    flagged = found["num_units_flagged"]
    if flagged is None:
        return text
    return f"{text} By their own counts {words.count(flagged)} patients lie above it."
