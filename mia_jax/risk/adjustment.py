"""Groups compared as if label, number of records and other attributes were equal.

One regression holds the number of records, the label and the main effects of all
attributes: least squares for the mean AUC, Poisson with log link for being proven,
whose coefficients are log relative risks (modified Poisson: Zou 2004,
https://doi.org/10.1093/aje/kwh090). A value is compared with all other values of its
attribute, averaged by their sizes:

    difference = a_v - sum_w n_w a_w / sum_w n_w
    relative risk = exp(b_v) / (sum_w n_w exp(b_w) / sum_w n_w),   w != v

With two values these are the coefficient of an indicator. Cells of two attributes take
the place of both, in a regression of their own. Errors are robust: HC3 for the mean
(MacKinnon and White 1985), Zou's sandwich for the risk, and sums over units where
patients share masks.

All covariates are categorical, so no shape is assumed and nothing is extrapolated.
Adjusted is not causal: a label may be the way in which a group comes to its risk.
"""

from typing import NamedTuple

import numpy as np
from scipy import special

from mia_jax.risk import _factors, cells, disparity

# Directions of the design with less than this share of the largest are collinear.
_COLLINEAR = 1e-9
# A contrast that lies in a collinear direction by more than this cannot be estimated.
_ESTIMABLE = 1e-6
# Patients that the fit passes through tell nothing about noise.
_FULL_LEVERAGE = 1 - 1e-6
_MAX_STEPS = 50
# A log relative risk above 15 (three million) is on its way to infinity.
_DIVERGED = 15.0
# Expected proven patients on either side; from there on 5 % of null groups are accused.
# A rule on the observed number would show the groups that chance has raised: with 3
# expected and 5 asked for, 20 % of those shown are accused.
FEWEST_EXPECTED = 5
_NORMAL_95 = special.ndtri(0.975)
_UNDEFINED = (np.nan,) * 4
COLUMNS = (
    *("adjusted_difference", "adjusted_difference_low", "adjusted_difference_high"),
    "adjusted_p_value",
    *("adjusted_relative_risk", "adjusted_relative_risk_low"),
    *("adjusted_relative_risk_high", "adjusted_relative_risk_p_value"),
)


class Model(NamedTuple):
    """A fitted regression.

    Attributes:
      design: the factors.
      coefficients: [columns].
      inverse: [columns, columns] pseudo-inverse of X' W X.
      null: [columns, n] collinear directions.
      residual: [patients] what the sandwich squares; HC3 divides by 1 - leverage.
      present: [columns] bool, columns with patients in the fit.
    """

    design: _factors.Design
    coefficients: np.ndarray
    inverse: np.ndarray
    null: np.ndarray
    residual: np.ndarray
    present: np.ndarray


