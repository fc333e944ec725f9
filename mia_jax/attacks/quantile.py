"""Quantile regression attack: no shadow models, one regression for each target.

Bertran et al. 2023, "Scalable Membership Inference Attacks via Quantile Regression"
(arXiv:2307.03694): what confidence would the target have in this record, had it not
seen it? A regression on the target's non-members tells, and a member is a record far
above. Of the authors' two forms, pinball losses and a normal law with mean and variance
of their own for each record, this is the second, with linear means and log variances in
place of a network: closed forms, so hundreds of targets take seconds. A record is
placed by its features and its label; without features by its label alone, which makes
the attack a threshold by class.
"""

from typing import NamedTuple

import jax
import numpy as np

from mia_jax import contracts, validate

# Sums of squares are raised by this share of the number of records: features that
# repeat one another, or a class without non-members, still have one solution.
_RIDGE = 1e-9
# E log(chi-squared with 1 degree) = digamma(1 / 2) + log 2: what the log of a squared
# residual lacks of the log variance (Harvey 1976, Econometrica 44, 461-465).
_LOG_CHI2_MEAN = -1.2703628454614782
# Added to squared residuals, in squared units of the statistic: of 0 there is no log.
_TINY = 1e-12


class _Fit(NamedTuple):
    """Regressions that each leave one fold of patients out; a column is a fold.

    Attributes:
      mean: [columns, folds] coefficients of the mean.
      log_variance: [columns, folds] those of the log variance.
      low, high: [folds] the smallest and largest log variance of a record that was
        fitted: beyond them lies no knowledge, only a line drawn on.
    """

    mean: np.ndarray
    log_variance: np.ndarray
    low: np.ndarray
    high: np.ndarray


def scores(
    statistic: jax.Array, member_mask: jax.Array, folds: int = 5
) -> contracts.Signals:
    """The statistic itself, of which `compare` makes standardised residuals.

    Args:
      statistic: [models, records] float32, higher = more confident in the label.
      member_mask: [models, records] bool.
      folds: parts of the patients; a record is placed by a regression on the others, so
        its own membership never enters.

    Returns:
      Signals of [models, records] float32.
    """
    del member_mask
    validate.require(
        folds >= 2,
        f"attack.folds={folds}",
        "must be at least 2: a patient is placed by others",
        "use 5",
    )
    return contracts.Signals(statistic, None)


def prepare(context: contracts.Context, folds: int = 5) -> np.ndarray:
    """What all targets' regressions share.

    Args:
      context: labels, and features if there are any.
      folds: as `scores`; changes nothing here.

    Returns:
      [records, columns] float64: one, labels as indicators, standardised features.
    """
    del folds
    validate.require(
        context.labels is not None,
        "attack 'quantile' without labels",
        "a record is placed by its label, and by features if there are any",
        "give the labels of the records",
    )
    labels = np.asarray(context.labels)
    if labels.ndim == 1:  # of several labels each is an indicator already
        labels = labels[:, None] == np.unique(labels)
    parts = [np.ones((len(labels), 1)), labels]
    if context.features is not None:
        features = np.asarray(context.features, np.float64)
        features = features - features.mean(0)
        spread = features.std(0)
        bad = np.flatnonzero(~np.isfinite(spread))
        validate.require(
            not bad.size,
            f"features: columns {validate.listing(bad)}",
            "hold NaN or infinite values",
            "fill missing values, or leave the columns out",
        )
        parts.append(features / np.where(spread > 0, spread, 1.0))
    return np.concatenate(parts, axis=1, dtype=np.float64)


def compare(
    signals: contracts.Signals,
    member_mask: np.ndarray,
    context: contracts.Context,
    folds: int = 5,
    prepared: np.ndarray | None = None,
) -> np.ndarray:
    """(s - mean) / standard deviation of one target, given features and label.

    Args:
      signals: of one target, [records] float32.
      member_mask: [records] bool.
      context: labels, patients, and features if there are any.
      folds: as `scores`.
      prepared: what `prepare` made of the context; made if None.

    Returns:
      [records] float64, higher = member; the statistic where no non-member is left
      to place the record by.
    """
    statistic = np.asarray(signals.query, np.float64)
    fold = np.asarray(context.patient_of_record) % folds
    design = prepare(context) if prepared is None else prepared
    rows = np.flatnonzero(~member_mask)
    rows = rows[np.argsort(fold[rows], kind="stable")]
    sizes = np.bincount(fold[rows], minlength=folds)
    fit = _fit(design[rows], statistic[rows], sizes)
    residual = statistic - _at_fold(design @ fit.mean, fold)
    log_variance = _at_fold(design @ fit.log_variance, fold)
    log_variance = np.clip(log_variance, fit.low[fold], fit.high[fold])
    return residual * np.exp(-0.5 * log_variance)


def _fit(design: np.ndarray, values: np.ndarray, sizes: np.ndarray) -> _Fit:
    """Fits every regression to the non-members outside of its fold.

    Args:
      design: [non-members, columns] float64, in order of folds.
      values: [non-members] float64.
      sizes: [folds] int, how many non-members each fold has.
    """
    ends = np.cumsum(sizes)
    own = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    parts = [design[rows] for rows in own]
    squares = np.stack([part.T @ part for part in parts])
    squares = squares.sum(0) - squares
    ridge = _RIDGE * np.maximum(len(design) - sizes, 1)
    squares += ridge[:, None, None] * np.eye(design.shape[1])

    def solve(targets):  # [non-members, folds]: the last axis is the fold left out
        left = [part.T @ targets[rows, k] for k, (part, rows) in enumerate(pairs)]
        products = design.T @ targets - np.stack(left, axis=1)
        return np.linalg.solve(squares, products.T[..., None])[..., 0].T

    pairs = list(zip(parts, own, strict=True))
    values = np.broadcast_to(values[:, None], (len(values), len(sizes)))
    mean = solve(values)
    # Residuals of each fit by itself: those of another would have seen the fold.
    log_square = np.log((values - design @ mean) ** 2 + _TINY) - _LOG_CHI2_MEAN
    log_variance = solve(log_square)
    fitted, is_fitted = design @ log_variance, np.ones(values.shape, bool)
    for k, rows in enumerate(own):
        is_fitted[rows, k] = False
    low = np.min(fitted, axis=0, where=is_fitted, initial=np.inf)
    high = np.max(fitted, axis=0, where=is_fitted, initial=-np.inf)
    has_any = is_fitted.any(0)
    return _Fit(mean, log_variance, *(np.where(has_any, x, 0.0) for x in (low, high)))


def _at_fold(values: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """[records, folds] -> [records]: what was fitted without the record's fold."""
    return np.take_along_axis(values, fold[:, None], axis=1)[:, 0]
