"""What the operator counts, for Prometheus. docs/metrics.md lists it for people; a test holds the two equal.

Names follow https://prometheus.io/docs/practices/naming/. What can be counted at the moment of a scrape is counted
then, so that it costs nothing in between.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sandmount import __version__
from sandmount.allowlist import Allowlist, Denial, Grant

READY_BUCKETS = (0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600)
"""Seconds. Creation times have whole seconds, so nothing finer can be told."""

_VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete", "WATCH": "watch"}
_RESOURCES = frozenset({"sandboxes", "sandboxes/status", "pods", "configmaps", "secrets", "nodes", "events"})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What there is at the moment of a scrape."""

    sandboxes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """How many, by namespace and phase."""
    waiting: int = 0
    """Keys in the queue."""
    oldest_seconds: float = 0.0
    """How long the first of them has waited."""
    retries: int = 0
    """Passes that failed and were tried again, since the start."""
    allowlist: Allowlist | None = None
    ready: bool = False
    """Whether everything is known that is decided on, as /readyz says."""


def phases(statuses: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], int]:
    """Counts pairs of namespace and phase; one that has no phase yet is Pending."""
    return Tally((namespace, phase or "Pending") for namespace, phase in statuses)


class Metrics:
    """All that is counted while the operator runs."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._snapshot: Callable[[], Snapshot] = Snapshot
        self._requests = Counter(
            "sandmount_api_requests",
            "Requests to the API server, by verb, resource and HTTP status; 0 when there was no answer.",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self._decisions = Counter(
            "sandmount_volume_decisions",
            "Host volumes that were granted or denied, each once until something changes.",
            ["decision", "reason"],
            registry=self.registry,
        )
        self._ready = Histogram(
            "sandmount_sandbox_ready_seconds",
            "Seconds from the creation of a Sandbox until it was ready for the first time.",
            buckets=READY_BUCKETS,
            registry=self.registry,
        )
        self.registry.register(_AtScrape(self))
        ProcessCollector(registry=self.registry)

    def show(self, snapshot: Callable[[], Snapshot]) -> None:
        """From now on a scrape shows this."""
        self._snapshot = snapshot

    def snapshot(self) -> Snapshot:
        """What there is now."""
        return self._snapshot()

    def asked(self, method: str, path: str, code: int) -> None:
        """The API server was asked; ``method`` is HTTP's, or WATCH."""
        verb, resource = verb_and_resource(method, path)
        self._requests.labels(verb, resource, code).inc()

    def granted(self, grants: Sequence[Grant]) -> None:
        """A Pod with these was created."""
        if grants:
            self._decisions.labels("granted", "Granted").inc(len(grants))

    def denied(self, denials: Sequence[Denial]) -> None:
        """These came into a status."""
        for denial in denials:
            self._decisions.labels("denied", denial.reason).inc()

    def became_ready(self, seconds: float) -> None:
        """A Sandbox was ready for the first time, so many seconds after it was created."""
        self._ready.observe(max(0.0, seconds))


def verb_and_resource(method: str, path: str) -> tuple[str, str]:
    """As RBAC and the audit log name a request: ``("patch", "sandboxes/status")``; what we never ask for is "other"."""
    parts = path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    verb = _VERBS.get(method) or ("get" if len(rest) > 1 else "list")
    resource = "/".join([*rest[:1], *rest[2:3]])
    return verb, resource if resource in _RESOURCES else "other"


class _AtScrape(Collector):
    """What is counted when somebody looks."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        now = self._metrics.snapshot()
        sandboxes = GaugeMetricFamily(
            "sandmount_sandboxes", "Sandboxes, by namespace and phase.", labels=["namespace", "phase"]
        )
        for labels, count in sorted(now.sandboxes.items()):
            sandboxes.add_metric(labels, count)
        yield sandboxes
        yield GaugeMetricFamily("sandmount_queue_depth", "Sandboxes that wait to be looked at.", value=now.waiting)
        yield GaugeMetricFamily(
            "sandmount_queue_oldest_seconds", "Seconds that the first of them has waited.", value=now.oldest_seconds
        )
        yield CounterMetricFamily(
            "sandmount_queue_retries", "Passes over a Sandbox that failed and were tried again.", value=now.retries
        )
        build = GaugeMetricFamily("sandmount_build_info", "1, with the operator's version.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        yield GaugeMetricFamily(
            "sandmount_ready", "1 when all that is decided on is known, as /readyz says.", value=now.ready
        )
        if now.allowlist is not None:
            yield from _of_allowlist(now.allowlist)


def _of_allowlist(allowlist: Allowlist) -> Iterator[Metric]:
    info = GaugeMetricFamily(
        "sandmount_allowlist_info", "1, with the version of the allowlist in force.", labels=["version"]
    )
    info.add_metric([allowlist.version], 1)
    yield info
    yield GaugeMetricFamily(
        "sandmount_allowlist_allows_all", "1 when the allowlist allows every path.", value=allowlist.allows_all
    )
    yield GaugeMetricFamily(
        "sandmount_allowlist_usable",
        "0 when the allowlist as a whole could not be read, and denies everything.",
        value=allowlist.unusable is None,
    )
    yield GaugeMetricFamily(
        "sandmount_allowlist_entries", "Entries of the allowlist that are in force.", value=len(allowlist.entries)
    )
    yield GaugeMetricFamily(
        "sandmount_allowlist_bad_items",
        "Items of the allowlist that are left out, because of a mistake in them.",
        value=len(allowlist.bad_items),
    )
