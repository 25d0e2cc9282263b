"""look: what is made, renewed and left alone in the Secret of the admission webhook."""

import base64
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from sandmount.certificates import CA_LIFETIME, DEFAULT_PATH, LIFETIME, Found, Serving, look
from tests.unit.builders import Json

HOST = "sandmount-webhook.sandmount-system.svc"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OURS = {"ca.crt", "ca.key", "tls.crt", "tls.key", "path"}


def secret(data: Mapping[str, bytes | None]) -> Json:
    """A Secret as the API server sends it."""
    return {"data": {k: base64.b64encode(v or b"").decode() for k, v in data.items()}}


def made(now: datetime = NOW, host: str = HOST) -> dict[str, bytes]:
    """What is stored in an empty Secret."""
    return dict(look({}, host, now).to_store)


def at(data: Mapping[str, bytes], after: timedelta = timedelta(0), host: str = HOST) -> Found:
    """What follows from this data so long after NOW."""
    return look(secret(data), host, NOW + after)


def certificate(data: Mapping[str, bytes], key: str = "tls.crt") -> x509.Certificate:
    """A certificate of the data."""
    return x509.load_pem_x509_certificate(data[key])


def serving(data: Mapping[str, bytes]) -> Serving:
    """What is served with it."""
    return Serving(data["tls.crt"], data["tls.key"], data.get("path", b"/validate").decode())


def given(now: datetime = NOW, host: str = HOST) -> dict[str, bytes]:
    """A certificate as somebody else makes it: without the key of its authority."""
    return {k: v for k, v in made(now, host).items() if k in ("tls.crt", "tls.key", "ca.crt")}


@pytest.mark.parametrize("empty", [{}, {"data": None}, {"data": {}}, secret({"tls.crt": b"", "tls.key": None})])
def test_an_empty_secret_is_filled_with_an_authority_a_certificate_and_a_path(empty: Json) -> None:
    found = look(empty, HOST, NOW)
    assert set(found.to_store) == OURS
    assert (found.serving, found.problem) == (None, "")
    ca, own = certificate(found.to_store, "ca.crt"), certificate(found.to_store)
    own.verify_directly_issued_by(ca)
    assert ca.not_valid_after_utc - NOW == CA_LIFETIME
    assert own.not_valid_after_utc - NOW == LIFETIME
    assert own.not_valid_before_utc < NOW
    names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [HOST]


def test_an_authority_signs_certificates_only_and_a_certificate_serves_only() -> None:
    data = made()
    ca, own = certificate(data, "ca.crt"), certificate(data)
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 0)
    assert own.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(False, None)
    assert not own.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    uses = own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]


