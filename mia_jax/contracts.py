"""The contracts of mia_jax: read this page first.

    data -> masks -> training -> predictions -> statistics -> attacks -> risk -> report

A data source, a model family, a defence and an attack are each one file, found by its
name (`config.find`). What the file must offer stands here and nowhere else.

Axes have one order everywhere: [models, patients | records, views, classes].
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

import jax
import numpy as np
import pandas as pd
from jax.typing import ArrayLike

Task = Literal["binary", "multiclass", "multilabel"]
Params = Any  # a pytree of float32 arrays
LossFn = Callable[..., jax.Array]  # (params, inputs, labels, key) -> [batch] float32


class Dataset(NamedTuple):
    """A cohort on the host: what `load(**options)` of a file in `mia_jax/data` returns.

    Attributes:
      name: short name, e.g. "randhie".
      title: what a reader of the report sees, e.g. "RAND Health Insurance Experiment".
      inputs: [records, ...] float32, model inputs, already scaled.
      labels: [records] int32, in 0..classes-1; for "multilabel" [records, labels], 0 or
        1 each.
      task: "binary" (one output, a logit), "multiclass" (one output per class) or
        "multilabel" (one logit per label).
      class_names: one name per class, two for "binary"; one per label for "multilabel".
      record_ids: [records] str, unique.
      patient_ids: [patients] str, unique; no patient is without a record.
      patient_of_record: [records] int32, index into `patient_ids`.
      is_test: [patients] bool, True = held out from every shadow model.
      unit_of_patient: [patients] int32, the unit that split and masks are drawn over:
        `arange(patients)`, or households (equal numbers share all masks).
      unit: "patient" or "household": what `unit_of_patient` counts.
      groups: one row per patient, in order; each column is an attribute of strings
        (missing = "unknown").
    """

    name: str
    title: str
    inputs: np.ndarray
    labels: np.ndarray
    task: Task
    class_names: tuple[str, ...]
    record_ids: np.ndarray
    patient_ids: np.ndarray
    patient_of_record: np.ndarray
    is_test: np.ndarray
    unit_of_patient: np.ndarray
    unit: str
    groups: pd.DataFrame

    @property
    def num_records(self) -> int:
        return len(self.labels)

    @property
    def num_patients(self) -> int:
        return len(self.patient_ids)

    @property
    def num_outputs(self) -> int:
        """Outputs of a model: one logit for "binary", else one per class or label."""
        return 1 if self.task == "binary" else len(self.class_names)

    @property
    def is_pool_record(self) -> np.ndarray:
        """[records] bool, True = of a patient that masks are drawn over."""
        return ~self.is_test[self.patient_of_record]


class Model(NamedTuple):
    """One network as two pure functions: what `build(num_outputs, **options)` returns.

    Attributes:
      init: (key, inputs [1, ...] float32) -> params.
      apply: (params, inputs [batch, ...] float32, key=None) -> logits [batch, outputs]
        float32. With a key: training mode (dropout); without: evaluation. No batch
        statistics in either: a record's logits depend on that record alone.
    """

    init: Callable[[jax.Array, ArrayLike], Params]
    apply: Callable[..., jax.Array]


class Units(NamedTuple):
    """Who has which records, on the device.

    Attributes:
      records: [pool records] int32, record numbers, unit after unit.
      start: [units] int32, where a unit's records start in `records`.
      count: [units] int32, how many records a unit has.
    """

    records: jax.Array
    start: jax.Array
    count: jax.Array


class Data(NamedTuple):
    """What all models of a run train on, on the device.

    Attributes:
      inputs: [records, ...] float32.
      labels: [records] int32, or [records, labels].
      units: of the defence: records, or those that masks are drawn over.
    """

    inputs: jax.Array
    labels: jax.Array
    units: Units


class Members(NamedTuple):
    """What one model may train on.

    Attributes:
      index: [padded] int32, the model's units in ascending order, then padding.
      count: int32 scalar, how many entries are units.
    """

    index: jax.Array
    count: jax.Array


class Setup(NamedTuple):
    """What a defence is built from: public numbers, never who is a member.

    Attributes:
      batch_size: of the settings: records, or patients, of one step.
      epochs: of the settings: passes over the expected members.
      num_records: of all patients that may be members.
      num_units: that masks are drawn over: patients, or households.
      unit: what they are: "patient" or "household".
      member_share: probability that a unit is a member of a model; 1 where a single
        model trains on all.
    """

    batch_size: int
    epochs: float
    num_records: int
    num_units: int
    unit: str
    member_share: float


class Defence(NamedTuple):
    """How a gradient is made from a model's members: what `build(setup, ...)` returns.

    Attributes:
      gradient_fn: (loss_fn, params, data, members, step, key, hyper)
        -> (loss, gradients): samples a batch of static size from the members and makes
        one gradient. Pure; `step` is an int32 scalar, `key` the model's own, `hyper`
        the dictionary below as float32 scalars.
      num_steps: of every model.
      unit: what members are counted in: "record", or "patient", the units that masks
        are drawn over.
      hyper: the defence's numbers that may differ along the model axis.
      guarantee: what is promised, e.g. {"unit": "patient", "epsilon": 8.0}; None for
        a defence that promises nothing.
    """

    gradient_fn: Callable[..., tuple[jax.Array, Params]]
    num_steps: int
    unit: Literal["record", "patient"]
    hyper: dict[str, float]
    guarantee: dict[str, Any] | None


class Context(NamedTuple):
    """What an attack may know of the records beside the statistic.

    Attributes:
      labels: [records] int, or [records, labels] for "multilabel"; None: not given.
      patient_of_record: [records] int.
      features: [records, features] float32, or None: not given.
    """

    labels: np.ndarray | None
    patient_of_record: np.ndarray
    features: np.ndarray | None


class Signals(NamedTuple):
    """Leave-one-out signals that a second step compares with a population.

    Attributes:
      query: [models, records] float32 (of one target: [records]), of the record asked
        about.
      population: the same, of the record as one of the population; None = as `query`.
    """

    query: ArrayLike
    population: ArrayLike | None


class Attack(Protocol):
    """A membership inference attack: `scores` of a file in `mia_jax/attacks`."""

    def __call__(
        self, statistic: ArrayLike, member_mask: ArrayLike, **options: Any
    ) -> jax.Array | Signals:
        """Scores every model as the target, all other models as its shadows.

        Args:
          statistic: [models, records] float32, logit-scaled confidence in the label,
            log p / (1 - p): higher = more confident. [models, records, channels] for an
            attack whose option `channels` is not "mean": views of a record, or labels.
          member_mask: [models, records] bool, True = trained on.
          **options: the attack's own settings.

        Returns:
          [models, records] float32, leave-one-out attack scores, higher = member. A
          model's own mask bit never enters its own score.

        A file may also offer, with the same options,

          cohort_sums(statistic, member_mask): sums over the records given, which the
            engine adds up over chunks and hands to `scores` as `cohort`; None where the
            options need none.
          tune(statistic, member_mask): numbers chosen once, on the host, from a sample
            of records; handed to `scores` as `tuned`. Arrays may be [models, 1]: what
            each target may use, which never depends on its own mask.
          compare(signals, member_mask, context): [records], the second step of an
            attack that compares a record with a population, for one target on the host;
            then `scores` returns `Signals`.
          prepare(context): what `compare` needs of the context and is the same for all
            targets; handed to it as `prepared`.
          patient_signal(statistic): the mask-free numbers that patients are tested on;
            without it the statistic itself.
        """
