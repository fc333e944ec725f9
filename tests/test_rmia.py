import functools

import attack_checks
import jax
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from mia_jax import leave_one_out, validate
from mia_jax.attacks import _coefficient, _population, rmia


def _signals(audit, **options):
    scores_fn = jax.jit(functools.partial(rmia.scores, **options))
    found = scores_fn(audit.statistic, audit.record_mask)
    return np.asarray(found.query), found.population


def _naive_share(query, population, member, owner, gap=0.0, is_strict=True):
    """Every pair of a record and a non-member of another owner."""
    out = np.zeros(len(query))
    for x in range(len(query)):
        beaten = compared = 0
        for z in np.flatnonzero(~member & (owner != owner[x])):
            compared += 1
            limit = query[x] - gap
            beaten += population[z] < limit or (
                not is_strict and population[z] == limit
            )
        out[x] = beaten / max(compared, 1)
    return out


@pytest.mark.parametrize("is_balanced", [True, False])
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_signals_equal_the_float64_definition(mode, is_balanced):
    audit = attack_checks.planted(is_balanced=is_balanced)
    found, population = _signals(audit, mode=mode, a=0.3)
    reference = attack_checks.naive_reference(audit, mode, a=0.3)
    expected = np.log(attack_checks.probability(audit.statistic) / reference)
    assert population is None
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)
    with pytest.raises(AssertionError):  # the target among its own references
        wrong = attack_checks.probability(audit.statistic)
        wrong = np.log(wrong / ((1.3 * wrong.mean(0) + 0.7) / 2))
        np.testing.assert_allclose(found, wrong, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("convention, mode", [("out", "offline"), ("all", "all")])
def test_references_of_the_population(convention, mode):
    audit = attack_checks.planted()
    _, found = _signals(audit, population_reference=convention)
    reference = attack_checks.naive_reference(audit, mode)  # a = 1: p_out itself
    expected = np.log(attack_checks.probability(audit.statistic) / reference)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("num_models", [12, 21, 24])
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_trimmed_means_equal_scipy(mode, num_models):
    audit = attack_checks.planted(num_models, 12, 24, is_balanced=False)
    found, _ = _signals(audit, mode=mode, a=0.5, center="trimmed")
    trim = lambda values: scipy.stats.trim_mean(values, 0.2)
    kind = "all" if mode == "online" else "offline"
    reference = attack_checks.naive_reference(audit, kind, 0.5, trim)
    expected = np.log(attack_checks.probability(audit.statistic) / reference)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=3e-6)


