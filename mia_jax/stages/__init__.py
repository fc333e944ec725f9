"""The stages of an audit; each reads only the files of the one before.

train   cohort.pkl, block_*.json, groups/     shadow models' statistics
score   predictions/                          what any framework can export
attack  scores.npy, summary.json, *.pkl       scores, risk per record and patient
report  report.html, figures/                 what a person reads
"""
