"""Parts of the benchmark that need no cluster: what is created, what a watch shows, and what /proc says."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandmount.allowlist import Grant
from sandmount.api import SandboxSpec, parse_spec
from sandmount.listfile import parse
from sandmount.pod import build_pod
from sandmount.settings import EmptyAllowlist
from tests.bench import baseline, bodies, usage
from tests.bench.bodies import LABEL, PODS, SANDBOXES
from tests.bench.sightings import Sightings
from tests.cluster import ClusterError
from tests.scale.fleet import FIRST_LIST, sandbox
from tests.scale.process import TICKS


def test_a_bare_pod_has_the_spec_that_the_operator_gives_to_a_sandbox_s() -> None:
    raw = sandbox(7, "common")
    spec = parse_spec(raw["spec"])
    assert isinstance(spec, SandboxSpec)
    allowlist = parse(FIRST_LIST, "1", EmptyAllowlist.DENY)
    decided = [allowlist.decide("scale-7", volume) for volume in spec.volumes]
    grants = [d for d in decided if isinstance(d, Grant)]
    assert bodies.pod(7, "bare")["spec"] == build_pod("scale-7", "bare", "uid", spec, grants)["spec"]


def test_items_know_where_they_are_and_for_whom() -> None:
    (one,) = bodies.sandboxes(1, "sandmount", "tag", first=3)
    assert one.key == "scale-3/tag-00003"
    assert one.collection == SANDBOXES.within("scale-3") == "/apis/sandmount.dev/v1alpha1/namespaces/scale-3/sandboxes"
    assert one.path == f"{one.collection}/tag-00003"
    assert json.loads(one.body)["metadata"]["labels"][LABEL] == "sandmount"
    (pod,) = bodies.pods(1, "floor", "tag")
    assert (pod.path, PODS.everywhere) == ("/api/v1/namespaces/scale-0/pods/tag-00000", "/api/v1/pods")


def test_one_of_a_hundred_is_in_each_small_group() -> None:
    groups = [group for group, _ in bodies.mixed(2000, "sandmount", "tag")]
    assert (groups.count("first"), groups.count("second"), len(groups)) == (20, 20, 2000)


def event(kind: str, name: str, status: str | None = None, version: int = 1) -> bytes:
    """A line of a watch."""
    conditions = [{"type": "Ready", "status": status}] if status else []
    metadata = {"namespace": "ns", "name": name, "resourceVersion": str(version)}
    found: dict[str, Any] = {"type": kind, "object": {"metadata": metadata, "status": {"conditions": conditions}}}
    return json.dumps(found, separators=(",", ":")).encode() + b"\n"


def test_a_watch_shows_when_each_was_ready_first_and_how_it_is_now() -> None:
    seen = Sightings()
    seen.feed(event("ADDED", "a"), 1)
    seen.feed(event("MODIFIED", "a", "False"), 2)
    seen.feed(event("MODIFIED", "a", "True"), 3)
    seen.feed(event("MODIFIED", "a", "True"), 4)
    assert (seen.ready, seen.now) == ({"ns/a": 3}, {"ns/a": (True, 3)})
    seen.feed(event("MODIFIED", "a", "False"), 5)
    assert (seen.ready, seen.now) == ({"ns/a": 3}, {"ns/a": (False, 5)})
    seen.feed(event("DELETED", "a", "False"), 6)
    assert (seen.gone, seen.now) == ({"ns/a": 6}, {})


def test_lines_may_come_in_any_pieces() -> None:
    whole = event("MODIFIED", "a", "True", 7) + event("MODIFIED", "b", "True", 8)
    seen = Sightings("5")
    assert seen.since == "5"
    for at, byte in enumerate(whole):
        seen.feed(bytes([byte]), at)
    assert list(seen.ready) == ["ns/a", "ns/b"]
    assert seen.ready["ns/b"] == len(whole) - 1
    assert seen.bytes == len(whole)


def test_a_watch_that_was_ended_goes_on_after_the_last_whole_line() -> None:
    seen = Sightings("5")
    seen.feed(event("ADDED", "a", version=9) + event("MODIFIED", "a", "True", 10)[:20], 1)
    seen.broke()
    assert (seen.since, seen.broken) == ("9", 1)
    seen.feed(event("MODIFIED", "a", "True", 10), 2)
    assert seen.ready == {"ns/a": 2}


def test_an_error_of_the_api_server_is_raised() -> None:
    line = json.dumps({"type": "ERROR", "object": {"message": "too old"}}, separators=(",", ":")).encode()
    with pytest.raises(ValueError, match="too old"):
        Sightings().feed(line + b"\n", 1)


async def test_whoever_waits_is_told_of_what_comes_and_of_what_will_never_come() -> None:
    seen = Sightings()
    waiting = asyncio.create_task(seen.until_ready(["ns/a", "ns/b"]))
    for name in ("c", "a", "b"):
        await asyncio.sleep(0)
        assert not waiting.done()
        seen.feed(event("MODIFIED", name, "True"), 1)
    await asyncio.wait_for(waiting, 1)
    never = asyncio.create_task(seen.until_gone(["ns/a"]))
    await asyncio.sleep(0)
    seen.fail(ClusterError("away"))
    with pytest.raises(ClusterError, match="away"):
        await asyncio.wait_for(never, 1)


def test_processor_time_counts_children_that_have_ended() -> None:
    fields = ["S", *("0" for _ in range(10)), "5", "6", "7", "8", "0"]
    assert usage.ticks_in(f"1 (a (b) c) {' '.join(fields)}") == 26


def test_memory_and_busy_time_are_read_from_proc() -> None:
    status = "Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n"
    assert (usage.memory_in(status, "VmHWM"), usage.memory_in(status, "VmRSS")) == (2, 1)
    assert usage.memory_in("", "VmRSS") == 0
    assert usage.busy_in("cpu  100 20 30 4000 500 6 7 0 0 0\ncpu0 1\n") * TICKS == pytest.approx(163)


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Path]:
    """A folder with another build of the package."""
    (tmp_path / "operator" / "sandmount").mkdir(parents=True)
    (tmp_path / "operator" / "sandmount" / "__init__.py").touch()
    yield tmp_path


def test_a_baseline_is_a_checkout_a_package_or_an_earlier_run(package: Path) -> None:
    for folder in (package, package / "operator"):
        with baseline.resolved(str(folder)) as found:
            assert found.folder == package / "operator"
    earlier = package / "bench.json"
    earlier.write_text('{"made": "then"}')
    with baseline.resolved(str(earlier)) as found:
        assert (found.folder, found.earlier) == (None, {"made": "then"})
    with baseline.resolved("") as found:
        assert found == baseline.Baseline()


def test_a_baseline_that_is_nothing_of_that_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="no package"), baseline.resolved(str(tmp_path)):
        pass
    with pytest.raises(ClusterError, match="has to be"), baseline.resolved("no-such-revision"):
        pass
