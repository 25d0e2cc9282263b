"""The repository's documents as tests read them: blocks of code, tables and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.support.installation import REPOSITORY
from tests.support.kubectl import Json

DOCUMENTS = [
    *sorted(REPOSITORY.glob("*.md")),
    *sorted(REPOSITORY.glob("docs/*.md")),
    *sorted(REPOSITORY.glob("examples/*/README.md")),
]


def blocks(document: Path, language: str) -> list[str]:
    """The text of every block of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text(), re.DOTALL | re.MULTILINE)


def manifests() -> dict[str, str]:
    """Every YAML block of a document that is a whole Sandbox, by the document's name and a number."""
    return {
        f"{document.name}-{number}": text
        for document in DOCUMENTS
        for number, text in enumerate(blocks(document, "yaml"), start=1)
        if re.search(r"^kind: Sandbox$", text, re.MULTILINE)
    }


def mistakes() -> Iterator[tuple[Json, str]]:
    """What docs/users.md says that the API server answers to a spec: each as a Sandbox, and the words."""
    rows = (REPOSITORY / "docs" / "users.md").read_text().partition("\n## Common mistakes\n")[2]
    for fragment, words in re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|$", rows, re.MULTILINE):
        yield (
            {
                "apiVersion": "sandmount.dev/v1alpha1",
                "kind": "Sandbox",
                "metadata": {"name": "training"},
                "spec": {"image": "busybox:stable", **yaml.safe_load(fragment)},
            },
            words,
        )
