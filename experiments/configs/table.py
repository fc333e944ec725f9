"""Your own table: one row per record, CSV or Parquet.

    python -m experiments.audit --config=experiments/configs/table.py \
        --config.data.path=my.csv --config.data.groups='("sex","race")' \
        --workdir=runs/mine

The columns are described in mia_jax/data/table.py; every field is listed by
`--help_config`.
"""

from mia_jax import config as settings


def get_config():
    """The config; `data.path` must be set."""
    config = settings.default(data="table", model="tabresnet")
    config.train.num_models = 256
    return config
