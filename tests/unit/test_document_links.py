"""Links between the documents lead somewhere: to a file that is there, and to a heading that it has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.documents import DOCUMENTS
from tests.support.installation import REPOSITORY

LINK = re.compile(r"\]\(([^)\s]+)\)")


def links(document: Path) -> list[str]:
    """Where its links lead; a regular expression in code is none."""
    return LINK.findall(re.sub(r"`[^`\n]+`", "", document.read_text()))


def anchors(document: Path) -> set[str]:
    """What its headings can be linked as: lower case, without punctuation, spaces as hyphens."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(REPOSITORY)))
def test_every_link_leads_somewhere(document: Path) -> None:
    for link in links(document):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (document.parent / file).resolve() if file else document
        assert target.exists(), f"{document.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{document.name}: {link}"


def test_every_document_can_be_reached_from_the_readme() -> None:
    seen, new = set(), {REPOSITORY / "README.md"}
    while new:
        document = new.pop()
        seen.add(document)
        parts = (link.partition("#")[0] for link in links(document) if "://" not in link)
        found = {(document.parent / link).resolve() for link in parts if link.endswith(".md")}
        new |= {f for f in found if f.exists()} - seen
    assert set(DOCUMENTS) <= seen, sorted(str(d) for d in set(DOCUMENTS) - seen)
