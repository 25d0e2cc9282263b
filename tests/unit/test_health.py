"""health: what hangs, and what is still missing."""

from sandmount.health import SILENT_SECONDS, Health, Pulse


class Clock:
    """Seconds, set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_task_hangs_when_it_has_tried_nothing_for_too_long_and_lives_when_it_tries_again() -> None:
    clock = Clock()
    pulse, other = Pulse("the watch of pods", clock), Pulse("other", clock)
    health = Health(list)
    health.pulses += [pulse, other]
    clock.now += SILENT_SECONDS
    assert health.hanging() == []
    clock.now += 1
    other.beat()
    assert health.hanging() == [f"the watch of pods: nothing for {SILENT_SECONDS + 1:.0f} s"]
    pulse.beat()
    assert health.hanging() == []


def test_what_is_missing_is_asked_each_time() -> None:
    waiting = ["the allowlist"]
    health = Health(lambda: waiting)
    assert list(health.missing()) == ["the allowlist"]
    waiting.clear()
    assert list(health.missing()) == []
