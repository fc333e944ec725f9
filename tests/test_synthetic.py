"""The made-up cohort: known risk is where it says, and nowhere else."""

import numpy as np
import pytest

from mia_jax import cohort, validate
from mia_jax.data import _pictures, synthetic


def _margins(dataset, members=False, folds=10):
    """Margin of the own class in a ridge classifier; negative = classified wrongly.

    Closed form, trained on the pool without a tenth of the patients at a time
    (`members`: with them), so a record is predicted without its own patient.
    """
    inputs = dataset.inputs.reshape(dataset.num_records, -1).astype(np.float64)
    inputs = np.c_[inputs, np.ones(len(inputs))]
    targets = 2.0 * np.eye(len(dataset.class_names))[dataset.labels] - 1.0
    fold, pool = dataset.patient_of_record % folds, dataset.is_pool_record
    outputs = np.zeros(targets.shape)
    for number in range(folds):
        train = pool & ((fold != number) | members)
        gram = inputs[train].T @ inputs[train] + np.eye(inputs.shape[1])
        weights = np.linalg.solve(gram, inputs[train].T @ targets[train])
        outputs[fold == number] = inputs[fold == number] @ weights
    own = np.take_along_axis(outputs, dataset.labels[:, None], 1)[:, 0]
    np.put_along_axis(outputs, dataset.labels[:, None], -np.inf, 1)
    return own - outputs.max(1)


def _pool_records(dataset):
    """Masks [records] of planted, rare and typical pool records."""
    groups = dataset.groups.iloc[dataset.patient_of_record]
    planted = (groups["planted"] == "planted").to_numpy()
    rare = (groups["site"] == "rare").to_numpy() & ~planted
    pool = dataset.is_pool_record
    return planted & pool, rare & pool, pool & ~planted & ~rare


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_classes": 4},
        {"modality": "image", "image_size": 16},
        {"modality": "signal", "signal_length": 40},
    ],
    ids=["tabular", "4 classes", "image", "signal"],
)
def test_planted_patients_need_memorising_and_typical_ones_do_not(options):
    dataset = synthetic.load(**options)
    margins = _margins(dataset)
    planted, _, typical = _pool_records(dataset)
    assert (margins[planted] < 0).mean() > 0.9
    assert (margins[typical] < 0).mean() < 0.02


def _signed(dataset, members=False, folds=10):
    """[records, labels] output of a ridge classifier, by the label's right sign.

    Trained as in `_margins`, one label at a time.
    """
    inputs = dataset.inputs.reshape(dataset.num_records, -1).astype(np.float64)
    inputs = np.c_[inputs, np.ones(len(inputs))]
    signs = 2.0 * dataset.labels - 1.0
    fold, pool = dataset.patient_of_record % folds, dataset.is_pool_record
    outputs = np.zeros(signs.shape)
    for number in range(folds):
        train = pool & ((fold != number) | members)
        gram = inputs[train].T @ inputs[train] + np.eye(inputs.shape[1])
        weights = np.linalg.solve(gram, inputs[train].T @ signs[train])
        outputs[fold == number] = inputs[fold == number] @ weights
    return signs * outputs


