"""Oracles of the other joint scores in leave-pair-out: LDA, selected record, sum."""

import itertools

import jax
import numpy as np
import pytest
import scipy.stats
import sklearn.covariance

from mia_jax import validate
from mia_jax.risk import covariance, exact, leave_pair_out, pair_wins, patients

SCORES = leave_pair_out.SCORES


def case(seed, models=14, sizes=(1, 2, 3, 1, 9, 2), balanced=True, leak=0.8):
    """Patients with correlated records in shuffled order."""
    generator = np.random.default_rng(seed)
    patient_of_record = generator.permutation(np.repeat(np.arange(len(sizes)), sizes))
    order = generator.random((models, len(sizes))).argsort(0).argsort(0)
    counts = models // 2 if balanced else generator.integers(4, models - 3, len(sizes))
    mask = order < counts
    x = generator.standard_normal((models, len(patient_of_record)))
    x += generator.standard_normal((models, len(sizes)))[:, patient_of_record]
    x += leak * mask[:, patient_of_record]
    return patients.standardise(x), mask, patient_of_record


def shrunk_covariance(x):
    """Ledoit-Wolf of scikit-learn, at least 1 / models of weight on the diagonal."""
    s, weight = np.cov(x.T, ddof=0).reshape(2 * (x.shape[1],)), 1 / len(x)
    if x.shape[1] > 1:
        weight = max(weight, sklearn.covariance.ledoit_wolf_shrinkage(x))
    return (1 - weight) * s + weight * np.trace(s) / len(s) * np.eye(len(s))


def difference(score, x, i, j, member):
    """D of one pair, everything refitted without it."""
    rest = ~np.isin(np.arange(len(x)), [i, j])
    delta = x[member & rest].mean(0) - x[~member & rest].mean(0)
    if score == "lda":
        return delta @ np.linalg.solve(shrunk_covariance(x), x[i] - x[j])
    if score == "selected":
        return (x[i] - x[j])[np.argmax(delta)]
    return x[i].sum() - x[j].sum()


def twin(score, z, mask, patient_of_record, block):
    """[patients] AUC from refits for every pair, and the smallest |D| there was."""
    aucs, closest = [], np.inf
    for patient in range(mask.shape[1]):
        x = z[:, patient_of_record == patient].astype(np.float64)
        member, wins = mask[:, patient], []
        for i, j in itertools.product(np.flatnonzero(member), np.flatnonzero(~member)):
            if block[i] == block[j]:
                d = difference(score, x, i, j, member)
                closest = min(closest, abs(d))
                wins.append((d > 0) + 0.5 * (d == 0))
        aucs.append(np.mean(wins))
    return np.array(aucs), closest


def golden():
    m, r = np.arange(16)[:, None], np.arange(2)
    x = np.sin(1.7 * m + 0.9 * r) + 0.3 * np.cos(5 * m * (r + 1)) + 0.6 * (m < 8)
    return patients.standardise(x), m < 8, np.zeros(2, int), np.zeros(16, int)


def test_golden_sum_is_the_rank_sum():
    assert leave_pair_out.auc(*golden(), score="sum")[0] * 64 == 46


def test_golden_selected_and_lda():
    z, mask, record, block = golden()
    for score in ("selected", "lda"):
        expected, closest = twin(score, z, mask, record, block)
        assert closest > 1e-5
        assert leave_pair_out.auc(*golden(), score=score) == expected


@pytest.mark.parametrize("score", ["lda", "selected", "sum"])
@pytest.mark.parametrize(
    ("balanced", "blocks"), [(True, (14,)), (False, (8, 6)), (True, (2,) * 7)]
)
def test_auc_is_that_of_literal_refits(score, balanced, blocks):
    z, mask, patient_of_record = case(3, balanced=balanced)
    if blocks == (2,) * 7:
        mask[0::2], mask[1::2] = mask[:7].copy(), ~mask[:7]
    block = np.repeat(np.arange(len(blocks)), blocks)
    expected, closest = twin(score, z, mask, patient_of_record, block)
    auc = leave_pair_out.auc(z, mask, patient_of_record, block, score=score)
    assert closest > 1e-6  # no pair so close that float32 may decide otherwise
    np.testing.assert_allclose(auc, expected, rtol=1e-12)


@pytest.mark.parametrize("score", ["lda", "selected"])
def test_more_records_than_models_are_refits_too(score):
    z, mask, patient_of_record = case(4, sizes=(60, 17), leak=0.3)
    block = np.zeros(len(z), int)
    expected, closest = twin(score, z, mask, patient_of_record, block)
    auc = leave_pair_out.auc(z, mask, patient_of_record, block, score=score)
    assert closest > 1e-5
    np.testing.assert_allclose(auc, expected, rtol=1e-12)