@pytest.mark.parametrize("center", ["mean", "trimmed"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_signals_keep_their_digits_where_confidence_saturates(center, sign):
    """p within 1e-9 of 1, or of 0: in float32 a mean of p would hold no digit."""
    audit = attack_checks.planted()
    shifted = audit._replace(statistic=(sign * 20 + audit.statistic).astype(np.float32))
    shifted.statistic[7] += 4 * sign  # one model that outweighs the others
    found, _ = _signals(shifted, mode="offline", a=1.0, center=center)
    trim = lambda values: scipy.stats.trim_mean(values, 0.2)
    kind = np.mean if center == "mean" else trim
    # By 1 - p where p is near 1: log p = log1p(-(1 - p)) is exact in float64.
    if sign > 0:
        mirrored = shifted._replace(statistic=-shifted.statistic)
        rest = attack_checks.naive_reference(mirrored, "offline", 1.0, kind)
        own = attack_checks.probability(mirrored.statistic)
        expected = np.log1p(-own) - np.log1p(-rest)
    else:
        rest = attack_checks.naive_reference(shifted, "offline", 1.0, kind)
        expected = np.log(attack_checks.probability(shifted.statistic) / rest)
    scale = np.abs(expected).max(1, keepdims=True)
    assert (np.abs(found - expected) / scale).max() < 1e-5


@pytest.mark.parametrize("is_strict", [True, False])
@pytest.mark.parametrize("gap", [0.0, np.log(2.0)])
def test_shares_equal_all_pairs_with_planted_ties(gap, is_strict):
    generator = np.random.default_rng(3)
    query = np.round(generator.standard_normal(500), 1).astype(np.float32)
    population = np.round(generator.standard_normal(500), 1).astype(np.float32)
    owner = generator.integers(0, 120, 500)
    member = (generator.random(120) < 0.5)[owner]
    shifted = query - np.float32(gap)
    assert gap or np.isin(shifted, population).mean() > 0.9  # ties abound
    found = _population.share_beaten(shifted, population, ~member, owner, is_strict)
    expected = _naive_share(
        query, population, member, owner, np.float32(gap), is_strict
    )
    np.testing.assert_array_equal(found, expected.astype(np.float32))
    other = _population.share_beaten(shifted, population, ~member, owner, not is_strict)
    assert gap or (other != found).any()


def test_a_record_alone_with_its_patient_has_no_population():
    values = np.arange(4, dtype=np.float32)
    member, owner = np.zeros(4, bool), np.zeros(4, int)
    np.testing.assert_array_equal(
        _population.share_beaten(values, values, ~member, owner), 0.0
    )
    np.testing.assert_array_equal(
        _population.share_beaten(values, values, np.zeros(4, bool), owner), 0.0
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "offline", "a": 0.3, "gamma": 2.0, "strict": False},
        {"population_reference": "out", "gamma": 1.5},
        {"exclude": "record"},
    ],
)
def test_scores_equal_the_double_loop(options):
    audit = attack_checks.planted()
    found = attack_checks.engine_scores(rmia, audit, **options)
    mode, a = options.get("mode", "online"), options.get("a", 1.0)
    p = attack_checks.probability(audit.statistic)
    query = np.log(p / attack_checks.naive_reference(audit, mode, a))
    population = query
    if options.get("population_reference") == "out":
        population = np.log(p / attack_checks.naive_reference(audit, "offline"))
    owner = audit.context.patient_of_record
    if options.get("exclude") == "record":
        owner = np.arange(len(owner))
    gap, is_strict = np.log(options.get("gamma", 1.0)), options.get("strict", True)
    expected = [
        _naive_share(query[t], population[t], member, owner, gap, is_strict)
        for t, member in enumerate(audit.record_mask)
    ]
    # Counts: equal unless two log ratios lie within float32's rounding of each other.
    np.testing.assert_allclose(found, expected, atol=1e-6)


class TestOwnBits:
    @pytest.mark.parametrize(
        "options",
        [
            {"mode": "offline"},
            {"mode": "offline", "a": 0.3, "gamma": 2.0},
            {"population_reference": "out"},
            {"population_reference": "all"},
            {"center": "trimmed"},
            {"mode": "offline", "center": "trimmed"},
        ],
    )
    def test_never_enter(self, options):
        audit = attack_checks.planted()
        assert attack_checks.own_bit_change(rmia, audit, **options) < 1e-5

    def test_enter_by_the_patients_other_records_if_they_are_population(self):
        audit = attack_checks.planted()
        change = attack_checks.own_bit_change(
            rmia, audit, patients=range(10), exclude="record"
        )
        assert change > 1e-3


class TestCoefficient:
    def test_is_that_of_the_largest_auc_in_the_other_half(self):
        audit = attack_checks.planted(24, 100, 200)
        found = rmia.tune(audit.statistic, audit.record_mask, mode="offline")
        assert found.shape == (24, 1) and found.dtype == np.float32
        for half, other in ((slice(12), slice(12, 24)), (slice(12, 24), slice(12))):
            p = attack_checks.probability(audit.statistic[other])
            member = audit.record_mask[other]
            means = []
            for a in _coefficient._GRID:
                aucs = []
                for t in range(12):
                    outside = ~member & (np.arange(12) != t)[:, None]
                    seen = outside.any(0)
                    p_out = (outside * p).sum(0)[seen] / outside.sum(0)[seen]
                    ratio = p[t, seen] / ((1 + a) * p_out + 1 - a)
                    aucs.append(sklearn.metrics.roc_auc_score(member[t, seen], ratio))
                means.append(np.mean(aucs))
            best = _coefficient._GRID[np.argmax(means)]
            np.testing.assert_allclose(found[half], best, rtol=1e-6)

    def test_finds_memorisation(self):
        """Where members are all sure, p_in is near 1 and `a` near 0."""
        audit = attack_checks.planted(24, 200, 300, leak=0.0)
        statistic = np.where(audit.record_mask, 8.0 + audit.statistic, audit.statistic)
        sure = rmia.tune(statistic, audit.record_mask, mode="offline")
        none = rmia.tune(audit.statistic, audit.record_mask, mode="offline")
        assert sure.max() <= 0.5 and none.shape == (24, 1)

    def test_ignores_the_masks_of_its_own_half(self):
        audit = attack_checks.planted(24, 100, 200)
        before = rmia.tune(audit.statistic, audit.record_mask, mode="offline")
        member = audit.record_mask.copy()
        member[:12] = ~member[:12]
        after = rmia.tune(audit.statistic, member, mode="offline")
        np.testing.assert_array_equal(after[:12], before[:12])

    def test_without_enough_models_is_p_out_itself(self):
        audit = attack_checks.planted(2)
        found = rmia.tune(audit.statistic, audit.record_mask, mode="offline")
        np.testing.assert_array_equal(found, 1.0)

    def test_is_not_chosen_where_it_is_given_or_not_used(self):
        audit = attack_checks.planted()
        assert rmia.tune(audit.statistic, audit.record_mask) is None
        assert rmia.tune(audit.statistic, audit.record_mask, "offline", 0.3) is None


