"""Oracles of the leave-pair-out AUC: literal refits in float64, and exact symmetry."""

import itertools

import jax
import numpy as np
import pytest
import scipy.special
import scipy.stats

from mia_jax import validate
from mia_jax.risk import leave_pair_out, pair_wins, patients


def deviations(x, ddof):
    return np.sum((x - x.mean(0)) ** 2, 0) / (len(x) - ddof)


def refit(x, cohort, variance, nu0):
    """Mean and variance of x [models of a side, records] under each option."""
    own = deviations(x, 1) if len(x) > 1 else np.zeros(x.shape[1])
    if variance == "pooled":
        return x.mean(0), np.ones(x.shape[1])
    if variance == "own":
        return x.mean(0), own
    target = own.mean() if x.shape[1] > 2 or cohort is None else cohort
    return x.mean(0), (nu0 * target + (len(x) - 1) * own) / (nu0 + len(x) - 1)


def log_ratio(x, fit_in, fit_out):
    """Log-likelihood ratio IN against OUT; the pair's constants cancel in D."""
    parts = [-((x - mu) ** 2) / (2 * v) for mu, v in (fit_in, fit_out)]
    return (parts[0] - parts[1]).sum()


def cohort_of_others(z, mask, patient_of_record, patient, wants_in):
    values = []
    for record in np.flatnonzero(patient_of_record != patient):
        member = mask[:, patient_of_record[record]]
        values.append(deviations(z[member == wants_in, record], 1))
    return np.mean(values) if values else None


def twin(z, mask, patient_of_record, block, variance, nu0=100.0):
    """Refits for every pair: [patients] AUC, and the smallest |D| there was."""
    z = z.astype(np.float64)
    aucs, closest = [], np.inf
    for patient in range(mask.shape[1]):
        x = z[:, patient_of_record == patient]
        cohort = [
            cohort_of_others(z, mask, patient_of_record, patient, side)
            for side in (True, False)
        ]
        member, wins = mask[:, patient], []
        for i, j in itertools.product(np.flatnonzero(member), np.flatnonzero(~member)):
            if block[i] != block[j]:
                continue
            without = np.isin(np.arange(len(z)), [i, j])
            fits = [
                refit(x[(member == side) & ~without], prior, variance, nu0)
                for side, prior in zip((True, False), cohort)
            ]
            d = log_ratio(x[i], *fits) - log_ratio(x[j], *fits)
            closest = min(closest, abs(d))
            wins.append((d > 0) + 0.5 * (d == 0))
        aucs.append(np.mean(wins))
    return np.array(aucs), closest


def leave_one_out_own(x, member):
    """The textbook attack on one record: each target is left out of its own side."""
    score = np.empty_like(x)
    for target in range(len(x)):
        rest = np.arange(len(x)) != target
        fits = [x[rest & (member == side)] for side in (True, False)]
        logs = [
            scipy.stats.norm.logpdf(x[target], f.mean(0), f.std(0, ddof=1))
            for f in fits
        ]
        score[target] = logs[0] - logs[1]
    wins = score[member][:, None] > score[~member][None]
    return wins.mean((0, 1))


def case(seed, models=14, sizes=(1, 2, 3, 1, 3, 2), balanced=True, leak=0.8):
    """Patients with different numbers of records, in shuffled record order."""
    generator = np.random.default_rng(seed)
    patient_of_record = generator.permutation(np.repeat(np.arange(len(sizes)), sizes))
    uniform = generator.random((models, len(sizes)))
    order = uniform.argsort(0).argsort(0)
    counts = models // 2 if balanced else generator.integers(4, models - 3, len(sizes))
    mask = order < counts
    x = generator.standard_normal((models, len(patient_of_record)))
    x += leak * mask[:, patient_of_record]
    return patients.standardise(x), mask, patient_of_record


def golden():
    m, r = np.arange(16)[:, None], np.arange(2)
    x = np.sin(1.7 * m + 0.9 * r) + 0.3 * np.cos(5 * m * (r + 1)) + 0.6 * (m < 8)
    return patients.standardise(x), m < 8, np.zeros(2, int)


