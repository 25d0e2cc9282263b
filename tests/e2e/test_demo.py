"""The demo: it does what its README says, tells what went wrong, and leaves nothing but what it says."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.cluster.kubectl import SANDBOXES
from tests.support import Kube, OperatorProcess, wait_until
from tests.support.installation import REPOSITORY
from tests.support.places import HOST_DIRECTORY

RUN = REPOSITORY / "examples" / "host-volume-mount" / "run.py"
NAMESPACE = "sandmount-demo"
SUCCESS = "All scenarios completed successfully!"
OWNER = 4242
SECONDS = 240

Demo = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def kube(cluster: Cluster, operator: OperatorProcess) -> Iterator[Kube]:
    """kubectl, with no operator running: the demo brings its own."""
    operator.stop()
    yield operator.kube
    operator.start()
    operator.wait_until_working()


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Where the demo's temporary directories are made, on a path that the node has too."""
    HOST_DIRECTORY.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=HOST_DIRECTORY) as folder:
        yield Path(folder)


@pytest.fixture
def demo(scratch: Path) -> Demo:
    """Runs the demo with these environment variables."""

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if k not in ("HOST_VOLUME_PATH", "KEEP")}
        return subprocess.run(
            [sys.executable, str(RUN)],
            env=kept | {"TMPDIR": str(scratch)} | more,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    return run


@pytest.fixture
def host(scratch: Path) -> Path:
    """A directory that only its owner can enter."""
    folder = scratch / "host"
    folder.mkdir(mode=0o700)
    os.chown(folder, OWNER, OWNER)
    return folder


def unwrapped(text: str) -> str:
    """A message without its line breaks."""
    return " ".join(text.split())


def contents(folder: Path) -> dict[str, str]:
    """Texts of the files below a folder; a folder's is empty, and a link's is where it leads."""
    return {
        str(path.relative_to(folder)): f"-> {path.readlink()}"
        if path.is_symlink()
        else path.read_text()
        if path.is_file()
        else ""
        for path in folder.rglob("*")
    }


def no_sandbox_is_left(kube: Kube) -> bool:
    """Whether the namespace is gone, or going with nothing in it."""
    found = kube.find("namespace", NAMESPACE)
    if found is None:
        return True
    return "deletionTimestamp" in found["metadata"] and not kube.items(f"{SANDBOXES},pods", "-n", NAMESPACE)


def test_the_demo_completes_and_leaves_nothing(demo: Demo, kube: Kube, scratch: Path) -> None:
    allowlist = kube.allowlist()
    done = demo()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == SUCCESS
    for number in range(1, 6):
        assert f"Scenario {number} completed." in done.stdout
    assert "Write denied (expected)" in done.stdout
    assert no_sandbox_is_left(kube)
    assert kube.allowlist() == allowlist
    assert list(scratch.iterdir()) == []


def test_a_host_directory_keeps_what_it_has_and_keep_ends_with_its_namespace(
    demo: Demo, kube: Kube, host: Path, scratch: Path
) -> None:
    before = {"marker.txt": "mine\n", "sandbox-greeting.txt": "mine, too\n", "leads-out": "and this\n"}
    for name, text in before.items():
        (host / name).write_text(text)
    done = demo(HOST_VOLUME_PATH=str(host), KEEP="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == SUCCESS
    assert "export KUBECONFIG=" in done.stdout
    assert (host / "sandbox-greeting-2.txt").stat().st_uid == OWNER
    assert_operator_works(kube)
    kube.delete("namespace", NAMESPACE)
    wait_until("the temporary files are gone", lambda: list(scratch.iterdir()) == [host], 30)
    assert contents(host) == before | {
        "datasets": "",
        "datasets/train": "",
        "datasets/train/data.csv": "id,value\n1,100\n2,200\n3,300\n",
        "sandbox-greeting-2.txt": "Hello from sandbox!\n",
    }


def assert_operator_works(kube: Kube) -> None:
    """A Pod that is deleted comes back."""
    uid = kube.get("pod", "read-write", NAMESPACE)["metadata"]["uid"]
    kube.delete("pod", "read-write", NAMESPACE)

    def is_back() -> bool:
        found = kube.find("pod", "read-write", NAMESPACE)
        return found is not None and found["metadata"]["uid"] != uid

    wait_until("the Pod is back", is_back, 30)


def test_a_difference_is_told_with_its_step(demo: Demo, kube: Kube, host: Path) -> None:
    (host / "marker.txt").write_text("not for everybody\n")
    (host / "marker.txt").chmod(0)  # of user 0, and unreadable even for that one without capabilities
    done = demo(HOST_VOLUME_PATH=str(host))
    assert done.returncode == 1
    assert "FAILED: Scenario 2, step 3 (Read marker.txt)" in done.stderr
    assert "Permission denied" in unwrapped(done.stderr)
    assert SUCCESS not in done.stdout
    assert no_sandbox_is_left(kube)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/etc", "gives access to /etc"),
        ("/", "is the whole host"),
        ("/var", "gives access to /var/run"),
        ("srv", "is not absolute"),
        ("/srv/../etc", "contains .."),
        ("/proc/self/root/etc", "gives access to /proc"),
    ],
)
def test_a_directory_that_no_allowlist_takes_is_refused(demo: Demo, path: str, says: str) -> None:
    begun = time.monotonic()
    done = demo(HOST_VOLUME_PATH=path)
    assert done.returncode == 1
    assert says in unwrapped(done.stderr)
    assert "Traceback" not in done.stderr
    assert time.monotonic() - begun < 20


def test_a_link_to_such_a_directory_is_refused(demo: Demo, scratch: Path) -> None:
    link = scratch / "link"
    link.symlink_to("/etc")
    done = demo(HOST_VOLUME_PATH=str(link))
    assert done.returncode == 1
    assert 'it means "/etc"' in unwrapped(done.stderr)


def test_a_file_of_the_demo_that_is_a_link_is_not_followed(demo: Demo, host: Path, scratch: Path) -> None:
    elsewhere = scratch / "elsewhere"
    elsewhere.mkdir()
    (host / "datasets").symlink_to(elsewhere)
    done = demo(HOST_VOLUME_PATH=str(host))
    assert done.returncode == 1
    assert "datasets is there and is not a directory" in unwrapped(done.stderr)
    assert list(elsewhere.iterdir()) == []


def test_a_cluster_that_is_not_there_is_told(demo: Demo) -> None:
    done = demo(SANDMOUNT_CLUSTER="given", SANDMOUNT_KUBECONFIG="/there/is/none")
    assert done.returncode == 1
    assert "there is no such file" in unwrapped(done.stderr)
    assert "Traceback" not in done.stderr
