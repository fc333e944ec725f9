"""Steps of patient-level DP-SGD: seven properties, each of which finds planted bugs.

Every statistic is computed on the defence as it is, and again with a bug planted
(`dp_steps.BUGS`), where it must leave its bound.
"""

import pathlib

import dp_steps
import numpy as np
import pytest

from mia_jax import models

FAMILIES = pytest.mark.parametrize("family", dp_steps.FAMILIES)
BATCH = dp_steps.BATCH
KEYS = np.arange(512)
SILENT = {"noise_multiplier": 0.0}


def _check(statistic, family, bound, bugs):
    """Within its bound on the defence, outside with each of the bugs."""
    right, wrong = (dp_steps.step(family, has_bugs) for has_bugs in (False, True))
    assert statistic(right, "none") < bound
    assert statistic(wrong, "none") < bound  # it is the bug that is found
    found = {bug: statistic(wrong, bug) for bug in bugs}
    assert min(found.values()) > bound, found


def test_every_model_family_is_tested():
    folder = pathlib.Path(models.__file__).parent
    assert {p.stem for p in folder.glob("[!_]*.py")} == set(dp_steps.FAMILIES)


@FAMILIES
def test_bugs_are_planted_in_an_equal_program(family):
    right, wrong = (dp_steps.step(family, has_bugs) for has_bugs in (False, True))
    members, keys = np.arange(30), np.arange(20)
    np.testing.assert_allclose(
        right(members, key=keys), wrong(members, key=keys), rtol=1e-4, atol=1e-6
    )


def _deviations(step, bug):
    """[leaves] standard errors by which the noise of an empty batch misses sigma."""
    unit = BATCH / step.defence.hyper["noise_multiplier"]
    leaves = step.leaves(step([], bug=bug, key=KEYS) * unit)
    return [abs(v.std() - 1) * np.sqrt(2 * v.size) for v in leaves]


@FAMILIES
def test_d1_every_leaf_has_the_noise_that_is_accounted_for(family):
    missing = "no noise on the first leaf", "no noise on the last leaf"
    worst = lambda step, bug: max(_deviations(step, bug))
    _check(worst, family, 5, missing)
    # On every single leaf, the smallest of one weight included: 10 s.e. at least.
    best = lambda step, bug: min(_deviations(step, bug))
    scaled = "2/3 of the noise", "3/2 of the noise", "noise divided twice"
    _check(best, family, 5, scaled)


def _largest_move(step, bug):
    """The most that one more patient moves the sum, in clipping norms."""
    everybody, added = np.arange(40), range(0, 40, 5)
    members = [np.delete(everybody, u) for u in added] + [everybody]
    moves = []
    for key in range(6):
        found = step(members, bug=bug, key=key, scale=1e4)
        moves.append(np.linalg.norm(found[:-1] - found[-1], axis=1) * BATCH)
    return np.max(moves)


@FAMILIES
def test_d2_a_patient_moves_the_sum_by_the_clipping_norm_at_most(family):
    # 1e-4: float32 sums of 20 gradients and noise, which cancel in the difference.
    bugs = "no clip", "clip of each record"
    _check(_largest_move, family, 1 + 1e-4, bugs)
    assert _largest_move(dp_steps.step(family), "none") > 1 - 1e-4  # nor by less


def _correlation(a, b):
    """In standard errors."""
    return abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) * np.sqrt(a.size)


def _correlation_of_steps(step, bug):
    first, second = (step([], bug=bug, key=KEYS[:64], step=s) for s in (0, 1))
    return max(_correlation(first, second), _correlation(first[1:], first[:-1]))


@FAMILIES
def test_d3_steps_and_models_share_no_noise(family):
    _check(_correlation_of_steps, family, 5, ["same noise at every step"])