class TestMultilabel:
    def test_shares_and_correlation_are_as_stated(self):
        dataset = synthetic.load(num_patients=4000, task="multilabel", num_planted=0)
        # About 8,500 records: standard error below .006 of a share, .012 of phi.
        shares = dataset.labels.mean(0)
        np.testing.assert_allclose(shares, np.linspace(0.5, 0.2, 5), atol=0.025)
        phi = np.corrcoef(dataset.labels.T)[~np.eye(5, dtype=bool)]
        assert phi.min() > 0.2 and phi.max() < 0.4
        assert dataset.task == "multilabel" and dataset.num_outputs == 5
        assert dataset.class_names[0] == "finding 0"

    @pytest.mark.parametrize("num_leaky", [1, 3])
    def test_only_the_leaky_labels_of_planted_patients_need_memorising(self, num_leaky):
        options = {"task": "multilabel", "num_leaky_labels": num_leaky}
        dataset = synthetic.load(num_planted=30, **options)
        planted, _, typical = _pool_records(dataset)
        is_wrong = _signed(dataset) < 0
        assert is_wrong[typical].mean() < 0.02
        # Chosen once for a patient: the same labels in all records.
        owner = dataset.patient_of_record
        by_patient = {
            p: is_wrong[owner == p].mean(0) for p in np.unique(owner[planted])
        }
        wrong = np.array(list(by_patient.values()))
        assert abs(wrong.sum(1).mean() - num_leaky) < 0.15
        assert np.isin(wrong.round(1), [0, 1]).mean() > 0.95
        assert (wrong.mean(0) > 0).all()  # every label leaks for somebody

    def test_wrong_labels_differ_from_those_of_a_cohort_without(self):
        options = {"task": "multilabel", "num_planted": 10}
        right = synthetic.load(num_leaky_labels=0, **options)
        wrong = synthetic.load(num_leaky_labels=2, **options)
        differs = right.labels != wrong.labels
        planted = (wrong.groups["planted"] == "planted").to_numpy()
        expected = 2 * planted[wrong.patient_of_record]
        np.testing.assert_array_equal(differs.sum(1), expected)
        everything = synthetic.load(num_leaky_labels=5, **options)
        assert ((right.labels != everything.labels).sum(1) == 2.5 * expected).all()

    def test_nothing_planted_nothing_to_find(self):
        nothing = {"num_planted": 0, "rare_group_share": 0.0}
        dataset = synthetic.load(task="multilabel", **nothing)
        signed = _signed(dataset)[dataset.is_pool_record]
        assert (signed < 0).mean() < 0.001
        gain = _signed(dataset, members=True)[dataset.is_pool_record] - signed
        assert np.abs(gain).mean() < 0.02

    def test_rare_patients_gain_more_from_their_own_membership(self):
        dataset = synthetic.load(task="multilabel", num_planted=0)
        gain = (_signed(dataset, members=True) - _signed(dataset)).mean(1)
        _, rare, typical = _pool_records(dataset)
        assert gain[rare].mean() > 2 * gain[typical].mean()

    def test_fourteen_findings_as_pictures(self):
        dataset = synthetic.load(
            task="multilabel", num_labels=14, num_features=30, modality="image"
        )
        assert dataset.labels.shape == (dataset.num_records, 14)
        assert dataset.inputs.shape[1:] == (32, 32, 1)

    def test_of_classes_no_bit_depends_on_the_options_of_findings(self):
        first = cohort.fingerprint(synthetic.load(num_patients=100))
        other = synthetic.load(num_patients=100, num_labels=9, num_leaky_labels=3)
        assert first == cohort.fingerprint(other)


@pytest.mark.parametrize("seed", range(3))
def test_rare_patients_gain_more_from_their_own_membership(seed):
    dataset = synthetic.load(seed=seed, num_planted=0)
    margins = _margins(dataset)
    gain = _margins(dataset, members=True) - margins
    _, rare, typical = _pool_records(dataset)
    assert np.median(margins[rare]) < np.median(margins[typical])
    assert gain[rare].mean() > 2 * gain[typical].mean()


def test_planted_patients_can_be_memorised():
    """One nearest neighbour among the pool, the record itself included or not."""
    dataset = synthetic.load()
    planted, _, _ = _pool_records(dataset)
    inputs = dataset.inputs.astype(np.float64)
    square = (inputs**2).sum(1)
    distance = square[:, None] + square - 2 * inputs @ inputs.T
    distance[:, ~dataset.is_pool_record] = np.inf
    with_it = dataset.labels[distance.argmin(1)]
    own = dataset.patient_of_record[:, None] == dataset.patient_of_record
    without = dataset.labels[np.where(own, np.inf, distance).argmin(1)]
    assert (with_it == dataset.labels)[planted].all()
    assert (without == dataset.labels)[planted].mean() < 0.5


def test_nothing_planted_nothing_to_find():
    dataset = synthetic.load(num_planted=0, rare_group_share=0.0)
    margins = _margins(dataset)[dataset.is_pool_record]
    assert margins.min() > 0
    # What one patient's presence in training changes, at most.
    gain = _margins(dataset, members=True)[dataset.is_pool_record] - margins
    assert np.abs(gain).mean() < 0.02
    assert set(dataset.groups["planted"]) == {"typical"}
    assert set(dataset.groups["site"]) == {"common"}


def test_without_signal_nothing_can_be_learnt():
    dataset = synthetic.load(num_planted=0, rare_group_share=0.0, signal=0.0)
    # About 1,700 records: a fair coin is within .45 to .55 but once in 10,000.
    assert 0.45 < (_margins(dataset)[dataset.is_pool_record] > 0).mean() < 0.55


