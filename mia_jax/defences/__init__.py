"""Defences, one file each: `build(batch_size, **options) -> contracts.Defence`."""
