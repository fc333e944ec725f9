"""Multi-layer perceptron for tabular records."""

from collections.abc import Callable

import jax
from flax import linen as nn

from mia_jax import contracts
from mia_jax.models import _layers


class MLP(nn.Module):
    """Dense layers with an activation and dropout after each, then a linear output."""

    num_outputs: int
    widths: tuple[int, ...]
    activation_fn: Callable[[jax.Array], jax.Array]
    dropout: float

    @nn.compact
    def __call__(self, inputs: jax.Array, is_training: bool) -> jax.Array:
        hidden = inputs.reshape(len(inputs), -1)
        for width in self.widths:
            hidden = self.activation_fn(nn.Dense(width)(hidden))
            hidden = nn.Dropout(self.dropout, deterministic=not is_training)(hidden)
        return nn.Dense(self.num_outputs)(hidden)


def build(
    num_outputs: int,
    widths: tuple[int, ...] = (128, 128),
    activation: str = "relu",
    dropout: float = 0.0,
) -> contracts.Model:
    """Builds the network; its parameters: sum of (fan_in + 1) * fan_out over layers.

    Args:
      num_outputs: logits per record.
      widths: width of each hidden layer; () is logistic regression.
      activation: relu, gelu or tanh.
      dropout: share of hidden units dropped in training.

    Returns:
      The model; inputs [batch, ...] are flattened.
    """
    _layers.check(widths, dropout)
    module = MLP(num_outputs, tuple(widths), _layers.activation(activation), dropout)
    return _layers.pure(module)
