"""Membership risk, patient by patient, of a medical AI model; and training without it."""

__version__ = "0.1.0"
