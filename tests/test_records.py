"""The worst record: unbiased by selection in the pair or on the other half."""

import numpy as np
import pytest
import scipy.stats

from mia_jax import validate
from mia_jax.risk import halves, leave_pair_out, patients, records


def cohort(seed, num_models, num_patients, k, shift=0.0, rho=0.0):
    """Null records with a common factor; the first of each patient leaks `shift`."""
    generator = np.random.default_rng(seed)
    shape = num_models, num_patients, k
    mask = generator.random(shape[:2]).argsort(0).argsort(0) < num_models // 2
    x = np.sqrt(1 - rho) * generator.standard_normal(shape)
    x += np.sqrt(rho) * generator.standard_normal((*shape[:2], 1))
    x[..., 0] += shift * mask
    z = patients.standardise(x.reshape(num_models, -1))
    record = np.repeat(np.arange(num_patients), k)
    return z, mask, record, np.zeros(num_models, int)


def twin(z, mask, record, block, is_first):
    """The cross-fitted maximum of every patient in loops."""
    z, found = z.astype(np.float64), []
    for patient in range(mask.shape[1]):
        columns, ways = np.flatnonzero(record == patient), []
        for chosen in (is_first, ~is_first):
            aucs = [
                [rank_auc(z[half, c], mask[half, patient], block[half])
                 for c in columns]
                for half in (chosen, ~chosen)
            ]  # fmt: skip
            ways.append(aucs[1][int(np.argmax(aucs[0]))])
        found.append(np.mean(ways))
    return np.array(found)


def rank_auc(x, member, block):
    wins = pairs = 0
    for b in np.unique(block):
        into, out = x[member & (block == b)], x[~member & (block == b)]
        if len(into) and len(out):
            wins += scipy.stats.mannwhitneyu(into, out).statistic
            pairs += len(into) * len(out)
    return wins / pairs if pairs else 0.5


@pytest.mark.parametrize("blocks", [(24,), (14, 10), (2,) * 12])
def test_cross_fitted_maximum_is_that_of_loops(blocks):
    z, mask, record, _ = cohort(0, 24, 8, 4, shift=0.8)
    if blocks == (2,) * 12:
        mask[0::2], mask[1::2] = mask[:12].copy(), ~mask[:12]
    block = np.repeat(np.arange(len(blocks)), blocks)
    record = np.random.default_rng(1).permutation(record)
    expected = twin(z, mask, record, block, halves.split(block, 5))
    found = records.cross_fitted(z, mask, record, block, seed=5)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_both_are_unbiased_where_the_largest_is_not(rho):
    """No leak, 64 models, ten records: within 3 s.e. of 1/2 (false alarm .3 % each).

    The naive maximum is .61 (rho 0), more than 50 s.e. above.
    """
    arrays = cohort(2, 64, 1500, 10, rho=rho)
    in_pair, crossed = records.worst(*arrays), records.cross_fitted(*arrays)
    for auc in (in_pair, crossed):
        error = auc.std(ddof=1) / np.sqrt(len(auc))
        assert abs(auc.mean() - 0.5) < 3 * error
    naive = records.largest(records.audit(*arrays).auc, arrays[2])
    assert naive.mean() - 0.5 > 20 * naive.std() / np.sqrt(len(naive))
    assert naive.mean() > (0.6 if rho == 0 else 0.57)


def test_a_planted_record_is_found():
    """1.2 sd in one of ten records, 128 models: true AUC .802."""
    arrays = cohort(3, 128, 300, 10, shift=1.2)
    true = scipy.stats.norm.cdf(1.2 / np.sqrt(2))
    in_pair, crossed = records.worst(*arrays), records.cross_fitted(*arrays)
    assert in_pair.mean() == pytest.approx(true, abs=0.01)
    # Half of the models miss the record now and then.
    assert true - 0.03 < crossed.mean() < true + 0.01
    joint = leave_pair_out.auc(*arrays)
    assert in_pair.mean() > joint.mean() + 0.02


def test_one_record_is_its_own_worst():
    arrays = cohort(4, 32, 20, 1, shift=0.5)
    expected = records.audit(*arrays).auc
    np.testing.assert_allclose(records.worst(*arrays), expected, rtol=1e-12)


def test_summary_has_shares_and_a_null():
    auc = np.array([0.5, 0.65, 0.75, 0.95])
    found = records.summary(auc, np.array([0.4, 0.5]))
    assert found["mean"] == pytest.approx(0.7125)
    assert found["null_mean"] == pytest.approx(0.45)
    assert found["share_above"] == {"0.6": 0.75, "0.7": 0.5, "0.8": 0.25, "0.9": 0.25}
    assert records.summary(auc, None)["null_mean"] == 0.5


def test_halves_divide_blocks_and_keep_pairs_together():
    block = np.repeat([3, 7, 9], [10, 5, 7])
    is_first = halves.split(block, 1)
    assert [is_first[block == b].sum() for b in (3, 7, 9)] in ([5, 3, 3], [5, 2, 4])
    pairs = np.repeat(np.arange(9), 2)
    is_first = halves.split(pairs, 1)
    assert (is_first[0::2] == is_first[1::2]).all()
    assert is_first.sum() in (8, 10)
    assert (halves.split(block, 1) == halves.split(block, 1)).all()
    assert (halves.split(block, 1) != halves.split(block, 2)).any()


def test_three_models_have_no_halves():
    with pytest.raises(validate.InputError, match="two models each"):
        halves.split(np.zeros(3, int))
