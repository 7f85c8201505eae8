"""A runbook step's Markdown as HTML for the pages. Pure.

Must not let anything of a runbook become markup of its own: raw HTML stays text, and so do links that are not to the
web (a runbook's relative links lead nowhere from here).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from markdown_it import MarkdownIt

_MARKDOWN = MarkdownIt("commonmark", {"html": False}).disable(["image", "heading", "lheading"])
_MARKDOWN.validateLink = lambda url: url.startswith(("https://", "http://"))  # type: ignore[method-assign]


@lru_cache(maxsize=512)
def html_of(text: str) -> str:
    """Return a step's text as HTML."""
    return str(_MARKDOWN.render(text))


def with_html(runbook: Mapping[str, Any]) -> dict[str, Any]:
    """Return a view's runbook with each step's text as ``html`` too."""
    steps = [{**step, "html": html_of(str(step.get("text", "")))} for step in runbook.get("steps", ())]
    return {**runbook, "steps": steps}
