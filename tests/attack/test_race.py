"""Directories and links change places without pause while containers start, and nobody gets out.

Every start tries to read the canary and to write a file into what it has mounted.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attack.ground import Ground
from tests.attack.mounts import mounted
from tests.attack.race import race
from tests.support.fixtures import Recorder

pytestmark = pytest.mark.alone  # it keeps the machine busy

STARTS = 300
RAN = 120
STRICT_STARTS = 150
STRICT_RAN = 60


@pytest.fixture
def strict(host: Path, shared: Path) -> Iterator[Path]:
    """The root, on a file system of its own on which nobody follows links."""
    with mounted("tmpfs", shared, "nosymfollow,nosuid,nodev"):
        (shared / "probe").symlink_to("/")
        with pytest.raises(OSError, match="symbolic links"):
            os.listdir(shared / "probe")  # noqa: PTH208 - what is asked is whether the system follows
        (shared / "probe").unlink()
        yield shared


def test_on_an_ordinary_file_system_nothing_outside_is_read_or_changed(
    ground: Ground, record_property: Recorder
) -> None:
    result = race(ground, 84, STARTS, RAN)
    record_property("race", str(result))
    record_property("known limit, directories that the kubelet made outside", len(result.made_by_kubelet))
    assert not result.escaped, result
    assert result.starts >= STARTS and result.ran >= RAN and result.refused, result


def test_on_a_file_system_without_links_nothing_outside_changes_at_all(
    strict: Path, ground: Ground, record_property: Recorder
) -> None:
    assert strict == ground.root
    result = race(ground, 42, STRICT_STARTS, STRICT_RAN)
    record_property("race", str(result))
    assert not result.escaped and not result.made_by_kubelet, result
    assert result.starts >= STRICT_STARTS and result.ran >= STRICT_RAN and result.refused, result
