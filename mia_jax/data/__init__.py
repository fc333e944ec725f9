"""Data sources, one file each: `load(**options) -> contracts.Dataset`."""
