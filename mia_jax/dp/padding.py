"""Room for a Poisson batch in an array of static size, and what overflow costs.

A batch that does not fit would lose patients, and the guarantee with them. So the array
is made large enough for that to happen with a probability that is named and paid for.
"""

import math

from scipy import stats

_MEMBERS_EXCEEDED = 1e-12  # probability; no attacker sees it from a smaller one
_SHARE_OF_DELTA = 0.01  # of delta that overflow may cost


def most_members(num_units: int, share: float) -> int:
    """A public bound on the members of a model.

    Args:
      num_units: that may be members.
      share: probability that each is, independently.

    Returns:
      The smallest number that is exceeded with probability 1e-12 or less.
    """
    if share >= 1:
        return num_units
    return int(stats.binom.isf(_MEMBERS_EXCEEDED, num_units, share))


def overflow_probability(epsilon: float, delta: float, num_steps: int) -> float:
    """The probability of overflow at one step that costs 1 % of delta in all.

    Args:
      epsilon, delta: of the guarantee; epsilon = inf: as if it were 1.
      num_steps: of the training.
    """
    epsilon = epsilon if math.isfinite(epsilon) else 1.0
    # 1 + e^epsilon; never below what a double still holds.
    log_cost = epsilon + math.log1p(math.exp(-epsilon))
    log_p = math.log(_SHARE_OF_DELTA * delta / num_steps) - log_cost
    return math.exp(max(log_p, -600.0))


def overflow_delta(probability: float, epsilon: float, num_steps: int) -> float:
    """What overflow adds to delta: T p (1 + e^epsilon).

    On the event that no step overflows, for a patient's data and without it, the two
    outputs are those of the mechanism without padding; its complement has probability
    T p at most under either.

    Args:
      probability: of overflow at one step.
      epsilon: of the guarantee.
      num_steps: T.
    """
    log_cost = epsilon + math.log1p(math.exp(-epsilon))
    return math.exp(math.log(num_steps * probability) + log_cost)


def padded_batch(most_members: int, sampling_prob: float, probability: float) -> int:
    """The smallest batch that overflows with no more than a probability.

    Args:
      most_members: that are sampled.
      sampling_prob: of each, independently.
      probability: of more being drawn than there is room for.

    Returns:
      P with P(Binomial(most_members, sampling_prob) > P) <= probability.
    """
    if sampling_prob >= 1:
        return most_members
    low, high = 0, most_members  # fits at `high`
    while low < high:
        middle = (low + high) // 2
        fits = stats.binom.sf(middle, most_members, sampling_prob) <= probability
        low, high = (low, middle) if fits else (middle + 1, high)
    return high