def test_differences_of_lda_are_close_to_float64():
    """Beyond the sign: D itself, at 1e-4 of its largest value (float32)."""
    z, mask, _ = case(5, sizes=(8,))
    member = mask[:, 0]
    x = z.T[None].astype(np.float32)
    sides = [np.flatnonzero(member), np.flatnonzero(~member)]
    pairs = pair_wins.Pairs(
        x[:, :, None, sides[0]],
        np.ones((1, 1, len(sides[0])), bool),
        x[:, :, None, sides[1]],
        np.ones((1, 1, len(sides[1])), bool),
    )
    inputs = np.ones((1, 8), np.float32), np.zeros((2, 1), np.float32), np.float32(1)
    precision = covariance.precision(x).astype(np.float32)
    (d,) = pair_wins.differences(
        [pairs], *inputs, precision, variance="pooled", score="lda"
    )
    expected = [
        [difference("lda", z.astype(np.float64), i, j, member) for j in sides[1]]
        for i in sides[0]
    ]
    atol = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(np.asarray(d)[0, 0], expected, rtol=0, atol=atol)


@pytest.mark.parametrize(("models", "k"), [(40, 1), (40, 3), (40, 12), (12, 30)])
def test_precision_is_the_inverse_of_ledoit_wolf(models, k):
    z = case(6, models=models, sizes=(k,))[0].astype(np.float64)
    expected = np.linalg.inv(shrunk_covariance(z))
    np.testing.assert_allclose(covariance.precision(z.T[None])[0], expected, rtol=1e-6)


