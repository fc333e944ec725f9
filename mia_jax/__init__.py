"""Membership risk of medical AI models, patient by patient, and training without it."""

__version__ = "0.1.0"
