"""A made-up cohort whose risk is known: it shows that the tool finds what is there.

A record is a point of `num_features` numbers: the centre of its class plus the
patient's own offset plus noise, so that a small model learns typical patients without
memorising them. With task="multilabel" the centre is a sum over findings, each present
or absent, which occur together more often than by chance. Risk is planted in two
places:

  planted patients  labels of another class (or some findings wrong), and a private
                    direction far out: a model gets them right only if it was trained
                    on them (attribute "planted")
  rare site         shifted, with class centres of its own, so that what its few
                    patients teach cannot be learnt from the others (attribute "site")

With `num_planted=0` and `rare_group_share=0.0` there is nothing to find. Images and
signals are such points drawn in smooth patterns (`_pictures.py`): distances carry over.
"""

import numpy as np
import pandas as pd
from scipy import special

from mia_jax import contracts, rng, validate
from mia_jax.data import _build, _pictures

_MODALITIES = ("tabular", "image", "signal")
_TASKS = ("classes", "multilabel")
# Share of a record's unit variance that its patient's records have in common.
_WITHIN_PATIENT = 0.5
# Distances in units of a feature's standard deviation among typical records.
_RARE_SHIFT = 4.0
_PRIVATE_DISTANCE = 8.0
_LEADS = 12
# Share of records with the first and with the last finding, others evenly between.
_MOST_COMMON, _RAREST = 0.5, 0.2
# Correlation between findings of the normal variables that decide them: .33 between
# two findings that half of all records have.
_BETWEEN_FINDINGS = 0.5


def load(
    num_patients: int = 1000,
    modality: str = "tabular",
    task: str = "classes",
    num_planted: int = 20,
    signal: float = 6.0,
    rare_group_share: float = 0.05,
    max_records: int = 8,
    num_classes: int = 2,
    num_labels: int = 5,
    num_leaky_labels: int = 1,
    num_features: int = 20,
    image_size: int = 32,
    signal_length: int = 250,
    test_share: float = 0.2,
    seed: int = 0,
) -> contracts.Dataset:
    """Generates the cohort; the same options give the same bits.

    Args:
      num_patients: patients, at least 10.
      modality: tabular [num_features], image [image_size, image_size, 1] or signal
        [signal_length, 12] (leads).
      task: classes (one label, of num_classes) or multilabel (num_labels findings).
      num_planted: atypical patients, all of them in the pool.
      signal: distance of a class's centre from the origin, in standard deviations; at
        6.0 two classes (or absent and present) overlap in 1 record of 100,000.
      rare_group_share: share of patients of the rare site.
      max_records: most records of a patient; 60 % have 1, 30 % have 2 to 4.
      num_classes: 2 or more.
      num_labels: findings of task multilabel, 2 or more; half of all records have the
        first, a fifth has the last.
      num_leaky_labels: findings of a planted patient that are wrong (multilabel).
      num_features: numbers that a record is made of, at least 2 num_classes + 2, or
        2 num_labels + 2.
      image_size: pixels of an image's side.
      signal_length: samples of a signal.
      test_share: share of the patients held out from all models.
      seed: seed of cohort and split.

    Returns:
      Groups "planted" (planted, typical), "site" (rare, common) and "records" (1, 2-4,
      5+). Inputs are not scaled further.

    Raises:
      InputError: an option out of its range.
    """
    is_multilabel = task == "multilabel"
    size = num_labels if is_multilabel else num_classes
    _check_options(num_patients, modality, task, max_records, size, num_features)
    _check_planted(num_leaky_labels, size, is_multilabel)
    _check_shares(signal, rare_group_share)
    generator = rng.host(seed, "synthetic")
    is_test = _build.split(np.arange(num_patients), test_share, seed)
    is_planted = _choose_planted(generator, is_test, num_planted)
    num_rare = round(rare_group_share * num_patients)
    is_rare = generator.permutation(num_patients) < num_rare
    num_records = _num_records(generator, num_patients, max_records)
    owner = np.repeat(np.arange(num_patients, dtype=np.int32), num_records)
    if is_multilabel:
        drawn_task, noun = "multilabel", "finding"
        labels, places = _findings(generator, is_planted, owner, size, num_leaky_labels)
    else:
        drawn_task, noun = "binary" if size == 2 else "multiclass", "class"
        labels, places = _classes(generator, is_planted, owner, size)
    points = _centres(signal * places, is_rare[owner], num_features)
    points += _noise(generator, owner, num_features)
    points += _private(generator, is_planted, size, num_features)[owner]
    shapes = {"image": (image_size, image_size, 1), "signal": (signal_length, _LEADS)}
    inputs = points.astype(np.float32)
    if modality != "tabular":
        inputs = _pictures.draw(generator, points, shapes[modality])
    patient_ids = np.asarray([f"p{i:06d}" for i in range(num_patients)])
    dataset = contracts.Dataset(
        name="synthetic",
        title=f"Synthetic cohort ({modality})",
        inputs=inputs,
        labels=labels.astype(np.int32),
        task=drawn_task,
        class_names=tuple(f"{noun} {k}" for k in range(size)),
        record_ids=_record_ids(patient_ids, num_records),
        patient_ids=patient_ids,
        patient_of_record=owner,
        is_test=is_test,
        unit_of_patient=np.arange(num_patients, dtype=np.int32),
        unit="patient",
        groups=_groups(is_planted, is_rare, num_records),
    )
    return _build.check(dataset)


