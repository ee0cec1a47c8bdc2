"""A cluster's authority: its certificate, the server's and people's, made when first needed and kept in a directory.

The directory holds private keys: it is the caller's to keep it 0700. ECDSA P-256 throughout, because making an RSA key
takes longer than starting a cluster.
"""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = timedelta(days=3650)
_EARLIER = timedelta(hours=1)  # clocks of hosts differ
_SIGNATURE_BYTES = 32


@dataclass(frozen=True, slots=True)
class Credentials:
    """A certificate and its key, both PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Authority:
    """Who vouches for everybody in a cluster."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def kept_in(cls, directory: Path, now: datetime) -> Authority:
        """The authority of `directory`, made if there is none."""
        certificate_path, key_path = directory / "ca.crt", directory / "ca.key"
        if certificate_path.exists() and key_path.exists():
            key = serialization.load_pem_private_key(key_path.read_bytes(), None)
            assert isinstance(key, ec.EllipticCurvePrivateKey), "the key is ours"
            return cls(x509.load_pem_x509_certificate(certificate_path.read_bytes()), key)
        made = cls.made(now)
        write_private(key_path, _key_pem(made.key))
        write_private(certificate_path, made.pem)
        return made

    @classmethod
    def made(cls, now: datetime) -> Authority:
        """A new authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            _builder(name, name, key.public_key(), now)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @property
    def pem(self) -> bytes:
        """The certificate that everybody trusts."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def server(self, addresses: Sequence[str], now: datetime) -> Credentials:
        """Credentials of a server that is reached at these names and addresses."""
        names = x509.SubjectAlternativeName([_general_name(one) for one in dict.fromkeys(addresses)])
        return self._issued("kube-apiserver", (), ExtendedKeyUsageOID.SERVER_AUTH, now, names)

    def client(self, user: str, groups: Sequence[str], now: datetime) -> Credentials:
        """Credentials of somebody."""
        return self._issued(user, groups, ExtendedKeyUsageOID.CLIENT_AUTH, now, None)

    def node(self, name: str, addresses: Sequence[str], now: datetime) -> Credentials:
        """Credentials of a node's agent: a client of the server, and a server of logs and streams."""
        names = x509.SubjectAlternativeName([_general_name(one) for one in dict.fromkeys((name, *addresses))])
        return self._issued(f"system:node:{name}", ("system:nodes",), None, now, names)

    def _issued(
        self,
        user: str,
        groups: Sequence[str],
        usage: x509.ObjectIdentifier | None,
        now: datetime,
        names: x509.SubjectAlternativeName | None,
    ) -> Credentials:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups),
                x509.NameAttribute(NameOID.COMMON_NAME, user),
            ]
        )
        usages = [usage] if usage is not None else [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = (
            _builder(subject, self.certificate.subject, key.public_key(), now)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        return Credentials(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))

    def signature(self, message: bytes) -> bytes:
        """The signature of a token as ES256 writes it: two numbers of 32 bytes."""
        first, second = decode_dss_signature(self.key.sign(message, ec.ECDSA(hashes.SHA256())))
        return first.to_bytes(_SIGNATURE_BYTES) + second.to_bytes(_SIGNATURE_BYTES)

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Whether it is a signature of ours."""
        if len(signature) != 2 * _SIGNATURE_BYTES:
            return False
        first, second = signature[:_SIGNATURE_BYTES], signature[_SIGNATURE_BYTES:]
        try:
            self.key.public_key().verify(
                encode_dss_signature(int.from_bytes(first), int.from_bytes(second)), message, ec.ECDSA(hashes.SHA256())
            )
        except InvalidSignature:
            return False
        return True


def server_context(credentials: tuple[Path, Path], authority: Path) -> ssl.SSLContext:
    """TLS of the server: clients may show a certificate of the authority. `credentials`: certificate and key files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(*credentials)
    context.load_verify_locations(authority)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def kubeconfig(cluster: str, url: str, authority: bytes, *, user: str, credentials: Credentials) -> str:
    """A kubeconfig file, whole: one cluster, one user, one context, with the certificates in it."""
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": cluster, "cluster": {"server": url, "certificate-authority-data": _base64(authority)}}
            ],
            "users": [{"name": user, "user": _embedded(credentials)}],
            "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
            "current-context": cluster,
        },
        sort_keys=False,
        width=1 << 20,
    )


def write_private(path: Path, content: bytes) -> None:
    """A file that only its owner reads, whole or not there."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _embedded(credentials: Credentials) -> dict[str, str]:
    return {
        "client-certificate-data": _base64(credentials.certificate),
        "client-key-data": _base64(credentials.key),
    }


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    moment = now.astimezone(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - _EARLIER)
        .not_valid_after(moment + _VALID)
    )


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