def test_openssl_takes_what_is_made_and_a_client_with_the_ca_believes_it(tmp_path: Path) -> None:
    data = made(datetime.now(UTC))
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (tmp_path / name).write_bytes(data[name])
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    client = ssl.create_default_context(cafile=tmp_path / "ca.crt")
    shake_hands(client, server, HOST)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(client, server, "other.sandmount-system.svc")


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> None:
    """A TLS handshake in memory. Raises ssl.SSLError when the client does not believe the server."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue


def test_two_paths_are_never_the_same_and_fit_into_a_webhook_configuration() -> None:
    one, other = made()["path"].decode(), made()["path"].decode()
    assert one != other
    assert one.startswith("/") and len(one) == 33 and one[1:].isalnum() and one.islower()


def test_what_was_made_is_served_and_left_alone() -> None:
    data = made()
    assert at(data) == Found(serving(data))


@pytest.mark.parametrize(
    ("days", "renewed"), [(0, False), (59.9, False), (60, True), (89, True), (91, True), (400, True)]
)
def test_a_certificate_is_renewed_at_two_thirds_of_its_life_by_the_same_authority(days: float, renewed: bool) -> None:
    data = made()
    found = at(data, timedelta(days=days))
    assert found.serving == serving(data)  # until the new one is stored
    assert set(found.to_store) == ({"tls.crt", "tls.key"} if renewed else set())
    if renewed:
        new = certificate(found.to_store)
        new.verify_directly_issued_by(certificate(data, "ca.crt"))
        assert new.not_valid_after_utc == NOW + timedelta(days=days) + LIFETIME
        after = {**data, **found.to_store}
        assert at(after, timedelta(days=days)) == Found(serving(after))


def test_a_certificate_for_another_service_is_replaced() -> None:
    data = made()
    found = at(data, host="other.sandmount-system.svc")
    assert set(found.to_store) == {"tls.crt", "tls.key"}


def test_a_certificate_of_the_future_is_replaced() -> None:
    assert set(at(made(), -timedelta(days=1)).to_store) == {"tls.crt", "tls.key"}


@pytest.mark.parametrize("lost", ["tls.crt", "tls.key"])
def test_half_of_a_pair_of_ours_is_replaced_by_the_same_authority(lost: str) -> None:
    data = made()
    found = at({k: v for k, v in data.items() if k != lost})
    assert found.serving is None
    certificate(found.to_store).verify_directly_issued_by(certificate(data, "ca.crt"))


def test_an_authority_that_ends_before_a_certificate_would_is_replaced_with_it() -> None:
    data = made()
    later = CA_LIFETIME - LIFETIME
    assert "ca.crt" not in at(data, later).to_store
    found = at(data, later + timedelta(seconds=1))
    assert set(found.to_store) == OURS - {"path"}
    certificate(found.to_store).verify_directly_issued_by(certificate(found.to_store, "ca.crt"))


def test_an_authority_that_somebody_gave_is_used() -> None:
    data = made()
    found = at({"ca.crt": data["ca.crt"], "ca.key": data["ca.key"]})
    assert set(found.to_store) == {"tls.crt", "tls.key", "path"}
    certificate(found.to_store).verify_directly_issued_by(certificate(data, "ca.crt"))


@pytest.mark.parametrize("days", [0, 60, 89])
def test_a_given_certificate_is_served_at_the_known_path_and_never_replaced(days: int) -> None:
    data = given()
    assert at(data, timedelta(days=days)) == Found(Serving(data["tls.crt"], data["tls.key"], DEFAULT_PATH))


def test_a_given_certificate_stays_although_an_authority_of_ours_was_left_beside_it() -> None:
    ours, theirs = made(), given()
    found = at(ours | {"tls.crt": theirs["tls.crt"], "tls.key": theirs["tls.key"]}, timedelta(days=89))
    assert found.to_store == {}
    assert found.serving is not None and found.serving.certificate == theirs["tls.crt"]
    mixed = at(ours | theirs, timedelta(days=89))
    assert mixed.to_store == {}
    assert "do not belong together" in mixed.problem
    assert mixed.serving is not None


@pytest.mark.parametrize(
    ("data", "after", "words"),
    [
        (given(host="other.svc"), 0, f'tls.crt is not for "{HOST}" but for other.svc'),
        (given(), 91, "tls.crt ended at 2026-04-02T03:04:05Z; renew it"),
        (given(), -1, "tls.crt begins only at 2026-01-02T02:04:05Z"),
        (given() | {"tls.crt": b"no PEM"}, 0, "tls.crt cannot be read"),
    ],
)
def test_a_given_certificate_that_will_not_be_accepted_is_reported_and_served(
    data: dict[str, bytes], after: int, words: str
) -> None:
    found = at(data, timedelta(days=after))
    assert words in found.problem
    assert found.to_store == {}
    assert found.serving is not None


def test_a_wildcard_covers_the_service() -> None:
    assert at(given(host="*.sandmount-system.svc")).problem == ""
    assert at(given(host="*.other.svc")).problem != ""


@pytest.mark.parametrize("name", ["ca.crt", "tls.crt", "tls.key"])
def test_a_secret_that_somebody_began_to_fill_is_left_for_them(name: str) -> None:
    found = at({name: made()[name]})
    assert (found.serving, found.to_store) == (None, {})
    assert f"it has {name} only" in found.problem


@pytest.mark.parametrize("broken", [{"ca.key": b"no PEM"}, {"ca.crt": b"no PEM"}, {"ca.crt": b""}])
def test_an_authority_that_cannot_be_read_is_reported_and_never_replaced(broken: dict[str, bytes]) -> None:
    data = made()
    found = at(data | broken, timedelta(days=89))
    assert found.to_store == {}
    assert found.serving == serving(data)
    assert "ca.key and ca.crt cannot be used" in found.problem


def test_a_path_that_an_admin_chose_is_kept_and_begins_with_a_slash() -> None:
    found = look(secret({"path": b"chosen\n"}), HOST, NOW)
    assert "path" not in found.to_store
    chosen = at({**found.to_store, "path": b"chosen\n"})
    assert chosen.serving is not None and chosen.serving.path == "/chosen"


def test_no_key_is_shown_by_what_may_be_logged() -> None:
    data = made()
    for shown in (repr(at(data)), repr(at(data, timedelta(days=89)))):
        assert "PRIVATE" not in shown
        assert data["path"].decode() not in shown


def test_keys_are_of_a_kind_that_go_reads() -> None:
    for name in ("ca.key", "tls.key"):
        assert made()[name].startswith(b"-----BEGIN PRIVATE KEY-----")
        serialization.load_pem_private_key(made()[name], password=None)
