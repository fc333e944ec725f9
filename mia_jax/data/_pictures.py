"""Points drawn as images or signals; distances between records stay the same."""

import numpy as np

from mia_jax import validate

# Noise of each pixel or sample, relative to the picture's standard deviation.
_PIXEL_NOISE = 0.05


def draw(
    generator: np.random.Generator, points: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Each point as a sum of smooth orthogonal patterns, one per coordinate, and noise.

    Args:
      generator: source of the noise.
      points: [records, features] float64.
      shape: of a picture, e.g. (32, 32, 1) or (250, 12).

    Returns:
      [records, *shape] float32. Squared distances are those of the points times
      pixels / features, up to the noise.

    Raises:
      InputError: more features than a picture of this shape can hold.
    """
    drawn = patterns(points.shape[1], *shape[:2])
    pictures = np.tensordot(points, drawn, axes=1)
    pictures += _PIXEL_NOISE * generator.standard_normal(pictures.shape)
    # Rounded, so that another order of summation in the product changes no bit.
    return pictures.round(4).astype(np.float32).reshape(len(points), *shape)


def patterns(number: int, rows: int, columns: int) -> np.ndarray:
    """Products of cosines (DCT type II), lowest frequencies first, without a constant.

    Returns:
      [number, rows, columns] float64, orthogonal; a point with independent unit
      coordinates becomes a picture of mean 0 and unit variance per pixel.

    Raises:
      InputError: fewer than `number` patterns fit.
    """
    validate.require(
        0 < number < rows * columns,
        f"data.num_features={number}",
        f"{rows} x {columns} values hold only {rows * columns - 1} patterns",
        "use fewer features, or larger images or signals",
    )
    orders = (
        (i / rows + j / columns, i, j) for i in range(rows) for j in range(columns)
    )
    wave = lambda k, n: np.cos(np.pi * k * (np.arange(n) + 0.5) / n)
    drawn = np.stack(
        [
            np.outer(wave(i, rows), wave(j, columns))
            for _, i, j in sorted(orders)[1 : number + 1]
        ]
    )
    scale = np.sqrt((drawn**2).mean(axis=(1, 2), keepdims=True) * number)
    return drawn / scale
