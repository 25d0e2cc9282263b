"""docs/check.md, whose console blocks are run as they stand: in a folder that has the files which they name."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attack.mounts import mounted
from tests.cluster import Cluster
from tests.helm.program import program
from tests.support import Kube, OperatorProcess
from tests.support.documents import blocks
from tests.support.installation import REPOSITORY
from tests.support.programs import put_programs

DOCUMENT = REPOSITORY / "docs" / "check.md"
ROOT = "/data/shared"
TRAIN = f"""\
apiVersion: sandmount.dev/v1alpha1
kind: Sandbox
metadata:
  name: train
  namespace: team-a
spec:
  image: busybox:stable
  volumes:
    - name: data
      mountPath: /mnt/data
      readOnly: true
      host:
        path: {ROOT}/datasets
    - name: etc
      mountPath: /mnt/etc
      host:
        path: /etc
"""


def printed(block: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a block, and the lines that it is said to print."""
    for part in re.split(r"^[$#] ", block, flags=re.MULTILINE)[1:]:
        command, *lines = part.splitlines()
        yield command, lines


class Reader:
    """Runs a command in a folder that has what the document names."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._folder = folder
        programs = folder / "bin"
        programs.mkdir()
        put_programs(programs)
        (programs / "helm").symlink_to(program())
        kustomize = programs / "kustomize"
        kustomize.write_text(f'#!/bin/sh\n[ "$1" = build ] && exec {cluster.kubectl} kustomize "$2"\n')
        kustomize.chmod(0o755)
        path = f"{programs}:{os.environ['PATH']}"
        self._environment = {**os.environ, "PATH": path, "KUBECONFIG": str(cluster.kubeconfig)}

    def write(self, name: str, text: str) -> None:
        """One of the files."""
        (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self._folder / name).write_text(text)

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """As a reader would, whatever comes of it."""
        argv = ["bash", "-o", "pipefail", "-c", command]
        return subprocess.run(
            argv, cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=60, check=False
        )


@pytest.fixture
def reader(cluster: Cluster, tmp_path: Path) -> Reader:
    """With an allowlist, a manifest, a kustomization and a chart that have the same Sandbox."""
    found = Reader(cluster, tmp_path)
    found.write("allowlist.yaml", f"- {ROOT}\n")
    found.write("deploy/train.yaml", TRAIN)
    found.write("overlays/prod/kustomization.yaml", "resources: [train.yaml]\n")
    found.write("overlays/prod/train.yaml", TRAIN)
    found.write("mychart/Chart.yaml", "apiVersion: v2\nname: mychart\nversion: 1.0.0\n")
    found.write("mychart/templates/train.yaml", TRAIN)
    return found


def test_what_is_checked_before_apply_is_said_in_these_words(
    reader: Reader, kube: Kube, operator: OperatorProcess
) -> None:
    assert operator
    kube.set_allowlist(f"- {ROOT}\n")
    (first, said), *others = printed(blocks(DOCUMENT, "console")[0])
    done = reader.run(first)
    assert done.stdout.splitlines() == said, done.stderr
    assert done.returncode == 1
    assert len(others) == 3
    for command, _ in others:
        done = reader.run(command)
        about_a_sandbox = "Sandbox" in done.stdout
        assert (done.returncode, done.stderr) == (1 if about_a_sandbox else 0, ""), f"{command}\n{done}"
        assert about_a_sandbox == ("|" in command)


def test_what_is_checked_on_a_node_is_said_in_these_words(reader: Reader, host: Path) -> None:
    [(command, said)] = printed(blocks(DOCUMENT, "console")[1])
    files = next(int(n) for n in re.findall(r"(\d+) files below", "\n".join(said)))
    root = host / "shared"
    root.mkdir()
    reader.write("allowlist.yaml", f"- {root}\n")
    with mounted("tmpfs", root, "nosymfollow,nosuid,nodev,mode=755"):
        (root / "team").mkdir()
        (root / "team" / "x").symlink_to("/etc")
        for number in range(files - 2):  # the folder and the link are two
            (root / "team" / str(number)).touch()
        done = reader.run(command)
    assert done.stdout.replace(str(root), ROOT).replace("tmpfs", "ext4").splitlines() == said, done.stderr
    assert done.returncode == 0
