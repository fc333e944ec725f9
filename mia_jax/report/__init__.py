"""What a person reads: the headline, the figures and the reports of a finished run.

words           numbers as text: "7 %", "about 335", "over 99", "<5"
headline        the finding in one sentence; the same in terminal, JSON and report
pseudonyms      keyed names for patients; the key never lies with the results
cells           which small counts to hide together, so that none can be worked out
suppression     the tables of a run without numbers that point to few patients
contents        `ReportData`: what figures and pages may see; confidential and public
style           colours, fonts and sizes
figures_*       one function per figure, from `ReportData` alone
figures         all of them, for the page and for print
group_words     which groups stand out
group_panels    what the figure of groups shows of them
findings        section titles and alternative texts, generated from numbers
sentences       captions and checks, generated from numbers
origin          what was attacked, and where the numbers come from
data_protection answers for the data-protection file
tiles           the three numbers of the first screen
tables_*        the tables of the page
html            the page: one template for both reports
build           `write(folder)`: reads a finished run, writes figures/ and both reports
"""
