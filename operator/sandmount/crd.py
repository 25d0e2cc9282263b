"""The CustomResourceDefinition. There is one file of it, crds/sandboxes.yaml, and a wheel has that file in it."""

from pathlib import Path

_HERE = Path(__file__).resolve().parent
_PLACES = (_HERE / "crds", _HERE.parents[1] / "crds")
"""Where an installed package has it (pyproject.toml puts it there), and where a clone of the repository does."""


def text() -> bytes:
    """Its YAML, as it was written."""
    return next(found for place in _PLACES if (found := place / "sandboxes.yaml").is_file()).read_bytes()
