"""Model families, one file each: `build(num_outputs, **options) -> contracts.Model`."""
