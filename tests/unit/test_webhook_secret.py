"""follow_secret: what the webhook serves with, stores and reports while its Secret goes through its states."""

import datetime
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from sandmount.answers import Conflict, Json, Missing, Refused, Transient, Unanswered
from sandmount.certificates import Serving, look
from sandmount.webhook import Webhook, follow_secret
from tests.unit.webhooks import HOST, of_rsa, secret, serving, settings, stored


class Api:
    """An API server in which the Secret takes these states, one after another."""

    def __init__(self, *states: Json | None, answers: tuple[Json | Unanswered | Exception, ...] = ()) -> None:
        self.states = list(states)
        self.answers = list(answers)
        self.written: list[tuple[str, str, dict[str, bytes]]] = []

    async def watch_named(self, kind: Any, namespace: str, name: str) -> AsyncIterator[Json | None]:
        """Each state once, and then what was written, once."""
        assert (kind.plural, namespace, name) == ("secrets", "sandmount-system", "sandmount-webhook")
        for state in self.states:
            yield state

    async def write_secret(
        self, namespace: str, name: str, uid: str, version: str, data: Mapping[str, bytes]
    ) -> Json | Unanswered:
        """Notes it, and gives the next answer."""
        assert (namespace, name) == ("sandmount-system", "sandmount-webhook")
        self.written.append((uid, version, dict(data)))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Spy:
    """A webhook that only notes what it is to serve with."""

    def __init__(self) -> None:
        self.used: list[Serving] = []

    def use(self, found: Serving) -> None:
        self.used.append(found)


async def follow(api: Api) -> list[Serving]:
    """What is served while the Secret goes through its states."""
    spy = Spy()
    await follow_secret(api, settings(), spy)  # type: ignore[arg-type]
    return spy.used


async def test_an_empty_secret_is_filled_with_its_uid_and_version() -> None:
    api = Api(secret({}, version="7"), answers=({},))
    assert await follow(api) == []
    [(uid, version, data)] = api.written
    assert (uid, version) == ("u", "7")
    assert set(data) == {"ca.crt", "ca.key", "tls.crt", "tls.key", "path"}


async def test_a_secret_that_another_operator_filled_first_is_used_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    theirs = stored()
    api = Api(secret({}), secret(theirs, "2"), answers=(Conflict(),))
    assert await follow(api) == [serving(theirs)]
    assert len(api.written) == 1
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Refused("secrets is forbidden", final=False), "a certificate cannot be stored: secrets is forbidden"),
        (Missing(), "a certificate cannot be stored: missing"),
        (Transient("away"), "a certificate cannot be stored now: away"),
        (KeyError("x"), "unexpected error about the certificate"),
    ],
)
async def test_a_certificate_that_cannot_be_stored_is_reported_and_tried_again(
    answer: Any, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    api = Api(secret({}), secret({}), answers=(answer, {}))
    assert await follow(api) == []
    assert len(api.written) == 2
    assert words in caplog.text


async def test_while_a_certificate_is_renewed_the_old_one_is_served() -> None:
    old = look({}, HOST, datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=61)).to_store
    api = Api(secret(old), answers=(Transient("away"),))
    assert await follow(api) == [serving(old)]
    assert set(api.written[0][2]) == {"tls.crt", "tls.key"}


async def test_the_same_problem_is_said_once_and_another_one_anew(caplog: pytest.LogCaptureFixture) -> None:
    half = secret({"tls.crt": b"x"})
    await follow(Api(None, None, half, half, None))
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert [("is not there" in s, "tls.crt only" in s) for s in said] == [(True, False), (False, True), (True, False)]
    assert all(s.startswith("Secret sandmount-system/sandmount-webhook: it ") for s in said)


async def test_a_pair_that_does_not_fit_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    pair = {"tls.crt": of_rsa()["ca.crt"], "tls.key": stored()["tls.key"]}
    await follow_secret(Api(secret(pair)), settings(), Webhook(settings()))  # type: ignore[arg-type]
    assert "tls.crt and tls.key cannot be used: " in caplog.text
