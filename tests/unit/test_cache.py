"""Cache: the newest that was seen of each object, in whatever order it came."""

from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from sandmount.cache import ENDED, Cache
from sandmount.observe import Key

KEY = ("ns", "name")


@dataclass(frozen=True)
class Seen:
    """An object of which only the version matters."""

    uid: str
    resource_version: str
    key: Key = KEY


def cache(*seen: Seen) -> Cache[Seen]:
    found: Cache[Seen] = Cache()
    for one in seen:
        found.put(one)
    return found


def keys(seen: Iterable[Seen]) -> list[Key]:
    return [one.key for one in seen]


OLD, NEW = Seen("a", "9"), Seen("a", "10")
LATER = Seen("b", "20")
"""Made under the same name after the first one was deleted."""


def test_what_was_put_is_found_by_its_key() -> None:
    other = Seen("c", "5", ("ns", "other"))
    found = cache(NEW, other)
    assert found.get(KEY) is NEW
    assert found.get(("ns", "none")) is None
    assert sorted(found) == [KEY, ("ns", "other")]
    assert len(found) == 2


@pytest.mark.parametrize("order", [(OLD, NEW), (NEW, OLD), (NEW, OLD, NEW)])
def test_the_newer_version_wins_and_versions_are_numbers(order: tuple[Seen, ...]) -> None:
    assert cache(*order).get(KEY) == NEW


@pytest.mark.parametrize("order", [(NEW, LATER), (LATER, NEW)])
def test_a_newer_object_of_the_same_name_wins(order: tuple[Seen, ...]) -> None:
    assert cache(*order).get(KEY) == LATER


def test_the_same_version_again_is_taken() -> None:
    again = Seen("a", "10")
    assert cache(NEW, again).get(KEY) is again


def test_a_deleted_object_is_forgotten() -> None:
    found = cache(NEW)
    found.drop(Seen("a", "11"))
    assert found.get(KEY) is None
    assert len(found) == 0
    found.drop(NEW)


def test_a_late_deletion_of_an_older_object_does_not_drop_a_newer_one() -> None:
    found = cache(LATER)
    found.drop(Seen("a", "15"))
    assert found.get(KEY) == LATER


def test_a_deletion_of_a_newer_object_drops_the_older_one_that_was_known() -> None:
    found = cache(NEW)
    found.drop(Seen("b", "25"))
    assert found.get(KEY) is None


def test_the_answer_to_a_write_is_kept() -> None:
    found = cache(NEW)
    found.update(Seen("a", "12"))
    assert found.get(KEY) == Seen("a", "12")


def test_an_old_answer_to_a_write_does_not_replace_what_a_watch_brought_since() -> None:
    found = cache(NEW)
    found.update(OLD)
    assert found.get(KEY) == NEW


def test_the_answer_to_a_write_is_ignored_after_the_object_was_deleted() -> None:
    found = cache(NEW)
    found.drop(Seen("a", "11"))
    found.update(Seen("a", "12"))
    assert found.get(KEY) is None
    found.put(LATER)
    found.update(Seen("a", "30"))
    assert found.get(KEY) == LATER


def test_a_sweep_drops_what_a_complete_list_did_not_bring_and_says_what() -> None:
    ghost, kept = Seen("c", "5", ("ns", "ghost")), Seen("d", "6", ("ns", "kept"))
    found = cache(NEW, ghost, kept)
    assert keys(found.sweep({KEY: "a", ("ns", "kept"): "d"}, as_of="100")) == [("ns", "ghost")]
    assert sorted(found) == [("ns", "kept"), KEY]
    assert found.sweep({KEY: "a", ("ns", "kept"): "d"}, as_of="100") == []


def test_a_sweep_drops_what_now_has_another_uid() -> None:
    found = cache(NEW)
    assert keys(found.sweep({KEY: "b"}, as_of="20")) == [KEY]


def test_a_sweep_keeps_what_is_newer_than_the_list() -> None:
    found = cache(LATER, Seen("c", "101", ("ns", "new")))
    assert found.sweep({KEY: "a"}, as_of="19") == []
    assert keys(found.sweep({KEY: "a"}, as_of="20")) == [KEY]
    assert list(found) == [("ns", "new")]


def test_an_answer_that_comes_after_the_end_brings_no_ghost() -> None:
    found = cache(OLD)
    found.drop(Seen("a", "11"))
    found.put(NEW)
    assert found.get(KEY) is None


def test_an_answer_that_comes_after_a_sweep_brings_no_ghost() -> None:
    found = cache(NEW)
    found.sweep({}, as_of="50")
    found.put(NEW)
    assert found.get(KEY) is None


def test_what_is_only_watched_no_more_is_kept_when_it_is_read() -> None:
    """A Pod that lost its label: the watch tells its end, with the version of that change."""
    found = cache(OLD)
    found.drop(NEW)
    found.put(NEW)
    assert found.get(KEY) is NEW
    found.sweep({}, as_of="50")
    unlabelled = Seen("a", "11")
    found.put(unlabelled)
    assert found.get(KEY) is unlabelled


def test_ends_are_not_remembered_for_ever() -> None:
    found = cache()
    for number in range(2 * ENDED):
        found.drop(Seen(f"uid-{number}", "5"))
    assert len(found._ended) == ENDED  # noqa: SLF001


def test_the_keys_can_be_walked_while_the_cache_changes() -> None:
    found = cache(NEW, Seen("c", "5", ("ns", "other")))
    for _ in found:
        found.drop(NEW)
    assert list(found) == [("ns", "other")]
