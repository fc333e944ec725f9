"""The audit from a notebook: arrays and tables in, a result with tables out.

The same stages as the binaries run, and write the same folder.
"""

from mia_jax.notebook.own_models import audit
from mia_jax.notebook.own_predictions import audit_predictions, read_tables
from mia_jax.notebook.result import Result, load

__all__ = ["Result", "audit", "audit_predictions", "load", "read_tables"]
