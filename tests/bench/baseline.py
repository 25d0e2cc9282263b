"""What BASELINE names: figures of an earlier run, or another build of the operator to take turns with."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import ClusterError
from tests.support.installation import REPOSITORY


@dataclass(frozen=True)
class Baseline:
    """At most one of: a folder that holds the package of another build, and an earlier run's JSON."""

    name: str = ""
    folder: Path | None = None
    earlier: dict[str, Any] | None = None


@contextmanager
def resolved(text: str) -> Iterator[Baseline]:
    """A JSON file, a folder with another checkout, or a git revision, whose files are there inside.

    Of a revision only operator/ is taken: the CRD and the manifests are this checkout's for both builds.
    """
    path = Path(text)
    if not text:
        yield Baseline()
    elif path.is_file():
        yield Baseline(path.name, earlier=json.loads(path.read_text()))
    elif path.is_dir():
        yield Baseline(text, package_folder(path.absolute()))
    else:
        archive = git("archive", "--format=tar", text, "operator")
        with tempfile.TemporaryDirectory(prefix="sandmount-baseline-") as folder:
            subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
            yield Baseline(f"{text} ({commit(text)})", package_folder(Path(folder)))


def package_folder(folder: Path) -> Path:
    """The folder that PYTHONPATH has to name. Raises ClusterError when the package is not there."""
    for found in (folder / "operator", folder):
        if (found / "sandmount" / "__init__.py").is_file():
            return found
    raise ClusterError(f"BASELINE: {folder} has no package sandmount, neither in operator/ nor in itself.")


def commit(revision: str) -> str:
    """A revision's short name."""
    return git("rev-parse", "--short", revision).decode().strip()


def this_build() -> str:
    """What is measured: the commit that is checked out, and whether the operator was changed since."""
    try:
        changed = git("status", "--porcelain", "--", "operator").strip()
        return commit("HEAD") + (" with changes" if changed else "")
    except ClusterError:
        return "not in a git checkout"


def git(*arguments: str) -> bytes:
    """What git prints. Raises ClusterError when it fails."""
    try:
        return subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, check=True).stdout
    except (subprocess.CalledProcessError, OSError) as error:
        words = getattr(error, "stderr", b"") or str(error).encode()
        raise ClusterError(
            f"BASELINE has to be a JSON file, a folder or a git revision. git {' '.join(arguments)}: "
            f"{words.decode(errors='replace').strip()}"
        ) from error
