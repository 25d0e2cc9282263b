"""Pace: some looks in a row are free, then they come at a rate, and nothing is remembered for long."""

import pytest

from sandmount.pace import SLACK, Pace


def test_so_many_looks_in_a_row_are_free_and_the_next_one_waits() -> None:
    pace: Pace[str] = Pace(in_a_row=3, per_second=2.0)
    for _ in range(3):
        assert pace.not_before("a") <= 100.0
        pace.pay("a", 100.0)
    assert pace.not_before("a") == 100.0
    pace.pay("a", 100.0)
    assert pace.not_before("a") == 100.5


def test_another_key_is_not_held_back() -> None:
    pace: Pace[str] = Pace(in_a_row=1, per_second=1.0)
    for _ in range(10):
        pace.pay("a", 100.0)
    assert pace.not_before("b") <= 100.0


def test_who_comes_all_the_time_gets_the_rate() -> None:
    pace: Pace[str] = Pace(in_a_row=20, per_second=5.0)
    now, looks = 100.0, 0
    while now < 160.0:
        if pace.not_before("a") <= now:
            pace.pay("a", now)
            looks += 1
        now += 0.01
    assert looks == pytest.approx(20 + 60 * 5, abs=3)


def test_after_a_rest_looks_in_a_row_are_free_again() -> None:
    pace: Pace[str] = Pace(in_a_row=3, per_second=2.0)
    for _ in range(4):
        pace.pay("a", 100.0)
    pace.pay("a", 110.0)
    assert pace.not_before("a") < 110.0


def test_it_remembers_no_more_than_those_that_came_lately() -> None:
    pace: Pace[int] = Pace(in_a_row=3, per_second=2.0)
    for key in range(10_000):
        pace.pay(key, float(key))
    assert len(pace) <= 2 * SLACK
