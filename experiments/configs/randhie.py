"""Default audit: RAND Health Insurance Experiment, 512 MLPs of 128 x 128.

    python -m experiments.audit --config=experiments/configs/randhie.py \
        --workdir=runs/randhie

Presets, after a colon (`randhie.py:capacity`): default; careful (dropout .3, 20
epochs); capacity (300 x 3, as accurate and far more exposed); overfitted (100 epochs).

Receipt: see results/README.md.
"""

from mia_jax import config as settings

_PRESETS = {
    "default": {},
    "careful": {"model.dropout": 0.3, "train.epochs": 20.0},
    "capacity": {"model.widths": (300, 300, 300)},
    "overfitted": {"train.epochs": 100.0},
}


def get_config(preset: str = "default"):
    """The config of one preset."""
    config = settings.default(data="randhie", model="mlp")
    config.update_from_flattened_dict(settings.preset(_PRESETS, preset))
    return config
