"""Mounts that tests make on the host; they go with the test, whatever happens."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.fixtures import USER


@contextmanager
def mounted(what: str, where: Path, options: str = "") -> Iterator[Path]:
    """Inside, `what` ("tmpfs", or a directory, which then appears twice) is mounted at `where`, for USER to write.

    Only root can mount, so whoever else runs the tests has this one skipped.
    """
    if os.getuid():
        pytest.skip("mounting a file system needs root")
    kind = ["-t", "tmpfs"] if what == "tmpfs" else ["--bind"]
    _run("mount", *kind, *(["-o", options] if options else []), what, str(where))
    try:
        os.chown(where, USER, USER)
        yield where
    finally:
        _run("umount", str(where))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
