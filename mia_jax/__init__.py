"""Membership risk of medical AI models, patient by patient, and training without it."""

import importlib

__version__ = "0.1.0"


def __getattr__(name: str):
    """`mia_jax.results.load(...)` after a plain `import mia_jax`."""
    if name == "results":
        return importlib.import_module("mia_jax.results")
    raise AttributeError(f"module 'mia_jax' has no attribute {name!r}")
