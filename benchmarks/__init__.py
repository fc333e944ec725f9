"""Benchmarks: our own speed and, in the same run, that of the plain alternative."""
