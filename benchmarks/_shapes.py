"""The networks and the data that all contenders of benchmarks/training.py train on."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from mia_jax import config, contracts

BATCH_SIZE = 256
NUM_RECORDS = 16384  # about the pool of RandHIE
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.01


class Shape(NamedTuple):
    """A multi-layer perceptron and how long it is timed.

    Attributes:
      name: in the table.
      widths: of the input, hidden and output layers. One output: sigmoid loss.
      model_steps: model-steps of one contender in one round; a multiple of what any
        contender trains at once.
    """

    name: str
    widths: tuple[int, ...]
    model_steps: int

    @property
    def flops(self) -> int:
        """Of one step of one model: matrix products of forward and backward pass.

        B * sum over layers of 2 a b, twice for the first layer, whose inputs need no
        gradient, and three times for all others.
        """
        pairs = list(zip(self.widths, self.widths[1:]))
        products = sum(
            a * b * (3 if layer else 2) for layer, (a, b) in enumerate(pairs)
        )
        return BATCH_SIZE * 2 * products


def shapes(quick: bool) -> list[Shape]:
    """The small default network of RandHIE, and a wide one."""
    small, wide = (64, 64) if quick else (3200, 640)
    return [
        Shape("rand", (46, 128, 128, 1), small),
        Shape("wide", (60, 300, 300, 300, 2), wide),
    ]


def dataset(shape: Shape) -> contracts.Dataset:
    """Records of one patient each, all in the pool; the label depends on the inputs."""
    generator = np.random.default_rng(0)
    ids = np.arange(NUM_RECORDS)
    inputs = generator.standard_normal((NUM_RECORDS, shape.widths[0]), np.float32)
    noise = generator.standard_normal(NUM_RECORDS)
    return contracts.Dataset(
        name=shape.name,
        title=shape.name,
        inputs=inputs,
        labels=(inputs[:, :4].sum(1) + noise > 0).astype(np.int32),
        task="binary" if shape.widths[-1] == 1 else "multiclass",
        class_names=("no", "yes"),
        record_ids=ids.astype(str),
        patient_ids=ids.astype(str),
        patient_of_record=ids.astype(np.int32),
        is_test=np.zeros(NUM_RECORDS, bool),
        unit_of_patient=ids.astype(np.int32),
        unit="patient",
        groups=pd.DataFrame(index=ids),
    )


def settings(shape: Shape, num_models: int, models_per_group: int):
    """Run settings of the network: AdamW, batches of 256."""
    plugin = lambda kind, name, options: config.Plugin(
        kind=kind, name=name, options=options
    )
    return config.RunSettings(
        seed=0,
        data=plugin("data", "synthetic", {}),
        masks=config.MaskSettings(),
        model=plugin("models", "mlp", {"widths": shape.widths[1:-1]}),
        train=config.TrainSettings(
            num_models=num_models,
            batch_size=BATCH_SIZE,
            learning_rate=LEARNING_RATE,
            weight_decay=WEIGHT_DECAY,
            models_per_group=models_per_group,
        ),
        defence=plugin("defences", "plain", {}),
        attack=plugin("attacks", "lira", {}),
        risk=config.RiskSettings(),
    )


def index_table(num_steps: int, num_models: int) -> np.ndarray:
    """[steps, models, batch] records: shuffled epochs over half of all records."""
    generator = np.random.default_rng(1)
    found = np.empty((num_models, num_steps * BATCH_SIZE), np.int64)
    num_members = NUM_RECORDS // 2
    for row in found:
        members = generator.permutation(NUM_RECORDS)[:num_members]
        for start in range(0, len(row), num_members):
            part = row[start : start + num_members]
            part[:] = generator.permutation(members)[: len(part)]
    return found.reshape(num_models, num_steps, BATCH_SIZE).swapaxes(0, 1)
