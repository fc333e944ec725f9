"""From statistics and masks to risk: records, patients, groups, the cohort."""
