"""Keys and certificates of the local cluster: one authority, one certificate per identity.

They live in the run folder only and end with it. Nothing here is fit for anything but a test cluster.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.cluster.local.files import write_atomically
from tests.cluster.local.layout import NODE_NAME

ADMINISTRATOR = "sandmount-admin"
"""User of the cluster's kubeconfig, as the audit log names it."""

LIFETIME = datetime.timedelta(days=3650)
# A clock that is a little behind must not make the certificate one of the future.
BACKDATED = datetime.timedelta(hours=1)


@dataclass(frozen=True)
class Identity:
    """Whom a certificate names. `hosts` makes it one for servers too: DNS names or addresses."""

    file: str
    user: str
    group: str = ""
    hosts: tuple[str, ...] = ()


def identities(api_address: str, node_address: str) -> list[Identity]:
    """All certificates that the cluster needs."""
    service = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
    local = ("localhost", "127.0.0.1")
    return [
        Identity("admin", ADMINISTRATOR, "system:masters"),
        Identity("kube-apiserver", "kube-apiserver", hosts=(*service, *local, api_address, node_address)),
        # The API server calls the kubelet with this one for logs and exec.
        Identity("kube-apiserver-kubelet", "kube-apiserver-kubelet", "system:masters"),
        Identity("kube-controller-manager", "system:kube-controller-manager", hosts=local),
        Identity("kube-scheduler", "system:kube-scheduler", hosts=local),
        Identity("kubelet", f"system:node:{NODE_NAME}", "system:nodes", hosts=(NODE_NAME, node_address, *local)),
        Identity("etcd", "etcd", hosts=local),
        Identity("etcd-client", "etcd-client"),
    ]


def ensure(folder: Path, api_address: str, node_address: str) -> None:
    """Make whatever is not there yet. The last file to be written says that all are there."""
    done = folder / "complete"
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = ec.generate_private_key(ec.SECP256R1())
    certificate = make_authority(authority)
    write_pair(folder, "ca", authority, certificate)
    for identity in identities(api_address, node_address):
        key = ec.generate_private_key(ec.SECP256R1())
        write_pair(folder, identity.file, key, make_certificate(identity, key, authority, certificate))
    accounts = ec.generate_private_key(ec.SECP256R1())
    write_atomically(folder / "sa.key", key_bytes(accounts))
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    write_atomically(folder / "sa.pub", accounts.public_key().public_bytes(serialization.Encoding.PEM, public))
    write_atomically(done, "")


def name(user: str, group: str = "") -> x509.Name:
    """A subject as Kubernetes reads it: the common name is the user, the organisation is the group."""
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
    if group:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    return x509.Name(parts)


def builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    """What all our certificates have in common."""
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """What a key may be used for."""
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


def make_authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """A certificate authority that signs itself."""
    subject = name("sandmount-test-ca")
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    unsigned = builder(subject, subject, key).add_extension(constraints, critical=True)
    return unsigned.add_extension(usage(signs_certificates=True), critical=True).sign(key, hashes.SHA256())


def make_certificate(
    identity: Identity,
    key: ec.EllipticCurvePrivateKey,
    authority: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate,
) -> x509.Certificate:
    """A certificate of the authority for one identity."""
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if identity.hosts:
        uses.append(ExtendedKeyUsageOID.SERVER_AUTH)
    unsigned = (
        builder(name(identity.user, identity.group), issuer.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()),
            critical=False,
        )
    )
    if identity.hosts:
        unsigned = unsigned.add_extension(x509.SubjectAlternativeName(alternatives(identity.hosts)), critical=False)
    return unsigned.sign(authority, hashes.SHA256())


def alternatives(hosts: Sequence[str]) -> list[x509.GeneralName]:
    """Addresses as addresses, everything else as DNS names: clients accept no address in a DNS entry."""
    found: list[x509.GeneralName] = []
    for host in dict.fromkeys(hosts):
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            found.append(x509.DNSName(host))
    return found


def key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A key as PEM, in the form that both Go and OpenSSL read."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def write_pair(folder: Path, file: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    """Write FILE.key and FILE.crt."""
    write_atomically(folder / f"{file}.key", key_bytes(key))
    write_atomically(folder / f"{file}.crt", certificate.public_bytes(serialization.Encoding.PEM))


def kubeconfig(folder: Path, file: str, server: str) -> str:
    """A kubeconfig that carries its certificates inside, so that it works wherever it is copied to."""

    def inline(path: str) -> str:
        return base64.b64encode((folder / path).read_bytes()).decode()

    user = {"client-certificate-data": inline(f"{file}.crt"), "client-key-data": inline(f"{file}.key")}
    cluster = {"server": server, "certificate-authority-data": inline("ca.crt")}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "sandmount", "cluster": cluster}],
            "users": [{"name": file, "user": user}],
            "contexts": [{"name": "sandmount", "context": {"cluster": "sandmount", "user": file}}],
            "current-context": "sandmount",
        },
        sort_keys=False,
    )
