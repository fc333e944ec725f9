"""Poisson sampling of patients, their records, noise, and the table of units."""

import cohorts
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mia_jax import contracts, units
from mia_jax.dp import noise, sampling

NUM_UNITS, NUM_MEMBERS, Q, STEPS = 60, 31, sampling.realisable(0.2), 3000


def _members(padded=40, seed=0):
    chosen = np.random.default_rng(seed).permutation(NUM_UNITS)[:NUM_MEMBERS]
    index = np.zeros(padded, np.int32)
    index[:NUM_MEMBERS] = np.sort(chosen)
    return jax.device_put(contracts.Members(index, np.int32(NUM_MEMBERS)))


def _draws(key, members, padded=NUM_MEMBERS, q=Q):
    keys = jax.vmap(lambda step: jax.random.fold_in(key, step))(jnp.arange(STEPS))
    draw = lambda key: sampling.poisson(key, members, NUM_UNITS, q, padded)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(draw))(keys))


def _included(draws):
    """[steps, units] bool."""
    found = np.zeros((len(draws.unit), NUM_UNITS), bool)
    for row, unit, is_included in zip(
        found, draws.unit, draws.is_included, strict=True
    ):
        row[unit[is_included]] = True
        assert row.sum() == is_included.sum()  # none twice
    return found


def test_every_member_and_nobody_else_is_drawn_by_its_own_coin():
    members = _members()
    found = _included(_draws(jax.random.key(0), members))
    is_member = np.isin(np.arange(NUM_UNITS), members.index[:NUM_MEMBERS])
    assert not found[:, ~is_member].any()
    counts = found[:, is_member].sum(0)
    z = (counts - STEPS * Q) / np.sqrt(STEPS * Q * (1 - Q))
    assert abs(z).max() < 4.5  # 31 binomials; P(fails) < 3e-4
    assert 0.4 < z.std() < 1.6  # fixed-size batches, or shared coins, are not binomial
    sizes = found.sum(1)
    expected = NUM_MEMBERS * Q * (1 - Q)
    assert abs(sizes.var() / expected - 1) < 0.13  # 5 s.e. of a variance
    lag = np.corrcoef(found[1:, is_member].ravel(), found[:-1, is_member].ravel())[0, 1]
    assert abs(lag) < 5 / np.sqrt(found.size / 2)


def test_other_members_move_no_coin():
    """The patients that two member sets share are drawn at the same steps."""
    key = jax.random.key(1)
    one, other = _members(), _members(seed=1)
    shared = np.intersect1d(one.index[:NUM_MEMBERS], other.index[:NUM_MEMBERS])
    assert 0 < len(shared) < NUM_MEMBERS
    a, b = (_included(_draws(key, members)) for members in (one, other))
    np.testing.assert_array_equal(a[:, shared], b[:, shared])


def test_models_and_steps_share_no_coins():
    a, b = (_included(_draws(jax.random.key(k), _members())) for k in (2, 3))
    both = np.corrcoef(*(d[:, _members().index[:NUM_MEMBERS]].ravel() for d in (a, b)))[
        0, 1
    ]
    assert abs(both) < 5 / np.sqrt(a.size / 2)


def test_overflow_is_counted_and_padding_is_not_a_patient():
    draws = _draws(jax.random.key(4), _members(), padded=6)
    sizes = _included(draws).sum(1)
    np.testing.assert_array_equal(sizes, np.minimum(draws.num_included, 6))
    assert (draws.num_included > 6).any() and (draws.num_included < 6).any()
    share = (draws.num_included > 6).mean()
    p = stats.binom.sf(6, NUM_MEMBERS, Q)
    assert abs(share - p) < 5 * np.sqrt(p * (1 - p) / STEPS)


def test_probability_one_takes_everybody():
    draws = _draws(jax.random.key(5), _members(), q=1.0)
    assert (draws.num_included == NUM_MEMBERS).all()


@pytest.mark.parametrize("q", [1e-6, 0.0866, 0.1, 1.0])
def test_coins_are_whole_words(q):
    found = sampling.realisable(q)
    assert 0 <= found - q < 2.0**-32 and (found * 2**32).is_integer()


