"""Scores as distances from the other models of a side; quantiles without a model."""

import numpy as np

# A variance without the model at hand needs three models.
FEWEST = 3

_COLUMNS = 1024  # patients at a time, to stay in the cache


def moments(x: np.ndarray, side: np.ndarray) -> tuple[np.ndarray, ...]:
    """Number, mean and standard deviation (ddof 1) over the models of a side.

    Args:
      x: [models, columns] float64.
      side: [models, columns] bool.

    Returns:
      n int, mean, sd float64, [columns] each; sd 0 for fewer than two models.
    """
    n = side.sum(0)
    mean = np.einsum("mc,mc->c", x, side) / np.maximum(n, 1)
    square = np.einsum("mc,mc->c", (x - mean) ** 2, side)
    return n, mean, np.sqrt(square / np.maximum(n - 1, 1))


def deleted(x: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Distance of each score from a side without the model at hand, in its sd.

    For a model of the side, with n models, e = x - mean and SS = sum e^2,

        r = e n/(n-1) / sqrt(v (1 + 1/(n-1))), v = (SS - e^2 n/(n-1)) / (n-2);

    for the others r = (x - mean) / (sd sqrt(1 + 1/n)). Of normal scores that do not
    depend on the side r is Student t with n-2 or n-1 degrees of freedom.

    Args:
      x: [models, columns] float.
      side: [models, columns] bool.

    Returns:
      [models, columns] float32; NaN in columns with fewer than three models of the side
      or where they are all equal.
    """
    out = np.empty(x.shape, np.float32)
    for start in range(0, x.shape[1], _COLUMNS):
        columns = slice(start, start + _COLUMNS)
        out[:, columns] = _deleted(x[:, columns].astype(np.float64), side[:, columns])
    return out


def _deleted(x: np.ndarray, side: np.ndarray) -> np.ndarray:
    n, mean, sd = moments(x, side)
    is_known = (n >= FEWEST) & (sd > 1e-12 * np.abs(x).max(0))
    n = np.where(is_known, n, FEWEST)
    e = x - np.where(is_known, mean, np.nan)
    square = sd**2 * (n - 1)
    left = np.maximum(square - e * e * (n / (n - 1)), 0) / (n - 2)
    # All others equal: as far out as a float32 goes, and no division by 0.
    left = np.maximum(left, 1e-30 * np.where(is_known, square, 1))
    own = e * (n / (n - 1)) / np.sqrt(left * (n / (n - 1)))
    others = e / np.sqrt(np.where(is_known, sd, 1) ** 2 * (1 + 1 / n))
    return np.where(side, own, others)


def thresholds(
    values: np.ndarray, side: np.ndarray, rates: tuple[float, ...]
) -> np.ndarray:
    """For every model the m-th largest value of a side over all other models.

    m = floor(rate (n + 1)) of the n values: a further value, exchangeable with them,
    is larger with probability m / (n + 1), at most `rate`.

    Args:
      values: [models, columns] float.
      side: [models, columns] bool.
      rates: in (0, 1).

    Returns:
      [rates, models] float; infinite where m = 0.
    """
    in_row = side.sum(1)
    total = in_row.sum()
    count = total - in_row
    m = np.array([np.floor(rate * (count + 1) * (1 + 1e-12)) for rate in rates])
    m = np.minimum(m.astype(int), count)
    # No model needs more than its m and its own values; ties of the last come along.
    needed = min(int(m.max() + in_row.max()), total)
    if needed == 0:
        return np.full(m.shape, np.inf)
    last = np.partition(values[side], total - needed)[total - needed]
    row, column = np.nonzero(side & (values >= last))
    top = values[row, column]
    order = np.argsort(-top, kind="stable")
    top, row = top[order], row[order]
    own = np.split(np.argsort(row, kind="stable"), np.cumsum(_sizes(row, len(m[0]))))
    out = np.full(m.shape, np.inf)
    for model, places in enumerate(own[:-1]):
        # Values of others that precede each own value: the own ones in between count.
        before = places - np.arange(len(places))
        place = m[:, model] - 1 + np.searchsorted(before, m[:, model] - 1, "right")
        out[:, model] = np.where(m[:, model] > 0, top[np.maximum(place, 0)], np.inf)
    return out


def _sizes(row: np.ndarray, num_models: int) -> np.ndarray:
    return np.bincount(row, minlength=num_models)