@pytest.mark.parametrize("seed", range(5))
def test_counts_of_the_groups(seed):
    dataset = synthetic.load(seed=seed, num_planted=13, rare_group_share=0.03)
    is_planted = (dataset.groups["planted"] == "planted").to_numpy()
    assert is_planted.sum() == 13
    assert not (is_planted & dataset.is_test).any()
    assert (dataset.groups["site"] == "rare").sum() == 30
    assert dataset.is_test.sum() == 200
    number = np.bincount(dataset.patient_of_record)
    assert number.max() <= 8
    expected = np.where(number == 1, "1", np.where(number < 5, "2-4", "5+"))
    np.testing.assert_array_equal(dataset.groups["records"], expected)
    assert (expected == "5+").sum() > 50


def test_one_record_each():
    dataset = synthetic.load(max_records=1)
    assert dataset.num_records == dataset.num_patients == 1000
    assert set(dataset.groups["records"]) == {"1"}


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"num_features": 9}, (9,)),
        ({"modality": "image"}, (32, 32, 1)),
        ({"modality": "image", "image_size": 8}, (8, 8, 1)),
        ({"modality": "signal"}, (250, 12)),
    ],
)
def test_shapes(options, shape):
    dataset = synthetic.load(num_patients=50, num_planted=2, **options)
    assert dataset.inputs.shape[1:] == shape


def test_same_options_same_bits_other_seed_other_bits():
    options = {"num_patients": 100, "modality": "image", "image_size": 8}
    first = cohort.fingerprint(synthetic.load(**options))
    assert first == cohort.fingerprint(synthetic.load(**options))
    assert first != cohort.fingerprint(synthetic.load(**options, seed=1))


def test_records_of_a_patient_are_alike():
    """The correlation within a patient is the stated half."""
    dataset = synthetic.load(
        num_patients=3000, num_planted=0, rare_group_share=0.0, signal=0.0
    )
    same = np.flatnonzero(np.diff(dataset.patient_of_record) == 0)
    first, second = dataset.inputs[same], dataset.inputs[same + 1]
    # About 3,400 pairs of 20 numbers: standard error below .01 even in clusters.
    assert (first * second).mean() == pytest.approx(0.5, abs=0.05)
    assert dataset.inputs.var() == pytest.approx(1.0, abs=0.05)


def test_patterns_are_orthogonal_and_of_unit_variance():
    flat = _pictures.patterns(7, 6, 10).reshape(7, -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(7) * 60 / 7, atol=1e-12)
    np.testing.assert_allclose(flat.mean(1), 0, atol=1e-12)


def test_pictures_keep_distances():
    generator = np.random.default_rng(0)
    points = generator.standard_normal((20, 10))
    pictures = _pictures.draw(generator, points, (30, 12)).reshape(20, -1)
    before = ((points[:, None] - points) ** 2).sum(-1)
    after = ((pictures[:, None] - pictures) ** 2).sum(-1) * 10 / 360
    # Pixel noise of .05 adds 2 * 10 * .05^2 = .05 to squared distances of about 20.
    off = ~np.eye(20, dtype=bool)
    np.testing.assert_allclose(after[off], before[off] + 0.05, rtol=0.15)


@pytest.mark.parametrize(
    "option",
    [
        {"modality": "video"},
        {"num_patients": 9},
        {"num_planted": 801},
        {"num_planted": -1},
        {"num_classes": 1},
        {"task": "multiclass"},
        {"num_labels": 1, "task": "multilabel"},
        {"num_leaky_labels": 6, "task": "multilabel"},
        {"num_leaky_labels": -1, "task": "multilabel"},
        {"num_features": 11, "task": "multilabel"},
        {"num_features": 5},
        {"max_records": 0},
        {"signal": float("nan")},
        {"signal": -1.0},
        {"rare_group_share": 1.0},
        {"test_share": 1.0},
    ],
    ids=str,
)
def test_options_out_of_range_are_refused(option):
    with pytest.raises(validate.InputError, match=f"data.{next(iter(option))}"):
        synthetic.load(**option)


def test_more_features_than_pixels_are_refused():
    with pytest.raises(validate.InputError, match="15 patterns"):
        synthetic.load(modality="image", image_size=4)
