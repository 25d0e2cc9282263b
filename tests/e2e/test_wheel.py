"""The wheel: what is in it, and that all of it works where there is nothing else of the repository.

No cluster is needed, but pip and a package index.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandmount import __version__
from sandmount.api import SandboxSpec, parse_spec
from tests.support.installation import REPOSITORY

PACKAGE = REPOSITORY / "operator" / "sandmount"
EXAMPLES = REPOSITORY / "examples"
ALLOWLIST = str(EXAMPLES / "allowlist.yaml")
CRD = REPOSITORY / "crds" / "sandboxes.yaml"
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "requirements.txt", "crds", "operator")
STRICT = "[mypy]\nstrict = true\n"
TYPES = {"mypy alone": STRICT, "its plugin": STRICT + "plugins = pydantic.mypy\n[pydantic-mypy]\ninit_typed = true\n"}


@dataclass(frozen=True)
class Installed:
    """A virtual environment with the wheel in it, and a folder of its own to be in."""

    folder: Path
    wheel: Path

    def run(self, name: str, *args: str) -> subprocess.CompletedProcess[str]:
        """One of the environment's programs."""
        return run(self.folder, str(self.folder / "venv" / "bin" / name), *args)

    def mypy(self, script: Path, configuration: str) -> subprocess.CompletedProcess[str]:
        """What a type checker says of a script that uses the wheel."""
        (self.folder / "mypy.ini").write_text(configuration)
        python = str(self.folder / "venv" / "bin" / "python")
        options = ["--config-file", "mypy.ini", "--python-executable", python, "--cache-dir", os.devnull]
        return run(self.folder, sys.executable, "-m", "mypy", *options, str(script))


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Without what a developer's environment has: no other Sandmount, and no cluster."""
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "KUBECONFIG"}}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=180, check=False
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel of this checkout, built from a copy (a build leaves files beside the sources) and installed."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        path = REPOSITORY / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(path, source)
    venv.create(folder / "venv", with_pip=True)
    quiet = ("--quiet", "--disable-pip-version-check")
    pip = (str(folder / "venv" / "bin" / "pip"),)
    for command in (
        (*pip, "wheel", *quiet, "--no-deps", "--wheel-dir", "wheels", str(source)),
        (*pip, "install", *quiet, "--require-hashes", "-r", str(source / "requirements.txt")),
        (*pip, "install", *quiet, "--no-deps", "--no-index", "--find-links", "wheels", "sandmount"),
    ):
        done = run(folder, *command)
        assert done.returncode == 0, done.stderr
    shutil.rmtree(source)
    [wheel] = (folder / "wheels").iterdir()
    return Installed(folder, wheel)


def test_the_wheel_has_the_package_its_types_the_crd_and_nothing_else(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    expected = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert files == {
        **{f"sandmount/{path.relative_to(PACKAGE)}": path.read_bytes() for path in expected},
        "sandmount/crds/sandboxes.yaml": CRD.read_bytes(),
    }
    assert "sandmount/py.typed" in files


def test_the_pinned_requirements_are_all_that_the_wheel_asks_for(installed: Installed) -> None:
    done = installed.run("pip", "check", "--disable-pip-version-check")
    assert (done.returncode, done.stdout) == (0, "No broken requirements found.\n")


def test_the_programs_work(installed: Installed) -> None:
    assert installed.run("sandmount", "version").stdout == f"{__version__}\n"
    assert installed.run("sandmount", "crd").stdout.encode() == CRD.read_bytes()
    example = str(EXAMPLES / "host-volume-mount" / "01-read-write.yaml")
    checked = installed.run("sandmount", "check", example, "--allowlist", ALLOWLIST)
    assert checked.returncode == 0, checked.stderr
    assert "1 Sandbox, 1 allowed" in checked.stdout
    shown = installed.run("kubectl-sandbox", "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Sandboxes, for people" in shown.stdout
    assert "why\t" in installed.run("kubectl_complete-sandbox", "w").stdout


def test_a_sandbox_from_python_is_what_the_operator_reads_and_would_allow(installed: Installed) -> None:
    written = installed.run("python", str(EXAMPLES / "sandbox.py"))
    assert written.returncode == 0, written.stderr
    assert isinstance(parse_spec(json.loads(written.stdout)["spec"]), SandboxSpec)
    (installed.folder / "sandbox.json").write_text(written.stdout)
    checked = installed.run("sandmount", "check", "sandbox.json", "--allowlist", ALLOWLIST)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("configuration", TYPES.values(), ids=TYPES)
def test_a_type_checker_takes_the_example_and_finds_mistakes_in_it(installed: Installed, configuration: str) -> None:
    text = (EXAMPLES / "sandbox.py").read_text()
    script = installed.folder / "pipeline.py"
    script.write_text(text)
    done = installed.mypy(script, configuration)
    assert done.returncode == 0, done.stdout
    for right, wrong in (("sub_path=", "sub_pth="), ('restart_policy="Never"', 'restart_policy="Once"')):
        assert right in text
        script.write_text(text.replace(right, wrong))
        done = installed.mypy(script, configuration)
        assert done.returncode == 1, f"{wrong}: {done.stdout}"
        assert done.stdout.startswith("pipeline.py:"), done.stdout