def golden_differences(variance):
    z, _, _ = golden()
    ones = np.ones((1, 1, 8), bool)
    sides = (z[half].T[None, :, None] for half in (slice(0, 8), slice(8, 16)))
    x_in, x_out = sides
    pairs = pair_wins.Pairs(x_in, ones, x_out, ones)
    prior = np.zeros((2, 1), np.float32), np.float32(100)
    weight = np.ones((1, 2), np.float32)
    differences_fn = jax.jit(pair_wins.differences, static_argnames="variance")
    (d,) = differences_fn([pairs], weight, *prior, variance=variance)
    return np.asarray(d)[0, 0]


@pytest.mark.parametrize(
    ("variance", "wins"), [("own", 43), ("pooled", 46), ("shrunk", 46)]
)
def test_golden_sums_of_wins(variance, wins):
    z, mask, patient_of_record = golden()
    block = np.zeros(16, int)
    auc = leave_pair_out.auc(z, mask, patient_of_record, block, variance)
    assert auc[0] * 64 == wins


@pytest.mark.parametrize(
    ("variance", "pair", "expected"),
    [
        ("own", (0, 0), 0.8105252880),
        ("own", (3, 5), 0.5554300200),
        ("shrunk", (0, 0), 1.3245786303),
        ("pooled", (0, 0), 0.8140751476),
    ],
)
def test_golden_differences(variance, pair, expected):
    # float32: a sum of 12 products of order 1 to 10, so 1e-5 absolute.
    assert golden_differences(variance)[pair] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("variance", "balanced", "blocks"),
    [
        ("own", True, (14,)),
        ("own", False, (14,)),
        ("pooled", False, (8, 6)),
        ("shrunk", True, (14,)),
        ("shrunk", False, (8, 6)),
        ("shrunk", True, (2,) * 7),
    ],
)
def test_auc_is_that_of_literal_refits(variance, balanced, blocks):
    z, mask, patient_of_record = case(3, balanced=balanced)
    if blocks == (2,) * 7:
        mask[0::2], mask[1::2] = mask[:7].copy(), ~mask[:7]
    block = np.repeat(np.arange(len(blocks)), blocks)
    expected, closest = twin(z, mask, patient_of_record, block, variance)
    auc = leave_pair_out.auc(z, mask, patient_of_record, block, variance)
    assert closest > 1e-5  # no pair is so close that float32 may decide otherwise
    np.testing.assert_allclose(auc, expected, rtol=1e-12)


def test_many_records_are_refits_too():
    z, mask, patient_of_record = case(18, sizes=(9, 20, 3), leak=0.3)
    block = np.zeros(len(z), int)
    expected, closest = twin(z, mask, patient_of_record, block, "shrunk")
    auc = leave_pair_out.auc(z, mask, patient_of_record, block)
    assert closest > 1e-5
    np.testing.assert_allclose(auc, expected, rtol=1e-12)


def test_other_prior_weights_are_refits_too():
    z, mask, patient_of_record = case(4)
    block = np.zeros(len(z), int)
    expected, _ = twin(z, mask, patient_of_record, block, "shrunk", nu0=3.0)
    auc = leave_pair_out.auc(z, mask, patient_of_record, block, nu0=3.0)
    np.testing.assert_allclose(auc, expected, rtol=1e-12)