def test_precision_ignores_padding_and_bounds_repeated_records():
    z = case(7, models=20, sizes=(3,))[0].T
    padded = np.concatenate([z, np.zeros((2, 20))])[None]
    found = covariance.precision(padded)[0]
    np.testing.assert_allclose(found[:3, :3], covariance.precision(z[None])[0])
    assert not found[3:].any() and not found[:, 3:].any()
    # Two levels, twice the same record: S is singular and the formula's weight 0.
    twice = np.tile(np.where(np.arange(20) < 10, 1.0, -1.0), (2, 1))[None]
    assert sklearn.covariance.ledoit_wolf_shrinkage(twice[0].T) == 0
    assert np.abs(covariance.precision(twice)).max() < 2 * 20


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("blocks", [(8,), (4, 4)])
def test_mean_over_all_masks_is_exactly_one_half(score, blocks):
    """The promise: any fixed scores, all masks of the design, mean AUC 1/2."""
    z = patients.standardise(np.random.default_rng(8).gamma(1.0, size=(8, 3)))
    halves = [
        [np.isin(np.arange(n), c) for c in itertools.combinations(range(n), n // 2)]
        for n in blocks
    ]
    masks = np.array([np.concatenate(m) for m in itertools.product(*halves)]).T
    num_masks = masks.shape[1]  # every mask is a "patient" with the same records
    record = np.repeat(np.arange(num_masks), 3)
    block = np.repeat(np.arange(len(blocks)), blocks)
    auc = leave_pair_out.auc(np.tile(z, num_masks), masks, record, block, score=score)
    assert auc.mean() == pytest.approx(0.5, abs=1e-12)
    assert auc.std() > 0.1


def test_a_record_selected_with_the_pair_is_rejected():
    """The wrong variant: means that include the pair. No leak, five records."""
    generator = np.random.default_rng(9)
    num, k = 400, 5
    mask = generator.random((32, num)).argsort(0).argsort(0) < 16
    z = patients.standardise(generator.standard_normal((32, num * k)))
    record = np.repeat(np.arange(num), k)
    auc = leave_pair_out.auc(z, mask, record, np.zeros(32, int), score="selected")
    # sd of a patient's AUC about .13, so the s.e. is .0065.
    assert abs(auc.mean() - 0.5) < 0.02
    wrong = []
    for patient in range(num):
        x, member = z[:, record == patient], mask[:, patient]
        r = np.argmax(x[member].mean(0) - x[~member].mean(0))
        wrong.append((x[member, r][:, None] > x[~member, r]).mean())
    assert np.mean(wrong) > 0.58


@pytest.mark.parametrize(
    ("score", "leak", "expected"),
    [
        ("sum", "all", 0.750),
        ("lda", "all", 0.722),
        ("selected", "all", 0.581),
        ("sum", "one", 0.593),
        ("lda", "one", 0.767),
        ("selected", "one", 0.802),
    ],
)
def test_planted_leaks_have_the_stated_mean_auc(score, leak, expected):
    """128 models, ten records: ideal .75 over all ten, or 1.2 sd in one of them."""
    generator = np.random.default_rng(10)
    num, k = 500, 10
    d = np.sqrt(2) * scipy.stats.norm.ppf(0.75) / np.sqrt(k)
    shift = np.full(k, d) if leak == "all" else np.r_[1.2, np.zeros(k - 1)]
    mask = generator.random((128, num)).argsort(0).argsort(0) < 64
    x = generator.standard_normal((128, num, k)) + mask[..., None] * shift
    z = patients.standardise(x.reshape(128, -1))
    arrays = z, mask, np.repeat(np.arange(num), k), np.zeros(128, int)
    mean = leave_pair_out.auc(*arrays, score=score).mean()
    assert mean == pytest.approx(expected, abs=0.015)  # s.e. up to .004


def test_one_record_needs_no_joining():
    """LDA is the pooled form; the selected record and the sum are the rank AUC."""
    z, mask, record = case(11, sizes=(1,) * 6)
    arrays = z, mask, record, np.zeros(len(z), int)
    pooled = leave_pair_out.auc(*arrays, variance="pooled")
    np.testing.assert_array_equal(leave_pair_out.auc(*arrays, score="lda"), pooled)
    ranks = exact.rank_sums(z, mask, arrays[-1], record)[np.argsort(record)] / 49
    for score in ("selected", "sum"):
        np.testing.assert_allclose(leave_pair_out.auc(*arrays, score=score), ranks)


@pytest.mark.parametrize("score", ["lda", "selected"])
def test_constant_columns_order_padding_and_chunks_change_nothing(score, monkeypatch):
    z, mask, record = case(12, sizes=(6, 7, 1, 11))
    block = np.repeat([0, 1], 7)
    auc = leave_pair_out.auc(z, mask, record, block, score=score)
    padded = np.concatenate([z, np.zeros((len(z), 2), np.float32)], 1)
    more = leave_pair_out.auc(padded, mask, np.r_[record, 0, 2], block, score=score)
    np.testing.assert_array_equal(more, auc)
    order, model = (np.random.default_rng(13).permutation(n) for n in (25, 14))
    moved = z[np.ix_(model, order)], mask[model], record[order], block[model]
    np.testing.assert_array_equal(leave_pair_out.auc(*moved, score=score), auc)
    monkeypatch.setattr(leave_pair_out, "_BYTES_IN_FLIGHT", 1)  # one patient a chunk
    monkeypatch.setattr(leave_pair_out, "_bucket", lambda k: 16)
    again = leave_pair_out.auc(z, mask, record, block, score=score)
    np.testing.assert_array_equal(again, auc)


@pytest.mark.parametrize("score", SCORES)
def test_saturated_columns_give_ties_and_no_nan(score):
    """All but one model equal; all equal; repeated records; a perfect split."""
    mask = (np.arange(20) < 10)[:, None].repeat(4, 1)
    x = np.zeros((20, 8))
    x[0, :2] = 1.0
    x[:, 4:6] = np.random.default_rng(14).standard_normal((20, 1))
    x[:10, 6:] = 5.0
    arrays = patients.standardise(x), mask, np.arange(8) // 2, np.zeros(20, int)
    with jax.debug_nans(True):
        auc = leave_pair_out.auc(*arrays, score=score)
    ties = 9 * 10
    assert round(auc[0] * 100, 9) in (ties / 2, ties / 2 + 5, ties / 2 + 10)
    assert auc[1] == 0.5
    assert 0 <= auc[2] <= 1
    assert auc[3] == 1.0


@pytest.mark.parametrize("score", ["lda", "selected"])
def test_too_few_models_for_a_fit_give_one_half(score):
    z, mask, record = case(15, models=6, sizes=(2, 3, 12))
    mask[:, 0] = np.arange(6) == 0
    mask[:, 1] = False
    mask[:, 2] = np.arange(6) == 0
    auc = leave_pair_out.auc(z, mask, record, np.zeros(6, int), score=score)
    np.testing.assert_array_equal(auc, 0.5)


def test_sums_are_those_of_a_loop():
    z, _, record = case(16)
    expected = [z[:, record == p].astype(np.float64).sum(1) for p in range(6)]
    np.testing.assert_allclose(
        leave_pair_out.sums(z, record), np.transpose(expected), rtol=0, atol=1e-12
    )


def test_unknown_score_is_named():
    z, mask, record = case(17)
    with pytest.raises(validate.InputError, match="did you mean 'selected'"):
        leave_pair_out.auc(z, mask, record, np.zeros(14, int), score="select")