def _check_options(num_patients, modality, task, max_records, size, num_features):
    validate.one_of("data.modality", modality, _MODALITIES)
    validate.one_of("data.task", task, _TASKS)
    at_least = {
        "num_patients": (num_patients, 10),
        "max_records": (max_records, 1),
        "num_labels" if task == "multilabel" else "num_classes": (size, 2),
        # Two sets of class centres, the rare shift, a direction to be private in.
        "num_features": (num_features, 2 * size + 2),
    }
    for name, (value, least) in at_least.items():
        validate.require(
            value >= least,
            f"data.{name}={value}",
            f"must be at least {least}",
            f"set --config.data.{name}={least}",
        )


def _check_planted(num_leaky_labels: int, size: int, is_multilabel: bool) -> None:
    validate.require(
        not is_multilabel or 0 <= num_leaky_labels <= size,
        f"data.num_leaky_labels={num_leaky_labels}",
        f"must be in 0..{size}, the number of labels",
        f"set --config.data.num_leaky_labels={size} for all of them",
    )


def _check_shares(signal: float, rare_group_share: float) -> None:
    ranges = {"signal": (signal, 1e6), "rare_group_share": (rare_group_share, 0.999)}
    for name, (value, most) in ranges.items():
        validate.require(
            0 <= value <= most,
            f"data.{name}={value}",
            f"must be at least 0 and at most {most:g}",
            "see --help_config for its meaning and default",
        )


def _choose_planted(
    generator: np.random.Generator, is_test: np.ndarray, num_planted: int
) -> np.ndarray:
    pool = np.flatnonzero(~is_test)
    validate.require(
        0 <= num_planted <= len(pool),
        f"data.num_planted={num_planted}",
        f"must be in 0..{len(pool)}, the patients that are not held out",
        "use fewer planted patients or more patients",
    )
    is_planted = np.zeros(len(is_test), bool)
    is_planted[generator.permutation(pool)[:num_planted]] = True
    return is_planted


def _num_records(
    generator: np.random.Generator, num_patients: int, max_records: int
) -> np.ndarray:
    """[patients]: 60 % have 1 record, 30 % 2 to 4, 10 % 5 to `max_records`."""
    low, high = np.array([1, 2, 5]), np.array([1, 4, max(max_records, 5)])
    size = np.searchsorted([0.6, 0.9], generator.random(num_patients))
    return np.minimum(generator.integers(low[size], high[size] + 1), max_records)


def _classes(
    generator: np.random.Generator,
    is_planted: np.ndarray,
    owner: np.ndarray,
    num_classes: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Labels [records], planted patients' wrong, and places [records, classes].

    A place is a record's centre in units of the signal, before noise.
    """
    true_class = generator.integers(0, num_classes, len(owner))
    # The next class in place of the true one, for planted patients.
    labels = (true_class + is_planted[owner]) % num_classes
    return labels, np.eye(num_classes)[true_class]


def _findings(
    generator: np.random.Generator,
    is_planted: np.ndarray,
    owner: np.ndarray,
    num_labels: int,
    num_leaky_labels: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and places as `_classes`, both [records, labels]; labels are 0 or 1.

    In all records of a planted patient the same labels, drawn by lot, are wrong.
    """
    common = generator.standard_normal((len(owner), 1))
    own = generator.standard_normal((len(owner), num_labels))
    shared, rest = np.sqrt(_BETWEEN_FINDINGS), np.sqrt(1 - _BETWEEN_FINDINGS)
    prevalence = np.linspace(_MOST_COMMON, _RAREST, num_labels)
    is_present = special.ndtr(shared * common + rest * own) < prevalence
    lot = generator.random((len(is_planted), num_labels)).argsort(axis=1)
    is_wrong = (lot < num_leaky_labels) & is_planted[:, None]
    # Absent and present lie as far apart as two classes.
    places = (2 * is_present - 1) / np.sqrt(2)
    return is_present ^ is_wrong[owner], places


def _centres(places: np.ndarray, is_rare: np.ndarray, num_features: int) -> np.ndarray:
    """[records, features]: places in the first coordinates, the rare site's behind."""
    size = places.shape[1]
    points = np.zeros((len(places), num_features))
    points[~is_rare, :size] = places[~is_rare]
    points[is_rare, size : 2 * size] = places[is_rare]
    points[:, 2 * size] += _RARE_SHIFT * is_rare
    return points


def _noise(
    generator: np.random.Generator, owner: np.ndarray, num_features: int
) -> np.ndarray:
    """[records, features], unit variance, correlated within a patient."""
    of_patient = generator.standard_normal((int(owner[-1]) + 1, num_features))
    of_record = generator.standard_normal((len(owner), num_features))
    shared, own = np.sqrt(_WITHIN_PATIENT), np.sqrt(1 - _WITHIN_PATIENT)
    return shared * of_patient[owner] + own * of_record


def _private(
    generator: np.random.Generator,
    is_planted: np.ndarray,
    size: int,
    num_features: int,
) -> np.ndarray:
    """[patients, features]: a far offset of each planted patient, away from classes."""
    direction = generator.standard_normal((len(is_planted), num_features))
    direction[:, : 2 * size] = 0.0
    direction /= np.sqrt((direction**2).sum(axis=1, keepdims=True))
    return _PRIVATE_DISTANCE * direction * is_planted[:, None]


def _record_ids(patient_ids: np.ndarray, num_records: np.ndarray) -> np.ndarray:
    pairs = zip(patient_ids, num_records)
    return np.asarray([f"{i}-{k + 1}" for i, number in pairs for k in range(number)])


def _groups(
    is_planted: np.ndarray, is_rare: np.ndarray, num_records: np.ndarray
) -> pd.DataFrame:
    size = np.searchsorted([2, 5], num_records, side="right")
    return pd.DataFrame(
        {
            "planted": np.where(is_planted, "planted", "typical"),
            "site": np.where(is_rare, "rare", "common"),
            "records": np.array(["1", "2-4", "5+"])[size],
        }
    )
