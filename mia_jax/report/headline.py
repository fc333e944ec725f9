"""The finding of an audit in one sentence, the same everywhere it is printed.

Exposed patients come first, proven ones second: how many are *proven* to be recognised
better than by chance grows with the number of models, how many are *exposed* (true AUC
above .7, measurement noise removed) does not. So a headline of proven patients alone
would measure the effort of the audit. No wording calls a model harmless: what could not
be proven may still be there, below the detection limit.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from mia_jax.report import words

_EXPOSED = "0.7"  # the AUC above which a patient counts as exposed
# "<5", as in a report that others may read.
_Count = float | str


class Headline(NamedTuple):
    """A finding.

    Attributes:
      case: "exposed", "most" (half or more, or all, are exposed),
        "proven_none_exposed", "proven" (exposure could not be estimated), "none" or
        "underpowered".
      text: the headline, one to three sentences.
      detail: what the words mean and what to allow for.
    """

    case: str
    text: str
    detail: str


class _Numbers(NamedTuple):
    """The arguments of `write`; num_exposed and its band in patients, or None."""

    num_exposed: _Count | None
    low: _Count | None
    high: float | None
    num_patients: int
    num_proven: int | str
    detection_limit: float | None
    num_models: int
    models_needed: int
    fdr: float

    @property
    def is_exposed(self) -> bool:
        """Whether at least one patient is estimated, and proof or band back it."""
        if not _is_any(self.num_exposed):
            return False
        return _is_any(self.num_proven) or _is_any(self.low)


def _is_any(number: _Count | None) -> bool:
    """Whether a number of patients rounds to one at least; "<5" does."""
    return words.is_few(number) or (number is not None and round(number) >= 1)


def write(
    exposed: Mapping[str, Mapping[str, float | str | None]],
    num_patients: int,
    num_proven: int | str,
    detection_limit: float | None,
    num_models: int,
    models_needed: int,
    fdr: float,
) -> Headline:
    """Puts the finding into words.

    Args:
      exposed: AUC threshold -> {"share", "low", "high"} of patients whose true AUC is
        above it (denoised); values None where they could not be estimated, "<5" where
        they stand for one to four patients and others may read it.
      num_patients: audited patients, at least 1.
      num_proven: patients proven better recognised than by chance; "<5" likewise.
      detection_limit: AUC found with 80 % power; None if no AUC is.
      num_models: shadow models.
      models_needed: fewest models that can prove anything about so many patients.
      fdr: false-discovery rate of "proven".

    Returns:
      The headline.
    """
    band = exposed.get(_EXPOSED, {})
    scaled = [band.get(key) for key in ("share", "low", "high")]
    scaled = [_times(value, num_patients) for value in scaled]
    numbers = _Numbers(
        *scaled,
        num_patients,
        num_proven,
        detection_limit,
        num_models,
        models_needed,
        fdr,
    )
    case = _case(numbers)
    return Headline(case, *_WRITERS[case](numbers))


def _times(share: float | str | None, num_patients: int) -> _Count | None:
    if words.is_few(share):
        return words.FEW
    return None if words.is_missing(share) else share * num_patients


def _case(numbers: _Numbers) -> str:
    if numbers.num_proven == 0 and numbers.num_models < numbers.models_needed:
        return "underpowered"
    if numbers.is_exposed:
        is_few = words.is_few(numbers.num_exposed)
        is_most = not is_few and 2 * numbers.num_exposed >= numbers.num_patients
        return "most" if is_most else "exposed"
    if numbers.num_proven == 0:
        return "none"
    return "proven" if numbers.num_exposed is None else "proven_none_exposed"


def _patients(number: int) -> str:
    return "1 patient" if number == 1 else f"{words.count(number)} patients"


def _meaning(verb: str = "Right") -> str:
    ability = {
        "Right": "tells whether it was trained on this patient",
        "Recognised": "tells, better than by chance, that it was trained on them",
    }[verb]
    return (
        f"'{verb}' means: someone who holds a patient's record and can query the "
        f"model {ability}; a coin flip is right 50 times in 100."
    )


def _false_alarms(numbers: _Numbers) -> str:
    """How many of the proven may be wrong: at most q N on average."""
    if numbers.num_proven == 0:
        return ""
    if words.is_few(numbers.num_proven):
        share = words.percent(numbers.fdr)
        return (
            f" At most about {share} of those proven are expected to be false alarms."
        )
    expected = math.ceil(numbers.fdr * numbers.num_proven - 1e-9)
    proven = words.count(numbers.num_proven)
    of = "" if numbers.num_proven == 1 else f" of the {proven}"
    alarms = "false alarm" if expected == 1 else "false alarms"
    be = "is" if expected == 1 else "are"
    return (
        f" At most about {expected:,}{of} {be} expected to be {'a ' * (expected == 1)}"
        f"{alarms}."
    )


def _proven(numbers: _Numbers) -> str:
    """The second sentence, on proof."""
    if numbers.num_proven == 0:
        return "For no single patient could this be proven."
    they = "this patient" if numbers.num_proven == 1 else "they"
    who = words.number_of(numbers.num_proven)
    if numbers.num_proven == numbers.num_patients:
        who = f"all {who}" if numbers.num_proven > 1 else who
    return (
        f"For {who} it is proven that {they} can be recognised better than by chance."
    )


def _share(numbers: _Numbers) -> str:
    """Share and band in percent: "7 %; 6 to 8"."""
    total = numbers.num_patients
    values = (numbers.num_exposed, numbers.low, numbers.high)
    shares = [v if v is None or words.is_few(v) else v / total for v in values]
    share, band = words.share_with_band(*shares)
    return f"{share}; {band}" if band else share


def _write_exposed(numbers: _Numbers) -> tuple[str, str]:
    text = (
        f"For {_about_exposed(numbers)} an attacker is right more than 70 times in "
        f"100. {_proven(numbers)}"
    )
    return text, _meaning() + _false_alarms(numbers)


def _about_exposed(numbers: _Numbers) -> str:
    of = _patients(numbers.num_patients)
    if words.is_few(numbers.num_exposed):
        return f"{words.number_of(numbers.num_exposed)} of {of}"
    about = words.about(numbers.num_exposed, numbers.num_patients)
    return f"about {about} of {of} ({_share(numbers)})"


def _write_most(numbers: _Numbers) -> tuple[str, str]:
    if round(numbers.num_exposed) >= numbers.num_patients:
        who = f"All {_patients(numbers.num_patients)} are"
        who = "The only patient is" if numbers.num_patients == 1 else who
    else:
        about = words.about(numbers.num_exposed, numbers.num_patients)
        who = (
            f"Most patients (about {about} of {words.count(numbers.num_patients)}) are"
        )
    text = (
        f"{who} recognised more than 70 times in 100. "
        "Treat the model like the patients' data themselves."
    )
    is_all = round(numbers.num_exposed) >= numbers.num_patients
    share = "" if is_all else f"Estimated share: {_share(numbers)}. "
    proof = f"{_proven(numbers)}{_false_alarms(numbers)}"
    return text, f"{_meaning()} {share}{proof}"


def _write_proven_none_exposed(numbers: _Numbers) -> tuple[str, str]:
    text = "No patient is estimated to be recognised more than 70 times in 100. "
    return text + _proven_of(numbers), _meaning("Recognised") + _false_alarms(numbers)


def _write_proven(numbers: _Numbers) -> tuple[str, str]:
    unknown = (
        " There are too few patients or models to estimate how many are recognised "
        "more than 70 times in 100."
    )
    detail = _meaning("Recognised") + _false_alarms(numbers) + unknown
    return _proven_of(numbers), detail


def _proven_of(numbers: _Numbers) -> str:
    """Proof where no exposed patients were named before it."""
    if numbers.num_proven == numbers.num_patients > 1:
        who = f"all {_patients(numbers.num_patients)}"
    else:
        of = _patients(numbers.num_patients)
        who = f"{words.number_of(numbers.num_proven)} of {of}"
    they = "this patient" if numbers.num_proven == 1 else "they"
    return (
        f"For {who} it is proven that {they} can be recognised better than by chance."
    )


def _write_none(numbers: _Numbers) -> tuple[str, str]:
    who = f"None of the {_patients(numbers.num_patients)}"
    who = "The only patient" if numbers.num_patients == 1 else who
    could = "could not" if numbers.num_patients == 1 else "could"
    text = (
        f"{who} {could} be proven recognisable in the trained model. "
        "A weak leak may remain below the detection limit."
    )
    return text, _limit(numbers.detection_limit)


def _limit(detection_limit: float | None) -> str:
    if words.is_missing(detection_limit):
        return "With so few models even a complete leak could have been missed."
    if detection_limit > 0.99:
        return (
            "Only a patient recognised nearly always would have been found with 80 % "
            "probability."
        )
    return (
        f"A patient recognised {words.limit(detection_limit)} times in 100 or more "
        "would have been found with 80 % probability."
    )


def _write_underpowered(numbers: _Numbers) -> tuple[str, str]:
    text = (
        "This audit is too small to prove anything about single patients: "
        f"{words.count(numbers.num_models)} models, "
        f"{words.count(numbers.models_needed)} needed."
    )
    detail = (
        f"Even a patient told apart in every model would not pass the test over "
        f"{_patients(numbers.num_patients)} (false-discovery rate "
        f"{words.percent(numbers.fdr)}). Nothing can be concluded from its silence."
    )
    return text, detail


_WRITERS = {
    "exposed": _write_exposed,
    "most": _write_most,
    "proven_none_exposed": _write_proven_none_exposed,
    "proven": _write_proven,
    "none": _write_none,
    "underpowered": _write_underpowered,
}
