"""The operator's image without a container engine: what the Dockerfile says, from Debian's packages.

Debian's Python is the Dockerfile's (3.11 of Debian 12), the Python packages are installed by the same requirements.txt,
and user, environment and command are read from the Dockerfile itself. Each layer is kept, by what it is made of.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cluster.base import ClusterError, say
from tests.cluster.image import PATH, architecture_of_machine, image_archive
from tests.cluster.local.machine import apt_install

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKERFILE = REPOSITORY / "Dockerfile"
REQUIREMENTS = REPOSITORY / "requirements.txt"
BUILD_REQUIREMENTS = REPOSITORY / "requirements-build.txt"
NAME = "docker.io/library/sandmount:0.1.0"
"""As the Deployment's image ``sandmount:0.1.0`` is called in full."""

SUITE = "bookworm"
PYTHON = "3.11"
PACKAGES = ("python3",)
FOLDER = "opt/sandmount"
LEFT_OUT = re.compile(r"^\.?/?(usr/share/(doc|man|locale|info)/.|var/(cache|lib)/apt/.|dev/.)")
"""What nobody needs at run time; and device files, which come from the runtime."""


def build(cache: Path) -> Path:
    """The archive of an image of this checkout's operator; layers are kept in the folder ``cache``.

    Raises ClusterError where that cannot be done.
    """
    cache.mkdir(parents=True, exist_ok=True)
    base = _kept(cache, "base", repr((SUITE, PACKAGES, LEFT_OUT.pattern)), _base)
    packages = _kept(cache, "packages", REQUIREMENTS.read_text(), _packages)
    archive = cache / "sandmount-image.tar"
    layers = [base.read_bytes(), packages.read_bytes(), _operator()]
    settings = configuration(DOCKERFILE.read_text())
    archive.write_bytes(image_archive(NAME, layers, settings.pop("Cmd"), architecture_of_machine(), **settings))
    return archive


def configuration(dockerfile: str) -> dict[str, Any]:
    """What the Dockerfile's last stage says of user, environment and command, as an image's configuration has it."""
    last = dockerfile[dockerfile.rindex("\nFROM ") :]
    said = dict(re.findall(r"^(ENV|USER|WORKDIR|ENTRYPOINT|CMD) (.+)$", last, re.MULTILINE))
    return {
        "User": said["USER"],
        "WorkingDir": said["WORKDIR"],
        "Env": [PATH, *said["ENV"].split()],
        "Entrypoint": json.loads(said["ENTRYPOINT"]),
        "Cmd": json.loads(said["CMD"]),
    }


def _kept(cache: Path, name: str, made_of: str, make: Callable[[], bytes]) -> Path:
    """A layer that was made before of the same, or is made now."""
    key = hashlib.sha256(f"{architecture_of_machine()} {PYTHON} {made_of}".encode()).hexdigest()[:16]
    path = cache / f"{name}-{key}.tar"
    if not path.exists():
        say(f"Making the layer {name!r} of the operator's image, once")
        data = make()
        with tempfile.NamedTemporaryFile(dir=cache, delete=False) as file:
            file.write(data)
        Path(file.name).replace(path)
    return path


def _base() -> bytes:
    """Debian's Python and what it needs, not configured: nothing in it has to run but Python."""
    if shutil.which("mmdebstrap") is None:
        apt_install(["mmdebstrap"])
    apt = Path("/etc/apt")
    found = (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*")))
    sources = [path for path in found if path.suffix in {".list", ".sources"} and path.is_file()]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "base.tar"
        options = ["--variant=extract", f"--include={','.join(PACKAGES)}", "--format=tar"]
        _run("mmdebstrap", *options, SUITE, str(target), *map(str, sources))
        return _without(target, LEFT_OUT)


def _without(archive: Path, left_out: re.Pattern[str]) -> bytes:
    """The same tar without some of its files, and without times."""
    out = io.BytesIO()
    with tarfile.open(archive) as source, tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as target:
        for member in source:
            if left_out.match(member.name):
                continue
            member.mtime, member.pax_headers = 0, {}
            target.addfile(member, source.extractfile(member) if member.isreg() else None)
    return out.getvalue()


def _packages() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        _pip(folder, f"--python-version={PYTHON}", "--require-hashes", "--only-binary=:all:", "-r", str(REQUIREMENTS))
        return _tar_of_folder(Path(folder))


def _operator() -> bytes:
    """From a copy, as a build leaves files beside the sources."""
    with tempfile.TemporaryDirectory() as folder:
        source, target, builder = Path(folder, "src"), Path(folder, "target"), Path(folder, "builder")
        (source / "crds").mkdir(parents=True)
        for name in ("pyproject.toml", "README.md", "LICENSE", "crds/sandboxes.yaml"):
            shutil.copy(REPOSITORY / name, source / name)
        shutil.copytree(
            REPOSITORY / "operator" / "sandmount",
            source / "operator" / "sandmount",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        _pip(str(builder), "--require-hashes", "--only-binary=:all:", "-r", str(BUILD_REQUIREMENTS))
        _pip(str(target), "--no-deps", "--no-build-isolation", str(source), PYTHONPATH=str(builder))
        return _tar_of_folder(target)


def _pip(target: str, *what: str, **environment: str) -> None:
    argv = (sys.executable, "-m", "pip", "install", "--quiet", "--no-cache-dir", "--no-compile", "--target", target)
    _run(*argv, *what, **environment)


def _tar_of_folder(folder: Path) -> bytes:
    """Its files below FOLDER, compiled, as root's and readable for all."""
    out = io.BytesIO()
    _run(sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(folder))

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = ""
        info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
        return info

    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        tar.add(folder, FOLDER, filter=plain)
    return out.getvalue()


def _run(*argv: str, **environment: str) -> None:
    done = subprocess.run(argv, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"`{' '.join(argv[:3])} ...` failed:\n{done.stderr.strip()[-2000:]}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m tests.cluster.operator_image FOLDER")
    try:
        print(build(Path(sys.argv[1])))
    except ClusterError as error:
        raise SystemExit(str(error)) from error
