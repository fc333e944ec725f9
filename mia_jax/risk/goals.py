"""How many models an audit needs for a goal."""

from collections.abc import Callable

from mia_jax import validate
from mia_jax.risk import precision

_MOST_MODELS = 100_000  # goals that need more are refused


def models_for(
    num_patients: int,
    find: float | None = None,
    width: float | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
    level: str = "bonferroni",
    num_parts: int = 1,
) -> int:
    """The number of models that reaches every goal that is given.

    Args:
      num_patients: number of patients tested.
      find: a patient with this true AUC is found with the given power; in (.5, 1).
      width: half width of a patient's 95 % interval, at the widest (AUC .5).
      power, alpha, level, num_parts: as in `precision.detection_limit`.

    Returns:
      An even number that does, where two models fewer do not. Without `find` and
      `width` the smallest that can prove anything for a single patient.

    Raises:
      InputError: for goals out of range, or that need more than 100,000 models.
    """
    ranges = {"find": (find, 0.5, 1.0), "width": (width, 0.0, 0.5)}
    for name, (value, low, high) in ranges.items():
        validate.require(
            value is None or low < value < high,
            f"{name}={value}",
            f"must lie between {low:g} and {high:g}",
            "an AUC such as 0.7, a half width such as 0.05",
        )
    single = precision.level_of_one(level, alpha, num_patients)
    limits = power, alpha, level, num_parts

    def reaches(num_models: int) -> bool:
        if precision.smallest_p(num_models, num_parts) > single:
            return False
        if width is not None and precision.half_width(num_models) > width:
            return False
        # Not so if there is no limit (NaN).
        return (
            find is None
            or precision.detection_limit(num_models, num_patients, *limits) <= find
        )

    return _smallest_even(reaches)


def _smallest_even(reaches_fn: Callable[[int], bool]) -> int:
    """An even number that reaches, while the next smaller one does not."""
    high = 2
    while not reaches_fn(high):
        validate.require(
            high < _MOST_MODELS,
            f"the goals need more than {high} models",
            f"must be reached with {_MOST_MODELS} models",
            "ask for less: a higher AUC, a wider interval, or a lower power",
        )
        high *= 2
    low = high // 2
    while high - low > 2:
        middle = (low + high) // 4 * 2
        low, high = (low, middle) if reaches_fn(middle) else (middle, high)
    return high
