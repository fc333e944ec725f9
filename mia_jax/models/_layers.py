"""What model families share: Flax modules as pure functions, dropout, names."""

from collections.abc import Callable

import jax
from flax import linen as nn
from jax.typing import ArrayLike

from mia_jax import contracts, validate

_ACTIVATIONS = {"relu": nn.relu, "gelu": nn.gelu, "tanh": nn.tanh}


def activation(name: str) -> Callable[[jax.Array], jax.Array]:
    """An activation function by name; raises on an unknown one."""
    validate.one_of("model.activation", name, _ACTIVATIONS)
    return _ACTIVATIONS[name]


def check(widths: tuple[int, ...], dropout: float) -> None:
    """Raises unless layer widths and dropout rate make sense."""
    validate.require(
        all(isinstance(w, int) and w > 0 for w in widths),
        f"model.widths={widths}",
        "widths must be positive integers",
        'set --config.model.widths="(128,128)"',
    )
    validate.require(
        0.0 <= dropout < 1.0,
        f"model.dropout={dropout}",
        "must be at least 0 and below 1",
        "set --config.model.dropout=0.1, or 0.0 for none",
    )


def pure(module: nn.Module) -> contracts.Model:
    """A Flax (Linen) module as a pair of pure functions.

    Args:
      module: called as `module(inputs, is_training)`; draws from the stream "dropout"
        when it trains; keeps no state but its parameters.

    Returns:
      The model; its parameters are the collection "params".
    """

    def init(key: jax.Array, inputs: ArrayLike) -> contracts.Params:
        return module.init(key, inputs, False)["params"]

    def apply(params: contracts.Params, inputs: ArrayLike, key=None) -> jax.Array:
        rngs = None if key is None else {"dropout": key}
        return module.apply({"params": params}, inputs, key is not None, rngs=rngs)

    return contracts.Model(init, apply)
