"""Every case of the headline, the numbers in it, and what it must never say."""

import math

import hypothesis
import pytest
from hypothesis import strategies as st

from mia_jax.report import headline, words

DEFAULTS = {
    "exposed": {"0.7": {"share": 0.071, "low": 0.064, "high": 0.077}},
    "num_patients": 4730,
    "num_proven": 2535,
    "detection_limit": 0.63,
    "num_models": 512,
    "models_needed": 20,
    "fdr": 0.05,
}


def band(share, low=None, high=None):
    return {"0.7": {"share": share, "low": low, "high": high}}


def write(**changes) -> headline.Headline:
    return headline.write(**{**DEFAULTS, **changes})


def test_exposed_comes_first_then_proven():
    found = write()
    assert found.case == "exposed"
    assert found.text == (
        "For about 335 of 4,730 patients (7 %; 6 to 8) an attacker is right more than "
        "70 times in 100. For 2,535 it is proven that they can be recognised better "
        "than by chance."
    )
    assert found.detail == (
        "'Right' means: someone who holds a patient's record and can query the model "
        "tells whether it was trained on this patient; a coin flip is right 50 times "
        "in 100. At most about 127 of the 2,535 are expected to be false alarms."
    )


def test_proven_but_none_exposed():
    found = write(exposed=band(0.0, 0.0, 0.0), num_patients=5912, num_proven=12)
    assert found.case == "proven_none_exposed"
    assert found.text == (
        "No patient is estimated to be recognised more than 70 times in 100. For 12 of "
        "5,912 patients it is proven that they can be recognised better than by chance."
    )
    assert "At most about 1 of the 12 is expected to be a false alarm." in found.detail


def test_none():
    found = write(
        exposed=band(0.0, 0.0, 0.0),
        num_patients=5912,
        num_proven=0,
        detection_limit=0.6793,
    )
    assert found.case == "none"
    assert found.text == (
        "None of the 5,912 patients could be proven recognisable in the trained model. "
        "A weak leak may remain below the detection limit."
    )
    # Rounded up: at 67 the power would be below 80 %.
    assert found.detail == (
        "A patient recognised 68 times in 100 or more would have been found with 80 % "
        "probability."
    )


def test_half_or_more_exposed():
    found = write(exposed=band(0.575, 0.56, 0.59), num_patients=5912)
    assert found.case == "most"
    assert found.text == (
        "Most patients (about 3,400 of 5,912) are recognised more than 70 times in "
        "100. Treat the model like the patients' data themselves."
    )
    assert "Estimated share: 57 %; 56 to 59." in found.detail
    assert write(exposed=band(0.4999, 0.48, 0.52)).case == "exposed"
    assert write(exposed=band(0.5, 0.48, 0.52)).case == "most"


def test_all_exposed():
    found = write(exposed=band(1.0, 1.0, 1.0), num_proven=4730)
    assert found.case == "most"
    assert found.text.startswith("All 4,730 patients are recognised more than 70")
    assert "For all 4,730 it is proven" in found.detail


def test_nearly_all_is_not_all():
    text = write(exposed=band(0.9995, 0.99, 1.0)).text
    assert "All" not in text
    assert "about 4,728 of 4,730" in text


def test_underpowered():
    found = write(num_models=16, num_proven=0)
    assert found.case == "underpowered"
    assert found.text == (
        "This audit is too small to prove anything about single patients: 16 models, "
        "20 needed."
    )


def test_something_proven_is_never_underpowered():
    assert write(num_models=16, num_proven=3).case == "exposed"


def test_exposure_that_could_not_be_estimated_is_not_called_none():
    found = write(exposed=band(None), num_patients=20, num_proven=3)
    assert found.case == "proven"
    assert found.text.startswith("For 3 of 20 patients it is proven")
    assert "No patient" not in found.text
    assert "too few patients or models" in found.detail
    assert write(exposed=band(None), num_proven=0).case == "none"


def test_exposed_though_none_is_proven():
    found = write(num_proven=0, detection_limit=0.9)
    assert found.case == "exposed"
    assert found.text.endswith("For no single patient could this be proven.")
    assert "false alarm" not in found.detail
    # A band that reaches none, and no proof: no claim.
    assert write(num_proven=0, exposed=band(0.01, 0.0, 0.1)).case == "none"


def test_one_patient():
    found = write(num_patients=1, num_proven=0, exposed=band(0.0, 0.0, 0.0))
    assert found.text.startswith("The only patient could not be proven recognisable")
    found = write(num_proven=1, exposed=band(0.0, 0.0, 0.0))
    assert "For 1 of 4,730 patients it is proven that this patient can be" in found.text
    assert "At most about 1 is expected to be a false alarm." in found.detail


def test_no_detection_limit():
    detail = write(
        num_proven=0, exposed=band(0.0, 0.0, 0.0), detection_limit=None
    ).detail
    assert detail == "With so few models even a complete leak could have been missed."


@hypothesis.settings(max_examples=300, derandomize=True, deadline=None)
@hypothesis.given(
    share=st.none() | st.floats(0, 1),
    num_patients=st.integers(1, 100_000),
    proven=st.floats(0, 1),
    limit=st.none() | st.floats(0.5, 1.0),
    num_models=st.integers(2, 1024),
)
def test_never_soothing_and_always_whole(
    share, num_patients, proven, limit, num_models
):
    spread = (None, None) if share is None else (0.9 * share, min(1.1 * share, 1.0))
    found = write(
        exposed=band(share, *spread),
        num_patients=num_patients,
        num_proven=round(proven * num_patients),
        detection_limit=limit,
        num_models=num_models,
    )
    text = f"{found.text} {found.detail}"
    for word in ("safe", "anonym", "nan", "None,", "not measured", "100 times in 100"):
        assert word not in text
    assert found.text.endswith(".") and found.detail.endswith(".")
    assert "  " not in text and ".." not in text


@pytest.mark.parametrize(
    ("auc", "text"),
    [
        (0.997, "over 99"),
        (1.0, "over 99"),
        (0.9949, "99"),
        (0.873, "87"),
        (0.5, "50"),
        (None, "not measured"),
        (math.nan, "not measured"),
    ],
)
def test_times_in_100(auc, text):
    assert words.times(auc) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.071, "7 %"),
        (0.014, "1.4 %"),
        (0.0002, "0.02 %"),
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.9996, "over 99 %"),
        (1e-6, "under 0.01 %"),
    ],
)
def test_percent(share, text):
    assert words.percent(share) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        ((0.071, 0.064, 0.077), ("7 %", "6 to 8")),
        ((0.014, 0.011, 0.017), ("1.4 %", "1.1 to 1.7")),
        ((0.068, 0.060, 0.074), ("6.8 %", "6.0 to 7.4")),  # not "7 %; 6 to 7"
        ((0.0, 0.0, 0.0), ("0 %", "")),
        ((0.1, None, 0.2), ("10 %", "")),
    ],
)
def test_share_with_band(share, text):
    assert words.share_with_band(*share) == text


@pytest.mark.parametrize(
    ("value", "most", "text"),
    [
        (335.8, 4730, "335"),
        (3399.4, 5912, "3,400"),
        (82.8, 5912, "85"),
        (7.4, 100, "7"),
        (99.0, 100, "99"),  # not 100: that would be all
        (100.0, 100, "100"),
        (33_580, 473_000, "33,500"),
    ],
)
def test_about(value, most, text):
    assert words.about(value, most) == text


def test_seconds():
    assert words.seconds(8.25) == "8.2 s"
    assert words.seconds(84.2) == "1 min 24 s"
    assert words.seconds(7500) == "2 h 5 min"