class TestVote:
    def _views(self, num_views, spread=1.0):
        audit = attack_checks.planted()
        noise = np.random.default_rng(1).standard_normal(
            (*audit.statistic.shape, num_views)
        )
        views = audit.statistic[..., None] + spread * noise.astype(np.float32)
        return audit._replace(statistic=views.astype(np.float32))

    @pytest.mark.parametrize("num_views", [3, 4])
    def test_counts_records_that_more_than_half_of_the_views_beat(self, num_views):
        audit = self._views(num_views)
        found = attack_checks.engine_scores(rmia, audit, channels="vote")
        ratios = []
        for view in range(num_views):
            one = audit._replace(statistic=audit.statistic[..., view])
            p = attack_checks.probability(one.statistic)
            ratios.append(np.log(p / attack_checks.naive_reference(one)))
        ratios = np.stack(ratios, -1)
        owner = audit.context.patient_of_record
        for target in (0, 7):
            a = ratios[target]
            typical = np.sort(a, axis=1)[:, num_views // 2]
            for x in range(0, len(a), 5):
                z = ~audit.record_mask[target] & (owner != owner[x])
                votes = (a[x][:, None] > typical[None, z]).sum(0)
                expected = (votes > num_views / 2).mean()
                np.testing.assert_allclose(found[target, x], expected, atol=1e-6)

    def test_is_near_the_vote_over_pairs_of_views(self):
        """The authors' code, of which ours is the form that a sort can count."""
        audit = self._views(9, spread=0.3)
        found = attack_checks.engine_scores(rmia, audit, channels="vote")
        p = attack_checks.probability(audit.statistic)
        per_view = [
            attack_checks.naive_reference(audit._replace(statistic=s))
            for s in np.moveaxis(audit.statistic, -1, 0)
        ]
        a = np.log(p / np.stack(per_view, -1))[3]
        beats = (a[:, None, :] > a[None, :, :]).sum(-1) > 4.5
        population = ~audit.record_mask[3]
        expected = beats[:, population].mean(1)
        assert np.abs(found[3] - expected).mean() < 0.05
        assert np.corrcoef(found[3], expected)[0, 1] > 0.99

    def test_of_one_view_is_the_plain_attack(self):
        audit = attack_checks.planted()
        one = audit._replace(statistic=audit.statistic[..., None])
        options = {"mode": "offline"}
        np.testing.assert_allclose(
            attack_checks.engine_scores(rmia, one, channels="vote", **options),
            attack_checks.engine_scores(rmia, audit, **options),
            atol=1e-6,
        )


def test_patient_signal_is_log_p():
    statistic = np.array([[-1e4, -3.0, 0.0, 3.0, 30.0, 1e4]], np.float32)
    found = leave_one_out.patient_signal(rmia, statistic, gamma=2.0)
    np.testing.assert_allclose(
        found, -np.logaddexp(0.0, -statistic.astype(np.float64)), rtol=1e-6
    )


@pytest.mark.parametrize(
    "options, match",
    [
        ({"mode": "onlin"}, "offline, online"),
        ({"population_reference": "in"}, "all, out, same"),
        ({"center": "median"}, "mean, trimmed"),
        ({"a": 1.5}, "at most 1"),
        ({"gamma": 0.0}, "above 0"),
        ({"channels": "sum"}, "mean, vote"),
        ({"exclude": "none"}, "patient, record"),
    ],
)
def test_wrong_options_are_told(options, match):
    with pytest.raises(validate.InputError, match=match):
        _signals(attack_checks.planted(), **options)
