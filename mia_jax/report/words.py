"""Numbers as a clinician reads them. A missing number is always "not measured"."""

import math

MISSING = "not measured"
DASH = "\u2013"  # in tables, for a number that does not exist
FEW = "<5"  # in place of a count that is too small for others to read
HIDDEN = "not shown"


def is_few(value: object) -> bool:
    """Whether a count or a share stands for fewer than five patients."""
    return isinstance(value, str) and value == FEW


def is_missing(value: float | str | None) -> bool:
    """Whether there is no number: None, NaN, infinite or `FEW`."""
    return value is None or is_few(value) or not math.isfinite(value)


def count(value: float | str | None) -> str:
    """Whole number with thousands separators: "4,730"; "<5" or "not shown"."""
    if is_few(value):
        return FEW
    return HIDDEN if is_missing(value) else f"{value:,.0f}"


def number_of(value: float | str | None) -> str:
    """A count inside a sentence: "4,730", "fewer than 5", "a number not shown"."""
    if is_few(value):
        return "fewer than 5"
    return "a number not shown" if is_missing(value) else count(value)


def times(auc: float | None) -> str:
    """An AUC as times in 100, never 100: .873 -> "87", .997 -> "over 99"."""
    if is_missing(auc):
        return MISSING
    return "over 99" if auc >= 0.995 else f"{100 * auc:.0f}"


def percent(share: float | None, unit: str = " %") -> str:
    """A share with two digits where small: "7 %", "1.4 %", ".02 %" as "0.02 %".

    Never rounded to none or all where it is not: "under 0.01 %", "over 99 %".
    """
    if is_few(share):
        return FEW
    if is_missing(share):
        return MISSING
    value = 100 * share
    if 0 < value < 0.01:
        return f"under 0.01{unit}"
    if 99.5 <= value < 100:
        return f"over 99{unit}"
    digits = 0 if value >= 4.95 or value == 0 else 1 if value >= 0.095 else 2
    return f"{value:.{digits}f}{unit}"


def share_or_hidden(share: float | str | None) -> str:
    """A share inside a sentence; a hidden one is "a share not shown"."""
    return "a share not shown" if is_missing(share) else percent(share)


def share_with_band(
    share: float | str | None, low: float | str | None, high: float | None
) -> tuple[str, str]:
    """A share with its band: ("7 %", "6 to 8"); band "" where there is none.

    One digit more where a limit would print as the share itself: ("6.8 %", "6.0 to
    7.4"). A lower limit of too few patients is left out: ("1 %", "up to 2").
    """
    if is_few(low) and not is_missing(share) and not is_missing(high):
        return percent(share), f"up to {percent(high, '')}"
    if is_missing(share) or is_missing(low) or is_missing(high):
        return percent(share), ""
    texts = [percent(value, "") for value in (share, low, high)]
    if len(set(texts)) == 1 and share in (0, 1):
        return f"{texts[0]} %", ""
    is_blurred = texts[0] in texts[1:] and low < share < high
    if is_blurred and 0.0095 <= share < 0.095:
        texts = [f"{100 * value:.1f}" for value in (share, low, high)]
    return f"{texts[0]} %", f"{texts[1]} to {texts[2]}"


def limit(auc: float) -> str:
    """A detection limit in times in 100, rounded up: it must hold as printed."""
    return "over 99" if auc > 0.99 else f"{math.ceil(100 * auc - 1e-9)}"


def about(value: float, most: int) -> str:
    """An estimated number of patients without false precision: 335.8 -> "335".

    Exact to 20, then to the nearest 5, from 1,000 to the nearest 50, from 10,000 to the
    nearest 500; rounding never reaches `most`, the number of all patients.
    """
    step = 1 if value < 20 else 5 if value < 1_000 else 50 if value < 10_000 else 500
    rounded = round(value / step) * step
    return count(rounded if rounded < most else min(round(value), most))


def seconds(value: float | None) -> str:
    """Wall time: "8 s", "3 min 20 s", "2 h 5 min"."""
    if is_missing(value):
        return MISSING
    whole = round(value)
    if whole < 60:
        return f"{value:.1f} s" if value < 10 else f"{whole} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"
