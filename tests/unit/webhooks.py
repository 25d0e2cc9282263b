"""What tests of the webhook have in common: a Secret, and what is served with it."""

import base64
import datetime
from collections.abc import Mapping

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sandmount.certificates import Serving, look
from sandmount.settings import Admission, Settings
from tests.unit.builders import Json

HOST = "sandmount-webhook.sandmount-system.svc"


def stored() -> dict[str, bytes]:
    """What the operator would put into an empty Secret now."""
    return dict(look({}, HOST, datetime.datetime.now(datetime.UTC)).to_store)


def secret(data: Mapping[str, bytes], version: str = "1") -> Json:
    """A Secret as the API server sends it."""
    encoded = {k: base64.b64encode(v).decode() for k, v in data.items()}
    return {"metadata": {"name": "sandmount-webhook", "uid": "u", "resourceVersion": version}, "data": encoded}


def serving(data: Mapping[str, bytes]) -> Serving:
    """What is served with it."""
    return Serving(data["tls.crt"], data["tls.key"], data["path"].decode())


def settings(port: int = 1) -> Settings:
    """Settings of a webhook at that port."""
    return Settings(admission=Admission.DENY, admission_address="127.0.0.1", admission_port=port)


def of_rsa(password: bytes = b"") -> dict[str, bytes]:
    """A certificate that signs itself, with an RSA key; encrypted with a password."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "given")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)
    return {"ca.crt": certificate.public_bytes(serialization.Encoding.PEM), "tls.key": private}
