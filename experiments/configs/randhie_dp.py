"""RAND Health Insurance Experiment under patient-level differential privacy.

    python -m experiments.audit --config=experiments/configs/randhie_dp.py \
        --workdir=runs/randhie_dp

256 patients expected in a step, 200 steps, epsilon 8 at delta 1e-5, MLP of 64 x 64.
`--config.defence.epsilon=1` for another budget (a learning rate of 1e-2 serves epsilon
4 and below better), `--config.defence.epsilon=inf` for clipping without noise.

Receipt: see results/README.md.
"""

from mia_jax import config as settings


def get_config():
    """The config."""
    config = settings.default(data="randhie", model="mlp", defence="dp_sgd")
    config.model.widths = (64, 64)
    config.train.num_models = 128
    config.train.epochs = 21.65
    config.train.batch_size = 256
    config.train.learning_rate = 3e-3
    config.train.weight_decay = 0.0
    config.train.schedule = "constant"
    config.train.warmup = 0.0
    config.defence.epsilon = 8.0
    config.defence.l2_clip_norm = 0.1
    return config