@pytest.mark.parametrize("variance", leave_pair_out.VARIANCES)
@pytest.mark.parametrize("blocks", [(8,), (4, 4)])
def test_mean_over_all_masks_is_exactly_one_half(variance, blocks):
    """The promise: any fixed scores, all masks of the design, mean AUC 1/2."""
    z = np.random.default_rng(5).gamma(1.0, size=(8, 3))
    z = patients.standardise(z)
    halves = [
        [np.isin(np.arange(n), c) for c in itertools.combinations(range(n), n // 2)]
        for n in blocks
    ]
    masks = np.array([np.concatenate(m) for m in itertools.product(*halves)]).T
    # Every mask is a "patient" with the same three records.
    num_masks = masks.shape[1]
    patient_of_record = np.repeat(np.arange(num_masks), 3)
    block = np.repeat(np.arange(len(blocks)), blocks)
    auc = leave_pair_out.auc(
        np.tile(z, num_masks), masks, patient_of_record, block, variance
    )
    assert auc.mean() == pytest.approx(0.5, abs=1e-12)
    assert auc.std() > 0.1


def test_mean_is_exactly_one_half_with_the_variance_of_other_patients():
    """One record, shrunk to the others: their masks are fixed, this one's varies."""
    z = patients.standardise(np.random.default_rng(6).gamma(1.0, size=(8, 4)))
    other = np.random.default_rng(7).random((8, 3)).argsort(0).argsort(0) < 4
    aucs = []
    for members in itertools.combinations(range(8), 4):
        mask = np.column_stack([np.isin(np.arange(8), members), other])
        auc = leave_pair_out.auc(z, mask, np.arange(4), np.zeros(8, int))
        aucs.append(auc[0])
    assert np.mean(aucs) == pytest.approx(0.5, abs=1e-12)


def test_units_are_left_out_of_the_cohort_variance_together():
    z, mask, patient_of_record = case(8, sizes=(1, 1, 1, 2))
    mask[:, 1] = mask[:, 0]
    unit = np.array([0, 0, 1, 2])
    mean = leave_pair_out._cohort_variance(z, mask, patient_of_record, unit)
    assert mean[0, 0] == mean[0, 1]
    others = [r for r in range(5) if patient_of_record[r] > 1]
    v = [deviations(z[mask[:, patient_of_record[r]], r], 1) for r in others]
    assert mean[0, 0] == pytest.approx(np.mean(v), rel=1e-6)


def test_null_mean_is_one_half_where_leave_one_out_is_rejected():
    """64 models, one record. Own variances, no leak: .504 against .439 (4,000 patients,
    s.e. .0015)."""
    generator = np.random.default_rng(9)
    x = generator.standard_normal((64, 4000))
    mask = generator.random(x.shape).argsort(0) < 32
    z = patients.standardise(x)
    arrays = z, mask, np.arange(4000), np.zeros(64, int)
    for variance in leave_pair_out.VARIANCES:
        assert abs(leave_pair_out.auc(*arrays, variance).mean() - 0.5) < 0.008
    naive = [leave_one_out_own(z[:, [p]], mask[:, p])[0] for p in range(100)]
    assert np.mean(naive) < 0.48


@pytest.mark.parametrize(("leak", "expected"), [("uniform", 0.715), ("one", 0.761)])
def test_planted_leaks_have_the_stated_mean_auc(leak, expected):
    """128 models, ten records: ideal .75 over all ten, or 1.2 sd in one of them."""
    generator = np.random.default_rng(10)
    num, k = 800, 10
    d = np.sqrt(2) * scipy.special.ndtri(0.75) / np.sqrt(k)
    shift = np.full(k, d) if leak == "uniform" else np.r_[1.2, np.zeros(k - 1)]
    mask = generator.random((128, num)).argsort(0).argsort(0) < 64
    x = generator.standard_normal((128, num, k)) + mask[..., None] * shift
    z = patients.standardise(x.reshape(128, -1))
    record = np.repeat(np.arange(num), k)
    auc = leave_pair_out.auc(z, mask, record, np.zeros(128, int))
    assert auc.mean() == pytest.approx(expected, abs=0.01)  # s.e. about .003 in both


def test_a_column_without_variation_changes_nothing():
    z, mask, patient_of_record = case(11, sizes=(2, 2))
    block = np.zeros(len(z), int)
    auc = leave_pair_out.auc(z, mask, patient_of_record, block)
    padded = np.concatenate([z, np.zeros((len(z), 2), np.float32)], 1)
    more = np.r_[patient_of_record, 0, 1]
    np.testing.assert_array_equal(leave_pair_out.auc(padded, mask, more, block), auc)


def test_order_of_records_patients_and_models_changes_nothing():
    z, mask, patient_of_record = case(12, sizes=(3, 1, 9))
    block = np.repeat([0, 1], 7)
    auc = leave_pair_out.auc(z, mask, patient_of_record, block)
    generator = np.random.default_rng(13)
    record, patient, model = (generator.permutation(n) for n in (13, 3, 14))
    moved = leave_pair_out.auc(
        z[np.ix_(model, record)],
        mask[np.ix_(model, patient)],
        np.argsort(patient)[patient_of_record[record]],
        block[model],
    )
    np.testing.assert_array_equal(moved, auc[patient])


def test_padding_and_chunks_change_nothing(monkeypatch):
    z, mask, patient_of_record = case(14, sizes=(6, 7, 1, 1))
    block = np.zeros(len(z), int)
    arrays = z, mask, patient_of_record, block
    auc = leave_pair_out.auc(*arrays)
    monkeypatch.setattr(leave_pair_out, "_BYTES_IN_FLIGHT", 1)  # one patient a chunk
    np.testing.assert_array_equal(leave_pair_out.auc(*arrays), auc)
    monkeypatch.setattr(leave_pair_out, "_bucket", lambda k: 16)
    np.testing.assert_array_equal(leave_pair_out.auc(*arrays), auc)


def test_no_second_trace_for_more_patients_of_the_same_sizes():
    z, mask, _ = case(15, sizes=(1,) * 64)
    block, record = np.zeros(len(z), int), np.arange(64)
    leave_pair_out.auc(z, mask, record, block)
    before = pair_wins.twice_wins._cache_size()
    leave_pair_out.auc(z[:, :50], mask[:, :50], record[:50], block)
    assert pair_wins.twice_wins._cache_size() == before


@pytest.mark.parametrize("variance", leave_pair_out.VARIANCES)
def test_saturated_columns_give_no_nan(variance):
    """Constant, one outlier, two values, and a perfect split."""
    mask = (np.arange(12) < 6)[:, None].repeat(5, 1)
    x = np.zeros((12, 5))
    x[3, 1] = 1  # one IN outlier
    x[::2, 2] = 1  # two values
    x[:6, 3] = 5  # perfect split, no variance within
    x[:, 4] = np.r_[0.0, np.full(11, 1000.0)]
    z = patients.standardise(x)
    with jax.debug_nans(True):
        auc = leave_pair_out.auc(z, mask, np.arange(5), np.zeros(12, int), variance)
    assert np.isfinite(auc).all()
    assert auc[0] == 0.5  # nothing to see
    assert auc[3] == 1.0  # everything to see
    assert 0 <= auc.min() <= auc.max() <= 1


def test_equal_values_count_one_half():
    """All but one model are equal: their pairs are ties, not float32 noise."""
    x = np.zeros((20, 1))
    x[0] = 1.0
    mask = (np.arange(20) < 10)[:, None]
    auc = leave_pair_out.auc(
        patients.standardise(x), mask, np.zeros(1, int), np.zeros(20, int)
    )
    ties = 9 * 10
    assert auc[0] * 100 in (ties / 2, ties / 2 + 5, ties / 2 + 10)


def test_too_few_models_for_a_fit_give_one_half():
    z, mask, patient_of_record = case(16, models=6, sizes=(1, 3, 2))
    mask[:, 0] = [True, False, False, False, False, False]
    mask[:, 1] = False
    auc = leave_pair_out.auc(z, mask, patient_of_record, np.zeros(6, int))
    np.testing.assert_array_equal(auc[:2], 0.5)
    assert np.isfinite(auc[2])


def test_unknown_variance_is_named():
    z, mask, patient_of_record = case(17)
    with pytest.raises(validate.InputError, match="did you mean 'pooled'"):
        leave_pair_out.auc(z, mask, patient_of_record, np.zeros(14, int), "poled")
