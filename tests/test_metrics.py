"""Metrics against scikit-learn, brute force and closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from mia_jax import metrics, validate

# Few distinct values: ties everywhere.
TIED = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40)


def sample(seed: int, num_records: int = 400, is_tied: bool = False):
    """[records] scores and membership, members higher by half a deviation."""
    rng = np.random.default_rng(seed)
    is_member = rng.random(num_records) < 0.4
    scores = rng.normal(size=num_records) + 0.5 * is_member
    return np.round(scores * 4) if is_tied else scores, is_member


def brute_auc(scores, is_member):
    pairs = scores[is_member][:, None] - scores[~is_member]
    return (pairs > 0).mean() + 0.5 * (pairs == 0).mean()


def brute_tpr(scores, is_member, fpr):
    """Every threshold, plus "nobody": the best allowed one."""
    best = 0.0
    for threshold in np.unique(scores):
        said = scores >= threshold
        if said[~is_member].mean() <= fpr:
            best = max(best, said[is_member].mean())
    return best


@pytest.mark.parametrize("is_tied", [False, True])
def test_roc_and_auc_are_sklearns(is_tied):
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    for seed in range(5):
        scores, is_member = sample(seed, is_tied=is_tied)
        fpr, tpr = metrics.roc(scores, is_member)
        expected = sklearn_metrics.roc_curve(is_member, scores, drop_intermediate=False)
        assert np.allclose(fpr, expected[0]) and np.allclose(tpr, expected[1])
        auc = sklearn_metrics.roc_auc_score(is_member, scores)
        assert math.isclose(metrics.auc(scores, is_member), auc, rel_tol=1e-12)


@settings(max_examples=200, deadline=None)
@given(TIED)
def test_ties(records):
    scores, is_member = map(np.array, zip(*records, strict=True))
    if is_member.all() or not is_member.any():
        assert math.isnan(metrics.auc(scores, is_member))
        assert np.isnan(metrics.tpr_at_fpr(scores, is_member, [0.1, 0.5])).all()
        return
    auc = metrics.auc(scores, is_member)
    assert math.isclose(auc, brute_auc(scores, is_member), abs_tol=1e-12)
    assert math.isclose(auc + metrics.auc(-scores, is_member), 1, abs_tol=1e-12)
    fpr, tpr = metrics.roc(scores, is_member)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert np.all(np.diff(fpr) >= 0) and np.all(np.diff(tpr) >= 0)
    # Trapezoids through the points of a step ROC count a tie one half.
    assert math.isclose(np.trapezoid(tpr, fpr), auc, abs_tol=1e-12)
    grid = np.r_[0.0, 0.01, 0.1, 1 / 3, 0.5, 0.99, 1.0, fpr]
    expected = [brute_tpr(scores, is_member, f) for f in grid]
    assert np.allclose(metrics.tpr_at_fpr(scores, is_member, grid), expected)


def test_auc_of_normals():
    """Phi(d / sqrt 2); standard error .0013 at 40,000 records."""
    rng = np.random.default_rng(0)
    is_member = np.arange(40000) < 20000
    auc = metrics.auc(rng.normal(size=40000) + 1.5 * is_member, is_member)
    assert abs(auc - special.ndtr(1.5 / math.sqrt(2))) < 0.005


def test_auc_survives_infinite_scores():
    scores, is_member = np.array([-np.inf, 0, np.inf]), np.array([False, True, True])
    assert metrics.auc(scores, is_member) == 1.0
    everything = metrics.tpr_at_fpr(np.full(4, -np.inf), np.arange(4) < 2, [0.0, 1.0])
    assert everything.tolist() == [0.0, 1.0]


def test_tpr_at_fpr_is_conservative():
    """Ties at the threshold: interpolation would claim .5, a step ROC claims 0."""
    scores = np.array([2.0, 2.0, 2.0, 1.0])
    is_member = np.array([True, True, False, False])
    assert metrics.tpr_at_fpr(scores, is_member, 0.25) == 0.0
    fpr, tpr = metrics.roc(scores, is_member)
    assert np.interp(0.25, fpr, tpr) == 0.5
    assert metrics.tpr_at_fpr(scores, is_member, 0.5) == 1.0


def test_tpr_at_fpr_counts_false_alarms_exactly():
    """Rates such as .29 of 100 must allow 29 false alarms, though .29 * 100 < 29."""
    for num_others in (100, 300, 1000, 16164):
        scores = np.r_[np.arange(num_others)[::-1] + 0.5, np.arange(num_others)[::-1]]
        is_member = np.arange(2 * num_others) < num_others
        alarms = np.arange(num_others + 1)
        # Member i is above all but i non-members, so k alarms give k + 1 hits.
        expected = np.minimum(alarms + 1, num_others) / num_others
        found = metrics.tpr_at_fpr(scores, is_member, alarms / num_others)
        assert np.array_equal(found, expected)


def test_tpr_at_fpr_takes_a_number_or_an_array():
    scores, is_member = sample(1)
    one = metrics.tpr_at_fpr(scores, is_member, 0.1)
    assert np.ndim(one) == 0
    assert metrics.tpr_at_fpr(scores, is_member, [0.1, 0.2])[0] == one


def test_bad_scores_are_refused():
    with pytest.raises(validate.InputError, match="1 of 2 are NaN"):
        metrics.auc([0.0, np.nan], [True, False])
    with pytest.raises(validate.InputError, match="one length"):
        metrics.auc([0.0, 1.0, 2.0], [True, False])
    with pytest.raises(validate.InputError, match="between 0 and 1"):
        metrics.tpr_at_fpr([0.0, 1.0], [True, False], 10)
    with pytest.raises(validate.InputError, match="at least one of each"):
        metrics.roc([0.0, 1.0], [True, True])


def test_band_over_models():
    rng = np.random.default_rng(2)
    member = rng.random((20, 300)) < 0.5
    scores = rng.normal(size=(20, 300)) + member
    grid = np.array([0.0, 0.01, 0.1, 0.5, 1.0])
    curves = [
        [brute_tpr(s, m, f) for f in grid] for s, m in zip(scores, member, strict=True)
    ]
    median, low, high = metrics.roc_band(scores, member, grid)
    assert np.allclose(median, np.median(curves, axis=0))
    assert np.allclose(low, np.quantile(curves, 0.1, axis=0))
    assert np.allclose(high, np.quantile(curves, 0.9, axis=0))
    aucs = [brute_auc(s, m) for s, m in zip(scores, member, strict=True)]
    assert np.allclose(metrics.aucs_by_model(scores, member), aucs)


def test_float32_scores_are_ranked_as_they_are():
    scores, is_member = sample(3)
    single = scores.astype(np.float32)
    double = metrics.auc(single.astype(np.float64), is_member)
    assert metrics.auc(single, is_member) == double


def logits_and_labels(task: str, seed: int = 0):
    rng = np.random.default_rng(seed)
    if task == "multilabel":
        labels = (rng.random((500, 4)) < [0.5, 0.3, 0.2, 0.05]).astype(np.int32)
        return (rng.normal(size=(500, 4)) + labels).astype(np.float32), labels
    if task == "binary":
        labels = (rng.random(500) < 0.3).astype(np.int32)
        return (rng.normal(size=(500, 1)) + labels[:, None]).astype(np.float32), labels
    labels = rng.integers(0, 4, 500).astype(np.int32)
    # A column of large scale: its logit alone would rank records otherwise.
    logits = rng.normal(size=(500, 4)) + 1.5 * np.eye(4)[labels]
    return (logits + 3 * rng.normal(size=(500, 1))).astype(np.float32), labels


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_utility_is_sklearns(task):
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    logits, labels = logits_and_labels(task)
    if task == "binary":
        positive = special.expit(logits[:, 0].astype(np.float64))
        probs = np.stack([1 - positive, positive], axis=1)
        expected = sklearn_metrics.roc_auc_score(labels, positive)
    else:
        probs = special.softmax(logits.astype(np.float64), axis=1)
        expected = sklearn_metrics.roc_auc_score(labels, probs, multi_class="ovr")
    assert math.isclose(metrics.auroc(logits, labels, task), expected, rel_tol=1e-9)
    loss = sklearn_metrics.log_loss(labels, probs)
    assert math.isclose(metrics.log_loss(logits, labels, task), loss, rel_tol=1e-9)
    right = sklearn_metrics.accuracy_score(labels, probs.argmax(axis=1))
    assert math.isclose(metrics.accuracy(logits, labels, task), right)


def test_utility_of_multilabel_is_sklearns():
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    logits, labels = logits_and_labels("multilabel")
    given = logits, labels, "multilabel"
    probs = special.expit(logits.astype(np.float64))
    expected = sklearn_metrics.roc_auc_score(labels, probs, average="macro")
    assert math.isclose(metrics.auroc(*given), expected, rel_tol=1e-9)
    expected = np.mean(
        [sklearn_metrics.log_loss(y, p) for y, p in zip(labels.T, probs.T)]
    )
    assert math.isclose(metrics.log_loss(*given), expected, rel_tol=1e-9)
    expected = 1 - sklearn_metrics.hamming_loss(labels, logits > 0)
    assert math.isclose(metrics.accuracy(*given), expected)
    expected = sklearn_metrics.accuracy_score(labels, logits > 0)
    assert math.isclose(metrics.exact_match(*given), expected)
    assert metrics.exact_match(*given) < metrics.accuracy(*given)


def test_multilabel_of_one_label_is_binary():
    logits, labels = logits_and_labels("binary")
    for name in ("accuracy", "exact_match", "log_loss", "auroc"):
        metric = getattr(metrics, name)
        one = metric(logits, labels, "binary")
        assert math.isclose(metric(logits, labels[:, None], "multilabel"), one)


def test_labels_of_one_value_are_left_out_of_the_macro_auroc():
    logits, labels = logits_and_labels("multilabel")
    labels[:, 3] = 0
    by_label = [metrics.auc(logits[:, k], labels[:, k] == 1) for k in range(4)]
    assert math.isnan(by_label[3])
    found = metrics.auroc(logits, labels, "multilabel")
    assert math.isclose(found, np.mean(by_label[:3]))
    assert math.isnan(metrics.auroc(logits, labels * 0, "multilabel"))


def test_multiclass_auroc_ranks_probabilities_not_logits():
    logits, labels = logits_and_labels("multiclass")
    by_logit = np.mean([metrics.auc(logits[:, c], labels == c) for c in range(4)])
    assert metrics.auroc(logits, labels, "multiclass") > by_logit + 0.05


def test_log_loss_is_stable():
    logits = np.array([[1000.0], [-1000.0]])
    assert metrics.log_loss(logits, [1, 0], "binary") == 0.0
    assert metrics.log_loss(logits, [0, 1], "binary") == 1000.0
    pairs = np.array([[1000.0, 0.0], [0.0, 1000.0]])
    assert metrics.log_loss(pairs, [0, 1], "multiclass") == 0.0
    assert metrics.log_loss(pairs, [1, 0], "multiclass") == 1000.0


def test_log_loss_looks_at_the_labels_class_alone():
    """A naive float64 loop: log odds of the label against all other classes."""
    logits, labels = logits_and_labels("multiclass")
    rows = zip(logits.astype(np.float64), labels, strict=True)
    margins = [row[y] - special.logsumexp(np.delete(row, y)) for row, y in rows]
    expected = np.mean(np.logaddexp(0, -np.array(margins)))
    found = metrics.log_loss(logits, labels, "multiclass")
    assert math.isclose(found, expected, rel_tol=1e-12)


def test_saturated_classes_are_still_ranked():
    """In float64 both probabilities are 1: ties for a softmax, not for log odds."""
    logits = np.array([[60.0, 0.0], [50.0, 0.0]])
    assert metrics.auroc(logits, [0, 1], "multiclass") == 1.0
    probs = special.softmax(logits, axis=1)
    assert probs[0, 0] == probs[1, 0] == 1.0


def test_auroc_of_an_absent_class_is_undefined():
    logits, labels = logits_and_labels("multiclass")
    is_present = labels != 2
    assert math.isnan(
        metrics.auroc(logits[is_present], labels[is_present], "multiclass")
    )
    assert math.isnan(metrics.auroc(np.zeros((5, 1)), np.ones(5), "binary"))


def test_binary_equals_two_classes():
    logits, labels = logits_and_labels("binary")
    pair = np.concatenate([np.zeros_like(logits), logits], axis=1)
    for metric in (metrics.accuracy, metrics.log_loss, metrics.auroc):
        two = metric(pair, labels, "multiclass")
        assert math.isclose(metric(logits, labels, "binary"), two, rel_tol=1e-12)


def test_bad_logits_are_refused():
    for name in ("accuracy", "exact_match", "log_loss", "auroc"):
        metric = getattr(metrics, name)
        for task in ("binary", "multilabel"):
            with pytest.raises(validate.InputError, match="for binary"):
                metric(np.zeros((3, 2)), np.zeros(3, int), task)
        with pytest.raises(validate.InputError, match="unknown"):
            metric(np.zeros((3, 2)), np.zeros(3, int), "regression")
