"""A matplotlib figure as SVG that can stand inside a page, beside others."""

import io
import re

import matplotlib.figure

_FONTS = "system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif"
# Everything in the page shares one name space: ids would collide.
_IDS = re.compile(r'(\bid="|url\(#|href="#)')
_PROLOGUE = re.compile(r"^.*?(?=<svg\b)", re.DOTALL)
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
_SIZE = re.compile(r'(<svg\b[^>]*?) width="[^"]*"|(<svg\b[^>]*?) height="[^"]*"')
_FAMILY = re.compile(r"(font(?:-family)?: [^;\"']*?)'DejaVu Sans'(?:, [^;\"]*)?")
_TAG = re.compile(r"<[^>]*>")
_DIGITS = re.compile(r"(\d+\.\d{2})\d+")


def inline(figure: matplotlib.figure.Figure, prefix: str) -> str:
    """Draws a figure as an `<svg>` element.

    Args:
      figure: to draw, inside its own rc context with "svg.fonttype" "none" and a fixed
        "svg.hashsalt".
      prefix: put before every id; must differ between the figures of a page.

    Returns:
      The element, sized by its view box; the same text every time.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = _PROLOGUE.sub("", buffer.getvalue())
    text = _METADATA.sub("", text)
    for _ in range(2):  # width and height; the view box remains
        text = _SIZE.sub(lambda m: m.group(1) or m.group(2), text, count=1)
    text = _IDS.sub(rf"\g<1>{prefix}-", text)
    text = _FAMILY.sub(rf"\g<1>{_FONTS}", text)
    # A hundredth of a point is enough, but labels keep their digits.
    text = _TAG.sub(lambda tag: _DIGITS.sub(r"\1", tag.group()), text)
    text = text.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
    return "\n".join(line.strip() for line in text.splitlines())
