"""kubectl sandbox, as kubectl runs it, by an administrator and by a user who may see only Sandboxes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.support.fixtures import Sandboxes, host_volume
from tests.support.programs import put_programs

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def kubectl(cluster: Cluster, sandboxes: Sandboxes, tmp_path: Path) -> Run:
    """`kubectl ...` with the plugin, in the namespace of the test, which is that of the kubeconfig's context."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "kubectl").symlink_to(cluster.kubectl)
    put_programs(folder)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_bytes(cluster.kubeconfig.read_bytes())
    environment = {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "KUBECONFIG": str(kubeconfig),
    }

    def run(*args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["kubectl", *args], env=environment, input=stdin, capture_output=True, text=True, timeout=60, check=False
        )

    assert run("config", "set-context", "--current", f"--namespace={sandboxes.namespace}").returncode == 0
    return run


@pytest.fixture
def sandbox_command(kubectl: Run) -> Run:
    """`kubectl sandbox ...`."""
    return lambda *args, **more: kubectl("sandbox", *args, **more)


def test_ls_why_and_shell_of_one_that_runs_and_one_that_is_denied(
    sandbox_command: Run, sandboxes: Sandboxes, shared: Path
) -> None:
    here = sandboxes.namespace
    assert sandbox_command("ls").stderr == f'No Sandboxes found in namespace "{here}".\n'
    (shared / "train").mkdir()
    sandboxes.apply("training", host_volume(shared, subPath="train", readOnly=True))
    sandboxes.apply("bad", host_volume("/etc"))
    sandboxes.wait_ready("training")
    sandboxes.wait_reason("bad", "HostPathNotAllowed")

    rows = [line.split() for line in sandbox_command("ls").stdout.splitlines()]
    assert [row[:3] for row in rows] == [
        ["NAME", "PHASE", "REASON"],
        ["bad", "Failed", "HostPathNotAllowed"],
        ["training", "Running", "PodReady"],
    ]
    assert f"{here} " in sandbox_command("ls", "-A").stdout

    told = sandbox_command("why", "training").stdout
    assert told.startswith(f"{here}/training is ready: PodReady, for ")
    assert (
        f"host directory {shared}, its directory train at /mnt/data, read-only; granted by the entry {shared}" in told
    )
    assert "  container running for " in told
    assert "Pod Started" in told  # an Event of the kubelet's
    denied = sandbox_command("why", "bad").stdout
    assert denied.startswith(f"{here}/bad needs your help: HostPathNotAllowed")
    assert 'host.path "/etc" is not on the allowlist' in denied
    assert "  Pod       there is none" in denied

    assert sandbox_command("shell", "training", stdin="echo in $((40 + 2))\n").stdout == "in 42\n"
    refused = sandbox_command("shell", "bad")
    assert refused.returncode == 1
    assert "HostPathNotAllowed" in refused.stderr


def test_paths_shows_what_a_namespace_may_mount(sandbox_command: Run, sandboxes: Sandboxes, shared: Path) -> None:
    sandboxes.kube.set_allowlist(
        f"- path: {shared}\n  readOnly: true\n- path: /srv/elsewhere\n  namespaces: [nobody]\n"
    )
    rows = [line.split("   ") for line in sandbox_command("paths").stdout.splitlines()]
    assert [cell.strip() for cell in rows[1][:2]] == [str(shared), "read-only"]
    assert len(rows) == 2


def test_kubectl_completes_commands_and_options_and_the_names_of_sandboxes(kubectl: Run, sandboxes: Sandboxes) -> None:
    def completed(*words: str) -> list[str]:
        done = kubectl("__complete", "sandbox", *words)
        assert "ShellCompDirectiveNoFileComp" in done.stderr
        assert "Traceback" not in done.stderr
        return [line.partition("\t")[0] for line in done.stdout.splitlines()]

    for name in ("training", "trial", "other"):
        sandboxes.apply(name)
    assert completed("") == ["ls", "paths", "shell", "why", ":4"]
    assert completed("ls", "--all") == ["--all-namespaces", ":4"]
    assert completed("why", "tr") == completed("shell", "-n", sandboxes.namespace, "tr") == ["training", "trial", ":4"]
    assert completed("why", "-n", "elsewhere", "") == completed("why", "--context", "nowhere", "") == [":4"]


def test_mistakes_are_told_in_a_line(sandbox_command: Run, sandboxes: Sandboxes) -> None:
    here = sandboxes.namespace
    for command in ("why", "shell"):
        done = sandbox_command(command, "nothing")
        assert (done.returncode, done.stderr) == (1, f'Error: there is no Sandbox "nothing" in namespace "{here}"\n')
    for name in ("", "a/status", "-x"):
        done = sandbox_command("why", "--", name)
        assert done.returncode == 2
        assert "is no name of a Sandbox" in done.stderr
    done = sandbox_command("ls", "--context", "nowhere")
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr
