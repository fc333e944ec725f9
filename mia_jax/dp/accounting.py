"""The ledger: what (epsilon, delta) a training run keeps, and the noise that keeps it.

A run is T steps of the Poisson-subsampled Gaussian mechanism; the unit that is added or
removed is the unit that was sampled and clipped. All numbers are from dp-accounting:
privacy loss distributions (PLD; Koskela et al. 2020, arXiv:1906.03049) with rounding
that is never in our favour, and Renyi differential privacy (RDP) as a cross-check.
"""

import contextlib
import functools
import importlib.metadata
import math
from collections.abc import Iterator
from typing import NamedTuple

import dp_accounting
from absl import logging

from mia_jax import validate

_NEIGHBOURS = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
_SEARCH_STEP = 1e-3  # ten times faster than 1e-4, and at most 7e-4 larger
_LARGE = 10.0  # above this epsilon the grid may be coarser in proportion
_TOLERANCE = 1e-4  # of the noise multiplier


class Mechanism(NamedTuple):
    """A Poisson-subsampled Gaussian mechanism and how often it is run.

    Attributes:
      noise_multiplier: standard deviation of the noise over the sensitivity.
      sampling_prob: of each unit at each step.
      num_steps: compositions.
    """

    noise_multiplier: float
    sampling_prob: float
    num_steps: int

    def event(self) -> dp_accounting.DpEvent:
        """As dp-accounting describes it."""
        gaussian = dp_accounting.GaussianDpEvent(self.noise_multiplier)
        sampled = dp_accounting.PoissonSampledDpEvent(self.sampling_prob, gaussian)
        return dp_accounting.SelfComposedDpEvent(sampled, self.num_steps)


def check(mechanism: Mechanism) -> None:
    """Raises unless the numbers make a mechanism."""
    validate.require(
        mechanism.noise_multiplier >= 0,
        f"noise_multiplier={mechanism.noise_multiplier}",
        "must be at least 0",
        "0 is no noise, and no guarantee",
    )
    validate.require(
        0 < mechanism.sampling_prob <= 1,
        f"sampling_prob={mechanism.sampling_prob}",
        "must be above 0 and at most 1",
        "it is the expected batch over the expected members",
    )
    validate.require(
        mechanism.num_steps >= 1,
        f"num_steps={mechanism.num_steps}",
        "must be at least 1",
        "train for more epochs",
    )


def check_budget(epsilon: float, delta: float) -> None:
    """Raises unless (epsilon, delta) is a budget."""
    validate.require(
        epsilon > 0, f"epsilon={epsilon}", "must be above 0", "8 is common, 1 is strict"
    )
    validate.require(
        0 < delta < 1,
        f"delta={delta}",
        "must lie between 0 and 1",
        "take less than 1 / (10 members), such as 1e-5",
    )


def epsilon(mechanism: Mechanism, delta: float, step: float = 1e-4) -> float:
    """Epsilon at a delta by PLD, for adding or removing one unit.

    Args:
      mechanism: what was run.
      delta: in (0, 1).
      step: of the grid of privacy losses, which round upwards; above epsilon = 10 it
        grows in proportion to epsilon, as the time to compute it else would.

    Returns:
      An upper bound; inf without noise.

    Raises:
      InputError: numbers that make no mechanism or no budget.
    """
    check(mechanism)
    check_budget(1.0, delta)
    if mechanism.noise_multiplier == 0:
        return math.inf
    rough = _epsilon_pld(mechanism, delta, _coarse_step(mechanism))
    return _epsilon_pld(mechanism, delta, step * max(1.0, rough / _LARGE))


def epsilon_rdp(mechanism: Mechanism, delta: float) -> float:
    """Epsilon at a delta by RDP: an upper bound, too, and a looser one.

    Args:
      mechanism: what was run.
      delta: in (0, 1).

    Reference: Mironov et al. 2019, arXiv:1908.10530.
    """
    check(mechanism)
    check_budget(1.0, delta)
    if mechanism.noise_multiplier == 0:
        return math.inf
    accountant = dp_accounting.rdp.RdpAccountant(neighboring_relation=_NEIGHBOURS)
    with _quiet():
        accountant.compose(mechanism.event())
        return float(accountant.get_epsilon(delta))


@functools.lru_cache
def calibrate(
    epsilon: float, delta: float, sampling_prob: float, num_steps: int
) -> float:
    """The smallest noise multiplier that keeps (epsilon, delta).

    Args:
      epsilon: of the guarantee, finite.
      delta: of the guarantee.
      sampling_prob: of each unit at each step.
      num_steps: of the training.

    Returns:
      Noise multiplier: searched to 1e-4 on a coarse grid of privacy losses, then
      certified by `epsilon` on its fine one.

    Raises:
      InputError: numbers that make no mechanism or no budget.
    """
    check_budget(epsilon, delta)
    validate.require(
        math.isfinite(epsilon),
        f"epsilon={epsilon}",
        "must be finite to calibrate noise",
        "take noise_multiplier 0 for no guarantee",
    )
    check(Mechanism(1.0, sampling_prob, num_steps))
    step = _SEARCH_STEP * max(1.0, epsilon / _LARGE)
    found_fn = lambda noise: _epsilon_pld(
        Mechanism(noise, sampling_prob, num_steps), delta, step
    )
    high = 1.0
    while found_fn(high) > epsilon:
        high *= 2
    # From above: little noise is slow to account for.
    while found_fn(high * 0.75) <= epsilon:
        high *= 0.75
    low = high * 0.75
    while high - low > _TOLERANCE * high:
        middle = (low + high) / 2
        low, high = (low, middle) if found_fn(middle) <= epsilon else (middle, high)
    return high


def version() -> str:
    """The accountant, with its version."""
    return f"PLD (dp-accounting {importlib.metadata.version('dp-accounting')})"


def accountant(mechanism: Mechanism, step: float) -> dp_accounting.pld.PLDAccountant:
    """The PLD accountant after the run, on a grid of privacy losses."""
    found = dp_accounting.pld.PLDAccountant(_NEIGHBOURS, step)
    with _quiet():
        return found.compose(mechanism.event())


@functools.lru_cache
def _epsilon_pld(mechanism: Mechanism, delta: float, step: float) -> float:
    with _quiet():
        return float(accountant(mechanism, step).get_epsilon(delta))


def _coarse_step(mechanism: Mechanism) -> float:
    """A grid that is fast for little noise: a thousandth of one step's typical loss."""
    return max(_SEARCH_STEP, 1e-3 / mechanism.noise_multiplier**2)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No log lines about numbers that a search only passes by."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)
