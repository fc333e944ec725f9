import attack_checks
import numpy as np
import pytest
import sklearn.metrics
import statsmodels.api

from mia_jax import contracts, leave_one_out, validate
from mia_jax.attacks import quantile

# Harvey's constant: digamma(1 / 2) + log 2.
_BIAS = -1.2703628454614782


def _naive(statistic, member, context, folds):
    """Ordinary least squares by statsmodels for every fold of one target."""
    columns = [np.eye(context.labels.max() + 1)[context.labels]]
    if context.features is not None:
        columns.append(context.features.astype(np.float64))
    design = np.concatenate(columns, axis=1)
    fold, s = context.patient_of_record % folds, statistic.astype(np.float64)
    out = np.empty(len(s))
    for k in range(folds):
        rows, own = ~member & (fold != k), fold == k
        mean = statsmodels.api.OLS(s[rows], design[rows]).fit()
        square = np.log(mean.resid**2 + 1e-12) - _BIAS
        spread = statsmodels.api.OLS(square, design[rows]).fit()
        log_variance = np.clip(
            spread.predict(design[own]),
            spread.fittedvalues.min(),
            spread.fittedvalues.max(),
        )
        out[own] = (s[own] - mean.predict(design[own])) / np.exp(log_variance / 2)
    return out


def _placed(num_models=6, num_patients=150, num_records=400, leak=0.0, seed=2):
    """Mean and spread of the statistic follow features and label."""
    audit = attack_checks.planted(num_models, num_patients, num_records, 0.0, seed)
    features, labels = audit.context.features, audit.context.labels
    noise = np.random.default_rng(seed).standard_normal(audit.statistic.shape)
    mean = 2.0 * features[:, 0] - labels
    statistic = mean + np.exp(0.5 * features[:, 1]) * noise + leak * audit.record_mask
    return audit._replace(statistic=statistic.astype(np.float32))


@pytest.mark.parametrize("has_features", [True, False])
@pytest.mark.parametrize("folds", [2, 5])
def test_scores_equal_statsmodels_fold_by_fold(folds, has_features):
    audit = _placed()
    if not has_features:
        audit = audit._replace(context=audit.context._replace(features=None))
    found = attack_checks.engine_scores(quantile, audit, folds=folds)
    for target, member in enumerate(audit.record_mask):
        expected = _naive(audit.statistic[target], member, audit.context, folds)
        # A squared residual near 0 carries the rounding of its fit into its log.
        np.testing.assert_allclose(found[target], expected, rtol=1e-4, atol=1e-4)


def test_residuals_of_non_members_are_standard_normal():
    audit = _placed(num_patients=3000, num_records=6000)
    found = attack_checks.engine_scores(quantile, audit)
    outside = found[~audit.record_mask]
    assert abs(outside.mean()) < 0.03 and abs(outside.std() - 1.0) < 0.05
    for column in range(2):  # nothing of the features is left, in mean or spread
        feature = np.broadcast_to(audit.context.features[:, column], found.shape)
        feature = feature[~audit.record_mask]
        assert abs(np.corrcoef(feature, outside)[0, 1]) < 0.03
        assert abs(np.corrcoef(feature, np.abs(outside))[0, 1]) < 0.06


def test_features_make_the_attack_stronger():
    audit = _placed(num_patients=600, num_records=1200, leak=1.0)
    blind = audit._replace(context=audit.context._replace(features=None))
    plain, by_label, by_all = (
        np.mean(
            [
                sklearn.metrics.roc_auc_score(*row)
                for row in zip(audit.record_mask, values, strict=True)
            ]
        )
        for values in (
            audit.statistic,
            attack_checks.engine_scores(quantile, blind),
            attack_checks.engine_scores(quantile, audit),
        )
    )
    assert by_all > by_label + 0.05 and by_label > plain


def test_own_bits_never_enter():
    audit = attack_checks.planted(num_records=100)
    change = attack_checks.own_bit_change(quantile, audit, patients=range(12))
    assert change < 1e-6


def test_several_labels_and_idle_features():
    audit = _placed()
    several = np.random.default_rng(0).integers(0, 2, (400, 3))
    features = np.c_[audit.context.features, np.ones(400), audit.context.features[:, 0]]
    context = contracts.Context(several, audit.context.patient_of_record, features)
    found = attack_checks.engine_scores(quantile, audit._replace(context=context))
    assert np.isfinite(found).all()


def test_a_class_without_non_members_and_a_target_without_any():
    audit = _placed()
    labels = audit.context.labels.copy()
    labels[audit.context.patient_of_record == 0] = 2
    audit = audit._replace(context=audit.context._replace(labels=labels))
    audit.member_mask[1, 0] = True
    audit.member_mask[2] = True
    found = attack_checks.engine_scores(quantile, audit)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[2], audit.statistic[2], rtol=1e-6)


def test_labels_are_needed_and_features_must_be_numbers():
    audit = _placed()
    arrays = audit.statistic, audit.member_mask, audit.context.patient_of_record
    with pytest.raises(validate.InputError, match="without labels"):
        leave_one_out.scores(quantile, *arrays)
    audit.context.features[3, 1] = np.nan
    with pytest.raises(validate.InputError, match="columns 1"):
        leave_one_out.scores(quantile, *arrays, context=audit.context)
    with pytest.raises(validate.InputError, match="at least 2"):
        attack_checks.engine_scores(quantile, audit, folds=1)
