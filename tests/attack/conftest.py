"""A ground for attacks: the fixtures of the e2e tests, with a canary next to the root."""

from pathlib import Path

import pytest

from tests.attack.canary import Canary
from tests.attack.ground import Ground
from tests.support.fixtures import USER, Sandboxes


@pytest.fixture
def canary(host: Path) -> Canary:
    """A tree outside of every root."""
    return Canary.plant(host / "outside", USER)


@pytest.fixture
def ground(sandboxes: Sandboxes, host: Path, shared: Path, canary: Canary) -> Ground:
    """A root that is on the allowlist, and the canary next to it."""
    found = Ground(sandboxes, host, shared, canary)
    found.wait_for_list()
    found.begin()
    return found
