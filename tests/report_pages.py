"""What the tests of reports share: a parser that counts, and changed summaries."""

import re
from html import parser

from mia_jax.report import contents, html

KEY = b"test-key"
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(parser.HTMLParser):
    """Collects what the tests ask about and checks that elements nest."""

    def __init__(self, text: str):
        super().__init__()
        self.ids, self.elements, self.open = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def of(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def rendered(folder) -> tuple[contents.ReportData, str]:
    data = contents.confidential(folder, KEY)
    text = html.render(data)
    Page(text)
    return data, text


def shows_nan(text: str) -> bool:
    return bool(re.search(r"\bnan\b", re.sub(r"<script.*?</script>", "", text)))


def change_summary(data, **changes) -> contents.ReportData:
    return data._replace(summary={**data.summary, **changes})