def _correlation_of_leaves(step, bug):
    leaves = step.leaves(step([], bug=bug, key=KEYS))
    pairs = [(a, b) for i, a in enumerate(leaves) for b in leaves[:i]]
    width = lambda a, b: min(a.shape[1], b.shape[1])
    return max(_correlation(*(v[:, : width(a, b)] for v in (a, b))) for a, b in pairs)


@FAMILIES
def test_d4_leaves_share_no_noise(family):
    _check(_correlation_of_leaves, family, 5, ["same noise for every leaf"])


def _additivity(step, bug):
    """Relative size of out(A + B) + out(nobody) - out(A) - out(B)."""
    a, b = np.arange(20), np.arange(20, 40)
    both, none, one, other = step([np.r_[a, b], a[:0], a, b], bug=bug, key=2)
    return np.linalg.norm(both + none - one - other) / np.linalg.norm(both)


@FAMILIES
def test_d5_patients_add_up_over_a_fixed_number(family):
    bugs = "divided by the realised batch", "fixed-size batch"
    _check(_additivity, family, 1e-5, bugs)


def _poisoned(step, members):
    """Inputs of all but the members are NaN, and their labels are turned."""
    dataset = step.dataset
    used = np.isin(dataset.patient_of_record, step.patient[members])[:, None]
    inputs = np.where(used, dataset.inputs, np.float32(np.nan))
    labels = np.where(used[:, 0], dataset.labels, 1 - dataset.labels)
    return dataset._replace(inputs=inputs, labels=labels)


def _leak(step, bug):
    """Share of steps that see what does not belong to a member: data, padding."""
    members, keys = np.arange(1, 40, 2), np.arange(32)
    clean = step(members, bug=bug, key=keys)
    changes = {"dataset": _poisoned(step, members)}, {"fill": 4}
    others = [step(members, bug=bug, key=keys, **change) for change in changes]
    return max((clean != other).any(1).mean() for other in others)


@FAMILIES
def test_d6_what_is_not_a_members_changes_no_bit(family):
    bugs = "padding is a patient", "padding is a member", "a neighbour's record"
    _check(_leak, family, 1e-9, bugs)


@FAMILIES
def test_d6_what_is_a_members_changes_the_gradient(family):
    """Or the test above would be of nothing."""
    step, members = dp_steps.step(family), np.arange(1, 40, 2)
    own = np.isin(step.dataset.patient_of_record, step.patient[members])
    for record in np.flatnonzero(own)[::10]:
        inputs = step.dataset.inputs.copy()
        inputs[record] += 1.0
        changed = step.dataset._replace(inputs=inputs)
        clean = step(members, key=np.arange(32))
        other = step(members, key=np.arange(32), dataset=changed)
        assert (clean != other).any(1).any()


def _presence(step, bug):
    """[units, steps, models] bool: alone, a patient who is drawn has a gradient."""
    chosen, steps, models = range(0, 48, 8), range(40), range(2)
    cells = [(u, s, m) for u in chosen for s in steps for m in models]
    unit, number, key = np.array(cells).T
    found = step(unit[:, None], bug=bug, step=number, key=key, hyper=SILENT)
    return found.any(1).reshape(len(chosen), len(steps), len(models))


def _misdrawn(step, bug):
    """Standard errors by which counts, or coins of two models, miss what they are."""
    is_drawn = _presence(step, bug)
    num_units, num_steps, num_models = is_drawn.shape
    q = BATCH / (step.num_units / 2)
    one = np.sqrt(q * (1 - q) / num_steps / num_models)
    misses = abs(is_drawn.mean((1, 2)) - q).max() / one
    centred = is_drawn - q
    shared = abs(centred.prod(2).mean()) / (q * (1 - q))
    return max(misses, shared * np.sqrt(num_units * num_steps))


@FAMILIES
def test_d7_patients_are_drawn_as_it_is_accounted_for(family):
    bugs = "fixed-size batch", "same coins for all models"
    _check(_misdrawn, family, 5, bugs)
