"""Certificates of the admission webhook: what is in its Secret, to what to serve with and what to store there.

Pure but for randomness: ``now`` is an argument, nothing is read or written. What somebody else put into the Secret
(cert-manager, an admin) is used and never replaced; what we made is renewed at two thirds of its life.
"""

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFETIME = timedelta(days=3650)
LIFETIME = timedelta(days=90)
_BACKDATED = timedelta(hours=1)
"""A clock that is a little behind must not make the certificate one of the future."""

CA_CERTIFICATE, CA_KEY, CERTIFICATE, KEY, PATH = "ca.crt", "ca.key", "tls.crt", "tls.key", "path"
"""Keys of the Secret; those for TLS are Kubernetes' own names."""

DEFAULT_PATH = "/validate"
"""Where the webhook answers when the Secret does not say."""

_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm)


@dataclass(frozen=True, slots=True)
class Serving:
    """A certificate with its key, both PEM, and the path at which requests are answered.

    The path of a Secret that we made is a secret too: whoever reaches the port from a Pod could otherwise ask what is
    allowed in namespaces that are not his.
    """

    certificate: bytes
    key: bytes = field(repr=False)
    path: str = field(default=DEFAULT_PATH, repr=False)


@dataclass(frozen=True, slots=True)
class Found:
    """What follows from a Secret: what to serve with, what to store in it, and what a person should know."""

    serving: Serving | None = None
    to_store: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    problem: str = ""


def look(secret: Mapping[str, object], host: str, now: datetime) -> Found:
    """What to do with the Secret, as JSON, of a webhook that is called by the DNS name ``host``."""
    data = _decoded(secret.get("data"))
    serving = _serving(data)
    try:
        authority = _Authority.read(data) if CA_KEY in data else None
    except _UNREADABLE as error:
        return Found(serving, problem=f"{CA_KEY} and {CA_CERTIFICATE} cannot be used: {error}")
    if serving is not None and (authority is None or not authority.issued(serving)):
        return Found(serving, problem=_problem(serving, host, now))
    if authority is None and (half := _half(data)):
        return Found(problem=half)
    if authority is None or authority.ends - now < LIFETIME:
        authority = _Authority.make(now)
        return Found(serving, authority.to_store() | authority.issue(host, now) | _path(data))
    if serving is None or _is_due(serving, host, now):
        return Found(serving, authority.issue(host, now) | _path(data))
    return Found(serving)


def _decoded(data: object) -> dict[str, bytes]:
    """The values that are not empty."""
    if not isinstance(data, Mapping):
        return {}
    found = {str(k): base64.b64decode(str(v)) for k, v in data.items()}
    return {k: v for k, v in found.items() if v}


def _serving(data: Mapping[str, bytes]) -> Serving | None:
    if CERTIFICATE not in data or KEY not in data:
        return None
    path = data.get(PATH, b"").decode("ascii", "replace").strip()
    return Serving(data[CERTIFICATE], data[KEY], path if path.startswith("/") else f"/{path}" if path else DEFAULT_PATH)


def _half(data: Mapping[str, bytes]) -> str:
    """What is missing in a Secret that somebody began to fill; it is left for them to end."""
    there = [k for k in (CA_CERTIFICATE, CERTIFICATE, KEY) if k in data]
    if not there:
        return ""
    return f"it has {' and '.join(there)} only; add what is missing, or remove that and the operator makes all of it"


def _problem(serving: Serving, host: str, now: datetime) -> str:
    """Why the API server will not accept a certificate; empty when nothing is wrong. It is served all the same."""
    try:
        certificate = x509.load_pem_x509_certificate(serving.certificate)
        names = _names(certificate)
    except _UNREADABLE as error:
        return f"{CERTIFICATE} cannot be read: {error}"
    if not any(_covers(name, host) for name in names):
        return f'{CERTIFICATE} is not for "{host}" but for {", ".join(names) or "no DNS name"}'
    if certificate.not_valid_after_utc <= now:
        return f"{CERTIFICATE} ended at {certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}; renew it"
    if certificate.not_valid_before_utc > now:
        return f"{CERTIFICATE} begins only at {certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}"
    return ""


def _is_due(serving: Serving, host: str, now: datetime) -> bool:
    """Whether a certificate of ours should be made anew."""
    certificate = x509.load_pem_x509_certificate(serving.certificate)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return host not in _names(certificate) or not begins <= now < begins + (ends - begins) * 2 / 3


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return found.value.get_values_for_type(x509.DNSName)


def _covers(name: str, host: str) -> bool:
    return name == host or (name.startswith("*.") and name[2:] == host.partition(".")[2])


def _path(data: Mapping[str, bytes]) -> dict[str, bytes]:
    """A path that nobody can guess, of letters that the API server takes, unless there is one."""
    return {} if PATH in data else {PATH: b"/" + secrets.token_hex(16).encode()}


@dataclass(frozen=True, slots=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, now: datetime) -> "_Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject("sandmount-webhook-ca")
        unsigned = (
            _builder(subject, subject, key, now, CA_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
        )
        return cls(unsigned.sign(key, hashes.SHA256()), key)

    @classmethod
    def read(cls, data: Mapping[str, bytes]) -> "_Authority":
        """The stored one. Raises one of _UNREADABLE when it is not an authority of the kind that we make."""
        key = serialization.load_pem_private_key(data[CA_KEY], password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("the key is not an elliptic-curve key")
        certificate = x509.load_pem_x509_certificate(data.get(CA_CERTIFICATE, b""))
        if certificate.public_key() != key.public_key():
            raise ValueError("they do not belong together")
        return cls(certificate, key)

    @property
    def ends(self) -> datetime:
        return self.certificate.not_valid_after_utc

    def to_store(self) -> dict[str, bytes]:
        """Its keys of the Secret."""
        return {CA_CERTIFICATE: _pem(self.certificate), CA_KEY: _key_pem(self.key)}

    def issued(self, serving: Serving) -> bool:
        """Whether a certificate is one of ours."""
        try:
            x509.load_pem_x509_certificate(serving.certificate).verify_directly_issued_by(self.certificate)
        except (*_UNREADABLE, InvalidSignature):
            return False
        return True

    def issue(self, host: str, now: datetime) -> dict[str, bytes]:
        """A certificate for that DNS name, and its key, as they are stored."""
        key = ec.generate_private_key(ec.SECP256R1())
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        unsigned = (
            _builder(_subject("sandmount-webhook"), self.certificate.subject, key, now, LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(signer, critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        )
        return {CERTIFICATE: _pem(unsigned.sign(self.key, hashes.SHA256())), KEY: _key_pem(key)}


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    """What all our certificates have in common."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