class TestRecords:
    """Patients with 1 to 7 records, at most 3 drawn."""

    COUNT = np.array([1, 2, 3, 4, 7], np.int32)
    UNITS = contracts.Units(
        np.arange(100, 117, dtype=np.int32),
        np.r_[0, np.cumsum(COUNT)[:-1]].astype(np.int32),
        COUNT,
    )

    def _draw(self, key, units, is_included=None):
        unit = np.asarray(units, np.int32)
        is_included = np.ones(len(unit), bool) if is_included is None else is_included
        patients = sampling.Patients(unit, np.asarray(is_included), np.int32(len(unit)))
        given = jax.device_put((self.UNITS, patients))
        record, weight = sampling.records(key, *given, 3)
        return np.asarray(record), np.asarray(weight)

    def test_records_are_the_patients_own_without_repetition(self):
        for seed in range(20):
            record, weight = self._draw(jax.random.key(seed), range(5))
            assert weight.dtype == np.float32
            np.testing.assert_allclose(weight.sum(1), 1, rtol=1e-6)
            for unit, (row, w) in enumerate(zip(record, weight, strict=True)):
                used = row[w > 0]
                assert len(used) == len(set(used)) == min(self.COUNT[unit], 3)
                start = self.UNITS.start[unit]
                own = self.UNITS.records[start : start + self.COUNT[unit]]
                assert np.isin(row, own).all()

    def test_every_record_is_drawn_equally_often(self):
        keys = jax.random.split(jax.random.key(0), 7000)
        record, _ = jax.vmap(
            lambda key: sampling.records(
                key,
                jax.device_put(self.UNITS),
                sampling.Patients(jnp.array([4]), jnp.array([True]), jnp.int32(1)),
                3,
            )
        )(keys)
        counts = np.bincount(np.asarray(record).ravel() - 110, minlength=7)
        # A Feistel network of few rounds on 7 positions is nearly even, not exactly.
        np.testing.assert_allclose(counts / 3000, 1, atol=0.1)

    def test_absent_patients_weigh_nothing(self):
        _, weight = self._draw(jax.random.key(0), [4, 0, 0], [True, False, True])
        assert (weight[1] == 0).all() and weight[2].tolist() == [1, 0, 0]

    def test_other_patients_of_the_batch_change_nothing(self):
        key = jax.random.key(3)
        alone, together = self._draw(key, [4]), self._draw(key, [2, 3, 4])
        np.testing.assert_array_equal(alone[0][0], together[0][2])


def test_noise_has_its_deviation_and_a_key_for_each_leaf():
    tree = {"a": jnp.zeros((300, 40)), "b": jnp.zeros((300, 40)), "c": jnp.ones(5000)}
    key = jax.random.key(0)
    noisy = jax.tree.map(np.asarray, noise.add(key, tree, 0.7))
    for name, values in noisy.items():
        z = (values - (name == "c")) / 0.7
        # Of 5,000 or more: sigma is accepted, 2/3 and 3/2 of it are 20 s.e. away.
        assert abs(z.std() - 1) * np.sqrt(2 * z.size) < 5
        assert stats.kstest(z.ravel(), "norm").pvalue > 1e-4
    parts = noisy["a"].ravel(), noisy["b"].ravel()
    assert abs(np.corrcoef(*parts)[0, 1]) < 5 / np.sqrt(len(parts[0]))
    later = noise.add(jax.random.fold_in(key, 1), tree, 0.7)
    assert abs(np.corrcoef(parts[0], later["a"].ravel())[0, 1]) < 0.05
    same = noise.add(key, tree, 0.0)
    np.testing.assert_array_equal(same["c"], tree["c"])


class TestUnits:
    def test_patients_own_all_their_records_and_test_patients_none(self):
        dataset = cohorts.small()
        table = units.table(dataset, "patient")
        pool = np.flatnonzero(~dataset.is_test)
        np.testing.assert_array_equal(table.patient, pool)
        for unit, patient in enumerate(pool):
            start, count = table.units.start[unit], table.units.count[unit]
            found = table.units.records[start : start + count]
            expected = np.flatnonzero(dataset.patient_of_record == patient)
            np.testing.assert_array_equal(found, expected)

    def test_households_own_the_records_of_all_their_patients(self):
        dataset = cohorts.small()
        households = dataset._replace(
            unit_of_patient=dataset.unit_of_patient // 3, unit="household"
        )
        table = units.table(households, "patient")
        assert table.units.count.sum() == dataset.is_pool_record.sum()
        unit = households.unit_of_patient[table.patient]
        assert (np.diff(unit) > 0).all()
        last = table.units.start[-1]
        owner = households.patient_of_record[table.units.records[last:]]
        assert set(households.unit_of_patient[owner]) == {unit[-1]}

    def test_records_are_their_own_units(self):
        dataset = cohorts.small()
        table = units.table(dataset, "record")
        expected = np.flatnonzero(dataset.is_pool_record)
        np.testing.assert_array_equal(table.units.records, expected)
        assert (table.units.count == 1).all()
        np.testing.assert_array_equal(
            table.patient, dataset.patient_of_record[expected]
        )
