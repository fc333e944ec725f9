"""What a person reads: the headline, the figures and the report of a finished run.

words       numbers as text: "7 %", "about 335", "over 99"
headline    the finding in one sentence; the same in terminal, JSON and report
pseudonyms  keyed names for patients; the key never lies with the results
contents    `ReportData`: the tables that figures and pages may see, already selected
style       colours, fonts and sizes
figures_*   one function per figure, from `ReportData` alone
figures     all of them, for the page and for print
findings    section titles and sentences, generated from numbers
tiles       the three numbers of the first screen
tables      the tables of the page
html        the page
build       `write(folder)`: reads a finished run, writes figures/ and report.html
"""