def _invert(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pseudo-inverse and null space of X' W X, columns scaled to one length."""
    scale = np.sqrt(np.diag(matrix))
    scale = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(matrix / scale[:, None] / scale)
    is_kept = values > _COLLINEAR * values[-1]
    kept = vectors[:, is_kept]
    inverse = (kept / values[is_kept]) @ kept.T / scale[:, None] / scale
    null = vectors[:, ~is_kept] / scale[:, None]
    return inverse, null / np.linalg.norm(null, axis=0, keepdims=True)


def least_squares(
    factors: list[_factors.Factor], auc: np.ndarray, is_clustered: bool
) -> Model | None:
    """Fits the mean AUC; None if there are no more patients than coefficients."""
    design = _factors.design(factors)
    inverse, null = _invert(_factors.cross(design))
    if len(auc) <= design.num_columns - null.shape[1] + 1:
        return None
    coefficients = inverse @ _factors.sums(design, auc)
    residual = auc - _factors.linear(design, coefficients)
    if not is_clustered:
        leverage = _factors.leverage(design, inverse)
        is_fixed = leverage > _FULL_LEVERAGE
        residual = np.where(is_fixed, 0, residual / np.where(is_fixed, 1, 1 - leverage))
    present = np.ones(design.num_columns, bool)
    return Model(design, coefficients, inverse, null, residual, present)


def modified_poisson(
    factors: list[_factors.Factor], is_proven: np.ndarray
) -> Model | None:
    """Fits the log risk of being proven by Newton's method.

    Patients of a level without anybody proven have a fitted risk of zero whatever the
    other coefficients are: they leave the likelihood, and their level the model.

    Returns:
      The model; None without events or where the likelihood has no maximum.
    """
    design = _factors.design(factors)
    y = is_proven.astype(np.float64)
    present = _factors.sums(design, y) > 0
    weight = present[design.column].all(0).astype(np.float64)
    if not present.any() or y.all():
        return None
    coefficients = np.zeros(design.num_columns)
    coefficients[present] = np.log(y.sum() / weight.sum()) / len(design.column)
    for _ in range(_MAX_STEPS):
        risk = weight * np.exp(np.minimum(_factors.linear(design, coefficients), 30))
        inverse, null = _invert(_factors.cross(design, risk))
        step = inverse @ _factors.sums(design, y - risk)
        # Longer steps overshoot: the risk grows like an exponential.
        coefficients += step * min(1.0, 2.0 / max(np.abs(step).max(), 1e-300))
        if np.abs(step).max() < 1e-9:
            return Model(design, coefficients, inverse, null, y - risk, present)
    return None


class Contrast(NamedTuple):
    """One value of a factor against the others.

    Attributes:
      is_group: [patients] bool.
      own: column of the value.
      columns: of the factor.
      share: [levels] share of every other level among the rest; 0 for the value.
    """

    is_group: np.ndarray
    own: int
    columns: slice
    share: np.ndarray


def contrast(factor: _factors.Factor, level: int, first: int = 0) -> Contrast:
    """A level against the mixture of all others; the factor's first column is given."""
    count = np.bincount(factor.code, minlength=factor.num_levels).astype(np.float64)
    count[level] = 0
    share = count / max(count.sum(), 1.0)
    columns = slice(first, first + factor.num_levels)
    return Contrast(factor.code == level, first + level, columns, share)


def _error(model: Model, gradient: np.ndarray, unit: np.ndarray | None) -> float:
    """Robust standard error of a linear form of the coefficients; NaN if undefined."""
    in_null = np.abs(model.null.T @ gradient)
    if in_null.max(initial=0.0) > _ESTIMABLE * np.abs(gradient).max():
        return np.nan
    form = model.inverse @ gradient
    influence = _factors.linear(model.design, form) * model.residual
    if unit is None:
        return float(np.sqrt((influence**2).sum()))
    sums = np.bincount(unit, influence)
    num_units, num = len(np.unique(unit)), len(influence)
    rank = model.design.num_columns - model.null.shape[1]
    inflation = num_units / (num_units - 1) * (num - 1) / max(num - rank, 1)
    return float(np.sqrt(inflation * (sums**2).sum()))


def difference(
    model: Model | None, given: Contrast, unit: np.ndarray | None
) -> tuple[float, float, float, float]:
    """Adjusted difference of mean AUCs: value, 95 % interval, p-value.

    Student's t, with one degree less than the patients, or units, on the smaller side.
    NaN where collinear with the covariates.
    """
    if model is None:
        return _UNDEFINED
    gradient = np.zeros(model.design.num_columns)
    gradient[given.columns] = -given.share
    gradient[given.own] = 1.0
    error = _error(model, gradient, unit)
    size = int(given.is_group.sum())
    freedom = min(size, len(given.is_group) - size) - 1
    if unit is not None:
        freedom = disparity.unit_freedom(given.is_group, unit)
    if not error > 1e-12 or freedom < 1:
        return _UNDEFINED
    value = float(gradient @ model.coefficients)
    return disparity.student(value, error, freedom)


def relative_risk(
    model: Model | None,
    given: Contrast,
    is_proven: np.ndarray,
    unit: np.ndarray | None,
) -> tuple[float, float, float, float]:
    """Adjusted relative risk: value, 95 % interval, p-value, normal on the log scale.

    NaN where collinear with the covariates, with fewer than 5 proven expected on a
    side, or none observed.
    """
    total, size = int(is_proven.sum()), int(given.is_group.sum())
    inside = int(is_proven[given.is_group].sum())
    expected = min(size, len(is_proven) - size) * total / len(is_proven)
    if model is None or expected < FEWEST_EXPECTED or inside in (0, total):
        return _UNDEFINED
    # Levels without events have a risk of zero: they count in the average as that.
    columns, present = given.columns, model.present[given.columns]
    risk = given.share * np.where(present, np.exp(model.coefficients[columns]), 0.0)
    gradient = np.zeros(model.design.num_columns)
    gradient[columns] = -risk / risk.sum()
    gradient[given.own] = 1.0
    value = float(model.coefficients[given.own] - np.log(risk.sum()))
    error = _error(model, gradient, unit)
    if not 1e-12 < error < _DIVERGED or abs(value) > _DIVERGED:
        return _UNDEFINED
    width = _NORMAL_95 * error
    low, high = np.exp([value - width, value + width]).tolist()
    return float(np.exp(value)), low, high, float(2 * special.ndtr(-abs(value) / error))


def columns(
    found: list[cells.Cell],
    factors: list[_factors.Factor],
    nuisance: list[_factors.Factor],
    measured: tuple[np.ndarray, np.ndarray, np.ndarray | None],
    min_cell: int,
) -> dict[str, np.ndarray]:
    """The adjusted columns of all groups.

    Args:
      found: groups; single values first, cells of one pair follow each other.
      factors: of the attributes, rare values pooled.
      nuisance: number of records, labels.
      measured: AUC, is_proven, unit (or None); [patients] each.
      min_cell: fewest patients of a group and of its rest.

    Returns:
      `COLUMNS`, [groups] each; NaN for groups that are too small, collinear with the
      covariates, or without enough proven patients.
    """
    auc, is_proven, unit = measured
    rows, known = [], None
    for cell in found:
        crossed = cell.columns if cell.is_intersection else ()
        if crossed != known:  # all single attributes are in one model
            known, mine = crossed, _crossed(crossed, factors, min_cell)
            mean = least_squares([*mine, *nuisance], auc, unit is not None)
            risk = modified_poisson([*mine, *nuisance], is_proven)
        place = 0 if cell.is_intersection else cell.columns[0]
        level = int(mine[place].code[np.argmax(cell.is_group)])
        is_small = len(auc) - int(cell.is_group.sum()) < min_cell
        if level >= len(mine[place].values) or is_small:
            rows.append((*_UNDEFINED, *_UNDEFINED))
            continue
        first = sum(factor.num_levels for factor in mine[:place])
        given = contrast(mine[place], level, first)
        values = difference(mean, given, unit)
        rows.append((*values, *relative_risk(risk, given, is_proven, unit)))
    return dict(zip(COLUMNS, np.array(rows, np.float64).T, strict=True))


def _crossed(numbers: tuple[int, ...], factors: list[_factors.Factor], min_cell: int):
    """The factors, two of them replaced by one of their cells, rare ones pooled."""
    if not numbers:
        return factors
    cells_of_two = _factors.crossed(*(factors[number] for number in numbers))
    others = [f for i, f in enumerate(factors) if i not in numbers]
    return [_factors.pooled(cells_of_two, min_cell), *others]
