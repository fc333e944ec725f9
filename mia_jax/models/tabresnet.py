"""Residual network for tabular records.

Gorishniy et al. 2021, "Revisiting Deep Learning Models for Tabular Data", section 3.2
(arXiv:2106.11959), with layer normalisation for batch normalisation: batch statistics
would let one record's prediction depend on others.
"""

from collections.abc import Callable

import jax
from flax import linen as nn

from mia_jax import contracts
from mia_jax.models import _layers


class Block(nn.Module):
    """x + dropout(dense(activation(dense(norm(x)))))."""

    width: int
    activation_fn: Callable[[jax.Array], jax.Array]
    dropout: float

    @nn.compact
    def __call__(self, hidden: jax.Array, is_training: bool) -> jax.Array:
        update = self.activation_fn(nn.Dense(self.width)(nn.LayerNorm()(hidden)))
        update = nn.Dense(self.width)(update)
        return hidden + nn.Dropout(self.dropout, deterministic=not is_training)(update)


class TabResNet(nn.Module):
    """A linear stem, residual blocks, and a normalised linear output."""

    num_outputs: int
    width: int
    num_blocks: int
    activation_fn: Callable[[jax.Array], jax.Array]
    dropout: float

    @nn.compact
    def __call__(self, inputs: jax.Array, is_training: bool) -> jax.Array:
        hidden = nn.Dense(self.width)(inputs.reshape(len(inputs), -1))
        for _ in range(self.num_blocks):
            hidden = Block(self.width, self.activation_fn, self.dropout)(
                hidden, is_training
            )
        hidden = self.activation_fn(nn.LayerNorm()(hidden))
        return nn.Dense(self.num_outputs)(hidden)


def build(
    num_outputs: int,
    width: int = 300,
    num_blocks: int = 3,
    activation: str = "relu",
    dropout: float = 0.0,
) -> contracts.Model:
    """Builds the network.

    Args:
      num_outputs: logits per record.
      width: width of every layer.
      num_blocks: residual blocks of two dense layers each.
      activation: relu, gelu or tanh.
      dropout: share of each block's outputs dropped in training.

    Returns:
      The model; inputs [batch, ...] are flattened.
    """
    _layers.check((width,) * max(num_blocks, 1), dropout)
    activation_fn = _layers.activation(activation)
    return _layers.pure(
        TabResNet(num_outputs, width, num_blocks, activation_fn, dropout)
    )
