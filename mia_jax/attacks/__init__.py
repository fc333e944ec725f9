"""Attacks, one file each: `scores(statistic, member_mask, **options)`."""
