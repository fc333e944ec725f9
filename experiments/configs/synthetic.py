"""A generated cohort with known risk: does the audit find what is there?

    python -m experiments.audit --config=experiments/configs/synthetic.py \
        --workdir=runs/synthetic

Planted patients can only be fitted by heart; with `synthetic.py:null` nobody is
planted, no group is rare and labels are learnable, so nothing should be found;
`synthetic.py:multilabel` has five findings per record, of which planted patients betray
one.

Receipt: see results/README.md.
"""

from mia_jax import config as settings

_PRESETS = {
    "default": {},
    "null": {"data.num_planted": 0, "data.rare_group_share": 0.0, "train.epochs": 10.0},
    "multilabel": {"data.task": "multilabel"},
}


def get_config(preset: str = "default"):
    """The config of one preset."""
    config = settings.default(data="synthetic", model="mlp")
    config.train.num_models = 64
    config.train.epochs = 40.0
    config.update_from_flattened_dict(settings.preset(_PRESETS, preset))
    return config
