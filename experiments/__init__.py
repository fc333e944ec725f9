"""Binaries: `python -m experiments.audit --help`. Settings: `experiments/configs`."""
