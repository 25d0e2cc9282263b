"""Turns: groups come one after the other, and none holds more than its share."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sandmount.turns import BEGUN_IN_A_ROW, Turns

Key = tuple[str, int]


def turns(at_once: int = 100) -> Turns[Key]:
    return Turns(lambda key: key[0], at_once)


def filled(found: Turns[Key], *groups: tuple[str, int]) -> Turns[Key]:
    for group, count in groups:
        for number in range(count):
            found.put((group, number), begun=True)
    return found


def test_within_a_group_first_come_first_served() -> None:
    found = filled(turns(), ("a", 3))
    assert [found.take() for _ in range(3)] == [("a", 0), ("a", 1), ("a", 2)]
    assert not found


def test_a_key_of_a_quiet_group_is_next_but_one_however_many_wait_in_another() -> None:
    found = filled(turns(), ("crowd", 2000))
    found.take()
    found.put(("quiet", 1), begun=False)
    assert [found.take()[0] for _ in range(3)] == ["crowd", "quiet", "crowd"]


def test_what_was_begun_comes_before_what_is_new() -> None:
    found = turns()
    for number in range(3):
        found.put(("a", number), begun=False)
    found.put(("a", 7), begun=True)
    assert [found.take()[1] for _ in range(4)] == [7, 0, 1, 2]


def test_what_is_new_is_not_kept_waiting_by_whatever_was_begun() -> None:
    found = filled(turns(), ("a", 100))
    found.put(("a", 777), begun=False)
    assert [found.take()[1] for _ in range(BEGUN_IN_A_ROW + 2)] == [0, 1, 2, 777, 3]


def test_one_that_is_new_comes_at_once_after_many_that_were_begun() -> None:
    found = filled(turns(), ("a", 100))
    for _ in range(50):
        found.take()
    found.put(("a", 777), begun=False)
    assert found.take() == ("a", 777)


def test_groups_take_turns() -> None:
    found = filled(turns(), ("a", 3), ("b", 1), ("c", 2))
    assert [found.take()[0] for _ in range(6)] == ["a", "b", "c", "a", "c", "a"]


def test_a_group_at_its_bound_waits_until_one_of_its_keys_is_released() -> None:
    found = filled(turns(at_once=2), ("a", 3), ("b", 1))
    taken = [found.take() for _ in range(3)]
    assert taken == [("a", 0), ("b", 0), ("a", 1)]
    assert not found
    found.release(("b", 0))
    assert not found
    found.release(("a", 1))
    assert found.take() == ("a", 2)


def test_a_key_that_is_put_while_its_group_is_at_its_bound_is_not_lost() -> None:
    found = filled(turns(at_once=1), ("a", 1))
    found.take()
    found.put(("a", 7), begun=True)
    assert not found
    found.release(("a", 0))
    assert found.take() == ("a", 7)


@given(
    st.lists(st.one_of(st.sampled_from("abc"), st.integers(0, 5)), max_size=200),
    st.integers(1, 3),
)
def test_nothing_is_lost_and_no_bound_is_broken(steps: list[str | int], at_once: int) -> None:
    """A letter puts a key of that group; a number takes one, or releases the key that was taken so long ago."""
    found, number = turns(at_once), 0
    put: Counter[str] = Counter()
    taken: list[Key] = []
    seen: Counter[str] = Counter()
    for step in steps:
        if isinstance(step, str):
            number += 1
            put[step] += 1
            found.put((step, number), begun=number % 3 == 0)
        elif step < 3 and found:
            taken.append(found.take())
            seen[taken[-1][0]] += 1
        elif taken:
            found.release(taken.pop(step % len(taken)))
        assert max(Counter(group for group, _ in taken).values(), default=0) <= at_once
        assert bool(found) == any(put[g] > seen[g] and sum(k[0] == g for k in taken) < at_once for g in "abc")
    while found or taken:
        if found:
            taken.append(found.take())
            seen[taken[-1][0]] += 1
        else:
            found.release(taken.pop())
    assert seen == put
