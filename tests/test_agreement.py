"""Overlap of top sets against enumeration, chance level, halves of the models."""

import itertools

import numpy as np
import pytest
import scipy.stats

from mia_jax import validate
from mia_jax.risk import agreement, halves, leave_pair_out, patients


def cohort(seed, num_models=32, num_patients=500, leaky=0.0, d=2.0):
    """One record a patient; the first `leaky` share leak d standard deviations."""
    generator = np.random.default_rng(seed)
    shape = num_models, num_patients
    mask = generator.random(shape).argsort(0).argsort(0) < num_models // 2
    shift = d * (np.arange(num_patients) < leaky * num_patients)
    x = generator.standard_normal(shape) + mask * shift
    arrays = mask, np.arange(num_patients), np.zeros(num_models, int)
    return x.astype(np.float32), *arrays


def test_equal_lists_agree_and_reversed_ones_do_not():
    a = np.random.default_rng(0).random(2000)
    same, turned = agreement.compare(a, a**3), agreement.compare(a, -a)
    assert same["num_top"] == turned["num_top"] == 20
    assert (same["jaccard"], turned["jaccard"]) == (1.0, 0.0)
    assert same["spearman"] == pytest.approx(1)
    assert turned["spearman"] == pytest.approx(-1)


def test_jaccard_is_that_of_sets():
    generator = np.random.default_rng(1)
    a = generator.random(3000)
    b = a + 0.02 * generator.standard_normal(3000)
    top = [set(np.argsort(x)[-30:].tolist()) for x in (a, b)]
    found = agreement.compare(a, b)
    assert found["jaccard"] == pytest.approx(
        len(top[0] & top[1]) / len(top[0] | top[1])
    )
    expected = scipy.stats.spearmanr(a, b).statistic
    assert found["spearman"] == pytest.approx(expected, rel=1e-12)


def test_ties_are_broken_at_random_in_either_list():
    """Many AUCs of 1: the same order of patients in both lists must not look alike."""
    a = np.r_[np.ones(100), np.zeros(900)]
    found = agreement.compare(a, a)
    assert found["num_top"] == 10
    both = 100 * 0.1**2
    assert found["jaccard"] == pytest.approx(both / (20 - both))
    assert agreement.compare(a, np.ones(1000))["spearman"] is None


def test_chance_is_that_of_all_sets():
    chosen = range(3)
    shares = [
        len(set(chosen) & set(s)) / len(set(chosen) | set(s))
        for s in itertools.combinations(range(8), 3)
    ]
    assert agreement.jaccard_by_chance(8, 3) == pytest.approx(np.mean(shares))
    assert agreement.jaccard_by_chance(5, 5) == pytest.approx(1)


def test_at_least_ten_patients_and_at_most_all():
    a = np.arange(30.0)
    assert agreement.compare(a, a)["num_top"] == 10
    assert agreement.compare(a[:4], a[:4])["num_top"] == 4


def test_rows_are_all_pairs_of_attacks():
    generator = np.random.default_rng(2)
    aucs = {name: generator.random(1500) for name in ("lira", "rmia", "loss")}
    proven = {name: auc > 0.9 for name, auc in aucs.items()}
    rows = agreement.rows(aucs, proven)
    assert [(r["a"], r["b"]) for r in rows] == [
        ("lira", "rmia"),
        ("lira", "loss"),
        ("rmia", "loss"),
    ]
    keys = "a b top_share num_top jaccard jaccard_chance spearman jaccard_proven"
    assert list(rows[0]) == keys.split()
    either = proven["lira"] | proven["rmia"]
    both = proven["lira"] & proven["rmia"]
    assert rows[0]["jaccard_proven"] == both.sum() / either.sum()
    assert agreement.rows(aucs)[0]["jaccard_proven"] is None
    assert agreement.rows({"lira": aucs["lira"]}) == []
    nobody = {name: np.zeros(1500, bool) for name in aucs}
    assert agreement.rows(aucs, nobody)[0]["jaccard_proven"] is None


def test_spearman_brown():
    assert agreement.spearman_brown(0.5) == pytest.approx(2 / 3)
    assert agreement.spearman_brown(1.0) == 1.0
    assert agreement.spearman_brown(-0.2) == 0.0
    assert agreement.spearman_brown(None) is None


def test_halves_of_a_null_cohort_agree_by_chance():
    """No leak, 2,000 patients: Spearman within 3 / sqrt(2000) of 0."""
    found = agreement.stability(*cohort(3, 32, 2000))
    keys = "num_models num_top jaccard jaccard_chance spearman spearman_full"
    assert list(found) == keys.split()
    assert found["num_models"] == [16, 16]
    assert abs(found["spearman"]) < 3 / np.sqrt(2000)
    assert found["jaccard"] < found["jaccard_chance"] + 0.08  # 3 s.e.: 3 of 37 shared


def test_halves_of_a_leaky_cohort_agree():
    found = agreement.stability(*cohort(4, 64, 1000, leaky=0.2))
    assert found["spearman"] > 0.4
    assert found["spearman_full"] > found["spearman"]


def test_each_half_is_standardised_by_itself():
    statistic, mask, record, block = cohort(5, 24, 60, leaky=0.5)
    found = agreement.stability(statistic, mask, record, block, model_mean="kept")
    is_first, aucs = halves.split(block), []
    for half in (is_first, ~is_first):
        z = patients.standardise(statistic[half])
        aucs.append(leave_pair_out.auc(z, mask[half], record, block[half]))
    expected = agreement.compare(*aucs)
    assert {key: found[key] for key in expected} == expected


def test_lists_that_do_not_fit_are_refused():
    with pytest.raises(validate.InputError, match="one length"):
        agreement.compare(np.zeros(3), np.zeros(4))
    with pytest.raises(validate.InputError, match="finite"):
        agreement.compare(np.array([1.0, np.nan]), np.zeros(2))
