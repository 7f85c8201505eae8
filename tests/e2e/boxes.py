"""Whether what is in a page's boxes stays in them, at every width that people look at pages with."""

from __future__ import annotations

from typing import Any

WIDTHS_PX = (390, 800, 1100, 1440)

_OVERFLOWING = """() => {
    const clips = one => getComputedStyle(one).overflowX !== 'visible';
    const excused = one => one.closest('svg, #figure, .figure, .unseen, .skip');
    const shown = [...document.body.querySelectorAll('*')].filter(one => one.clientWidth && !excused(one));
    const over = shown.filter(one => one.scrollWidth > one.clientWidth + 1 && !clips(one));
    const page = document.documentElement;
    return [
        ...(page.scrollWidth > page.clientWidth ? [`the page: ${page.scrollWidth} px`] : []),
        ...over.map(one => `${one.scrollWidth} of ${one.clientWidth} px: ${one.outerHTML.slice(0, 120)}`),
    ];
}"""


def overflowing(page: Any) -> list[str]:
    """Return each box that holds something wider than itself; one that scrolls or clips may."""
    found: list[str] = page.evaluate(_OVERFLOWING)
    return found
