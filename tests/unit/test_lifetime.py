"""lifetime and times: when a Sandbox ends, what becomes of it then, and in which words."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandmount import times
from sandmount.lifetime import deadline, is_deleted_at_its_end, was_created_late, why_expired
from sandmount.observe import Sandbox
from tests.unit.builders import NOW, STAMP, Json, sandbox, spec
from tests.unit.lives import at, stamp

INVALID: Json = {"image": ""}
END_OF_TIME = datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "started", "end"),
    [
        ({}, None, None),
        ({}, 0, None),
        ({"timeoutSeconds": 60}, None, None),
        ({"timeoutSeconds": 60}, 0, 60),
        ({"timeoutSeconds": 315_360_000}, 5, 315_360_005),
        ({"expiresAt": stamp(100)}, None, 100),
        ({"expiresAt": stamp(100)}, 0, 100),
        ({"expiresAt": stamp(100), "timeoutSeconds": 60}, None, 100),
        ({"expiresAt": stamp(100), "timeoutSeconds": 60}, 0, 60),
        ({"expiresAt": stamp(100), "timeoutSeconds": 60}, 39, 99),
        ({"expiresAt": stamp(100), "timeoutSeconds": 60}, 40, 100),
        ({"expiresAt": stamp(100), "timeoutSeconds": 60}, 41, 100),
        ({"expiresAt": stamp(-100), "timeoutSeconds": 60}, 0, -100),
        ({"expiresAt": "2026-01-02T05:04:05+02:00"}, None, 0),
        ({"expiresAt": "2026-01-02T03:04:05.5Z"}, None, 0.5),
    ],
)
def test_a_sandbox_ends_at_the_earlier_of_its_two_deadlines(
    fields: Json, started: float | None, end: float | None
) -> None:
    started_at = None if started is None else at(started)
    assert deadline(sandbox(**fields), started_at) == (None if end is None else at(end))


def test_a_start_at_the_end_of_all_times_ends_there() -> None:
    forged = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert deadline(sandbox(timeoutSeconds=60), forged) == END_OF_TIME
    assert deadline(sandbox(timeoutSeconds=60, expiresAt=stamp(9)), forged) == at(9)


def test_a_spec_that_cannot_be_read_ends_when_it_was_last_told_to() -> None:
    assert deadline(sandbox({"expiresAt": stamp(7)}, timeoutSeconds=60, **INVALID), at(0)) == at(7)
    assert deadline(sandbox(timeoutSeconds=60, **INVALID), at(0)) is None


def test_what_was_told_does_not_count_for_a_spec_that_can_be_read() -> None:
    assert deadline(sandbox({"expiresAt": stamp(7)}), at(0)) is None
    assert deadline(sandbox({"expiresAt": stamp(7)}, timeoutSeconds=60), at(0)) == at(60)


CREATED = {"creationTimestamp": STAMP}


@pytest.mark.parametrize(
    ("fields", "metadata", "deleted"),
    [
        ({}, CREATED, False),
        ({"expiresAt": stamp(1)}, CREATED, False),
        ({"expiresAt": stamp(1), "expiryPolicy": "Retain"}, CREATED, False),
        ({"expiresAt": stamp(1), "expiryPolicy": "Delete"}, CREATED, True),
        ({"expiresAt": stamp(0), "expiryPolicy": "Delete"}, CREATED, False),
        ({"expiresAt": stamp(-1), "expiryPolicy": "Delete"}, CREATED, False),
        ({"expiresAt": stamp(-1), "expiryPolicy": "Delete"}, {}, True),
        ({"timeoutSeconds": 60, "expiryPolicy": "Delete"}, CREATED, True),
        ({"timeoutSeconds": 60, "expiryPolicy": "Delete", **INVALID}, CREATED, False),
    ],
)
def test_only_a_sandbox_that_says_so_is_deleted_and_none_that_was_created_late(
    fields: Json, metadata: Json, deleted: bool
) -> None:
    assert is_deleted_at_its_end(sandbox(metadata=metadata, **fields)) is deleted


@pytest.mark.parametrize(("created", "late"), [(None, False), (-1, False), (0, True), (1, True)])
def test_created_late_means_not_before_its_own_expires_at(created: float | None, late: bool) -> None:
    metadata = {} if created is None else {"creationTimestamp": stamp(created)}
    assert was_created_late(sandbox(metadata=metadata), spec(expiresAt=STAMP)) is late
    assert not was_created_late(sandbox(metadata=metadata), spec(timeoutSeconds=60))


def words(of: Sandbox) -> str:
    return why_expired(of, NOW)


def test_the_words_say_which_deadline_it_was() -> None:
    assert words(sandbox(expiresAt=STAMP)) == "expiresAt, 2026-01-02T03:04:05Z, has passed"
    assert words(sandbox(timeoutSeconds=60)) == "timeoutSeconds is 60, and ended at 2026-01-02T03:04:05Z"
    both = sandbox(timeoutSeconds=60, expiresAt=stamp(1))
    assert words(both) == "timeoutSeconds is 60, and ended at 2026-01-02T03:04:05Z"
    assert words(sandbox(timeoutSeconds=60, **INVALID)) == "its deadline, 2026-01-02T03:04:05Z, has passed"
    late = sandbox(metadata={"creationTimestamp": stamp(5)}, expiresAt=STAMP)
    assert words(late) == (
        "expiresAt, 2026-01-02T03:04:05Z, has passed before it was created; move expiresAt and create it again"
    )


# ---- times

offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1970, 1, 2), datetime(9998, 1, 1), timezones=offsets)  # noqa: DTZ001


@given(moments)
def test_a_time_that_is_written_reads_as_the_same_second(moment: datetime) -> None:
    assert times.parse(times.stamp(moment)) == moment.replace(microsecond=0)
    assert times.parse(moment.isoformat()) == moment


@given(moments)
def test_a_stamp_is_to_the_second_and_in_utc(moment: datetime) -> None:
    text = times.stamp(moment)
    assert (len(text), text[-1]) == (20, "Z")
    assert times.stamp(moment.replace(microsecond=999_999)) == text


@pytest.mark.parametrize("odd", [None, 5, 5.0, True, [], {}, b"2026-01-02T03:04:05Z", "", "now", "2026-01-02T03:04:05"])
def test_what_is_no_time_with_an_offset_is_none(odd: object) -> None:
    assert times.parse(odd) is None


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    found = times.parse(text)
    assert found is None or found.tzinfo is UTC


@pytest.mark.parametrize(
    ("time", "seconds", "expected"),
    [(NOW, 60, at(60)), (NOW, 0, NOW), (END_OF_TIME, 1, END_OF_TIME), (NOW, 2**62, END_OF_TIME)],
)
def test_later_never_ends_in_an_error(time: datetime, seconds: int, expected: datetime) -> None:
    assert times.later(time, seconds) == expected
