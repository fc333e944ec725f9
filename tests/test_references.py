"""Against libraries whose definitions differ from ours: the differences are named.

jax_privacy's AUROC and TPR are those of the convex hull of the ROC, an attacker who may
toss a coin between thresholds; ours are of the steps that were measured.
"""

import numpy as np
import pytest
import scipy.spatial
import sklearn.metrics
from jax_privacy import auditing

from mia_jax import metrics


@pytest.fixture(scope="module")
def scores():
    generator = np.random.default_rng(3)
    inside, outside = generator.normal(0.5, 1, 400), generator.normal(0, 1, 500)
    is_member = np.r_[np.ones(400, bool), np.zeros(500, bool)]
    return np.r_[inside, outside], is_member


def _hull(fpr, tpr):
    """The upper convex hull of a ROC curve, from (0, 0) to (1, 1)."""
    points = np.c_[np.r_[fpr, 1.0], np.r_[tpr, 0.0]]
    corners = points[scipy.spatial.ConvexHull(points).vertices]
    corners = corners[corners[:, 1] > 0.0]
    corners = np.r_[[[0.0, 0.0]], corners]
    return corners[np.lexsort((corners[:, 1], corners[:, 0]))]


def test_auroc_of_jax_privacy_is_that_of_our_hull(scores):
    values, is_member = scores
    auditor = auditing.CanaryScoreAuditor(values[is_member], values[~is_member])
    hull = _hull(*metrics.roc(values, is_member))
    assert np.trapezoid(hull[:, 1], hull[:, 0]) == pytest.approx(
        auditor.attack_auroc(), abs=1e-9
    )
    ours = metrics.auc(values, is_member)
    assert ours == pytest.approx(sklearn.metrics.roc_auc_score(is_member, values))
    assert ours < auditor.attack_auroc() - 0.001  # never compare the two


@pytest.mark.parametrize("fpr", [0.01, 0.1])
def test_tpr_of_jax_privacy_is_on_or_above_our_steps(scores, fpr):
    values, is_member = scores
    auditor = auditing.CanaryScoreAuditor(values[is_member], values[~is_member])
    hull = _hull(*metrics.roc(values, is_member))
    reached = auditor.tpr_at_given_fpr(fpr)
    assert reached == pytest.approx(np.interp(fpr, hull[:, 0], hull[:, 1]), abs=1e-9)
    assert metrics.tpr_at_fpr(values, is_member, fpr) <= reached + 1e-12
