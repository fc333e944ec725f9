"""A small cohort and settings that many tests share."""

import jax
import numpy as np
import pandas as pd

from mia_jax import config, contracts, units


def small(num_patients=40, num_records=100, num_classes=2, seed=0) -> contracts.Dataset:
    """Records of 4 numbers; the last fifth of the patients are test patients."""
    generator = np.random.default_rng(seed)
    extra = generator.integers(0, num_patients, num_records - num_patients)
    patient_of_record = np.sort(np.r_[np.arange(num_patients), extra]).astype(np.int32)
    inputs = generator.standard_normal((num_records, 4)).astype(np.float32)
    labels = generator.integers(0, num_classes, num_records).astype(np.int32)
    ids = np.arange(num_patients)
    return contracts.Dataset(
        name="small",
        title="A small cohort",
        inputs=inputs,
        labels=labels,
        task="binary" if num_classes == 2 else "multiclass",
        class_names=tuple("abcdefgh"[:num_classes]),
        record_ids=np.arange(num_records).astype(str),
        patient_ids=ids.astype(str),
        patient_of_record=patient_of_record,
        is_test=ids >= num_patients - num_patients // 5,
        unit_of_patient=ids.astype(np.int32),
        unit="patient",
        groups=pd.DataFrame({"sex": np.where(ids % 2, "female", "male")}),
    )


def data(dataset) -> contracts.Data:
    """A data set as models train on it, records as units."""
    table = units.table(dataset, "record")
    return jax.device_put(contracts.Data(dataset.inputs, dataset.labels, table.units))


def settings(model="mlp", model_options=None, **train) -> config.RunSettings:
    """Run settings for `small`: a tiny MLP, two epochs, 6 models in groups of 4."""
    if model == "mlp" and model_options is None:
        model_options = {"widths": (8,)}
    defaults = {"num_models": 6, "epochs": 2.0, "batch_size": 8, "models_per_group": 4}
    plugin = lambda kind, name, options: config.Plugin(
        kind=kind, name=name, options=options
    )
    return config.RunSettings(
        seed=3,
        data=plugin("data", "synthetic", {}),
        masks=config.MaskSettings(),
        model=plugin("models", model, model_options or {}),
        train=config.TrainSettings(**{**defaults, **train}),
        defence=plugin("defences", "plain", {}),
        attack=plugin("attacks", "lira", {}),
        risk=config.RiskSettings(),
    )
