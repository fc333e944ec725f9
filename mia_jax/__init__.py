"""Membership risk of medical AI models, patient by patient, and training without it.

import mia_jax
result = mia_jax.audit_predictions(z, in_train, y_true=y, groups=patient_id)
result = mia_jax.audit(model, X, y, groups=patient_id)
mia_jax.load("runs/a")                 # a finished run, for a notebook
mia_jax.results.load("runs/a")         # its tables alone
"""

import importlib

__version__ = "0.1.0"

# What a plain `import mia_jax` offers; imported when it is first asked for.
_NOTEBOOK = ("audit", "audit_predictions", "load", "read_tables")


def __getattr__(name: str):
    """`mia_jax.results.load(...)` after a plain `import mia_jax`."""
    if name == "results":
        return importlib.import_module("mia_jax.results")
    if name in _NOTEBOOK:
        return getattr(importlib.import_module("mia_jax.notebook"), name)
    raise AttributeError(f"module 'mia_jax' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_NOTEBOOK, "results"})
