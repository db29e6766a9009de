# SPDX-License-Identifier: Apache-2.0
"""Key services of clouds for tests: programs of ours on loopback that say what the services say; no cloud is asked.

The clients are the real ones and ask for the real names. What they send goes through a proxy (`Tunnel`) that leads each
name to loopback and refuses every other one; certificates are by an authority that the test's environment names.
Behind each service lies a real private key, and each wants to know who asks, as the real one does.
"""

from __future__ import annotations

import base64
import json
import select
import socket
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

GOOGLE, VAULT, LOGIN = "cloudkms.googleapis.com", "assay.vault.azure.net", "login.microsoftonline.com"
COORDINATE_BYTES = 32


def pem_of(key: Any) -> str:
    """The public part of `key`."""
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def private_pem(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


class Authority:
    """Certificates for the names above, by a root that only this test's environment trusts."""

    def __init__(self, folder: Path) -> None:
        key, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's own authority")])
        root = _certificate(name, name, key, key).add_extension(x509.BasicConstraints(True, None), critical=True)
        names = x509.SubjectAlternativeName([x509.DNSName(each) for each in (GOOGLE, VAULT, LOGIN)])
        mine = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
        certificate = _certificate(mine, name, leaf, key).add_extension(names, critical=False)
        self.root, self.key, self.leaf = folder / "root.pem", folder / "tls.key", folder / "tls.pem"
        self.root.write_bytes(root.sign(key, SHA256()).public_bytes(Encoding.PEM))
        self.leaf.write_bytes(certificate.sign(key, SHA256()).public_bytes(Encoding.PEM))
        self.key.write_bytes(private_pem(leaf))


def _certificate(subject: x509.Name, issuer: x509.Name, key: Any, by: Any) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
    known = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key())
    return made.not_valid_after(now + timedelta(days=1)).add_extension(known, critical=False)


class Tunnel(ThreadingHTTPServer):
    """A proxy (CONNECT) to `places`, and to nowhere else. `asked`: the names that were asked for."""

    daemon_threads = True

    def __init__(self, places: dict[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Connect)
        self.places, self.asked = places, list[str]()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Connect(BaseHTTPRequestHandler):
    server: Tunnel

    def do_CONNECT(self) -> None:
        self.server.asked.append(self.path)
        port = self.server.places.get(self.path.removesuffix(":443"))
        if port is None:
            self.send_error(403)
            return
        with socket.create_connection(("127.0.0.1", port)) as far:
            self.send_response(200)
            self.end_headers()
            both = [self.connection, far]
            while True:
                ready, _, _ = select.select(both, [], [], 60)
                for near in ready:
                    data = near.recv(65536)
                    if not data:
                        return
                    both[1 - both.index(near)].sendall(data)
                if not ready:
                    return

    def log_message(self, *_: object) -> None:
        return


class KeyService(ABC):
    """A key in a service. `refuses`: what goes wrong there; `handed`: what it was given to sign."""

    kind: ClassVar[str]
    refusals: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        self.key: Any = ec.generate_private_key(ec.SECP256R1())
        self.refuses: str | None = None
        self.handed: list[bytes] = []

    @property
    @abstractmethod
    def uri(self) -> str:
        """The key, as `assay keys use` takes it."""

    @property
    @abstractmethod
    def other_uri(self) -> str:
        """A key that is not there."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """What the real client needs to come here, as somebody who may."""

    @abstractmethod
    def close(self) -> None:
        """End it."""

    @property
    def pem(self) -> str:
        return pem_of(self.key)

    def sign_digest(self, digest: bytes) -> bytes:
        self.handed.append(digest)
        return bytes(self.key.sign(digest, ec.ECDSA(Prehashed(SHA256()))))


class Google(KeyService):
    """Cloud KMS: gRPC and TLS; who asks shows a token that his service account signed (RFC 7519), for this service."""

    kind = "gcpkms"
    refusals = ("PERMISSION_DENIED", "FAILED_PRECONDITION", "INTERNAL")
    ring = "projects/p/locations/europe-west3/keyRings/r/cryptoKeys/builder/cryptoKeyVersions/"
    uri = f"gcpkms:{ring}1"
    other_uri = f"gcpkms:{ring}7"

    def __init__(self, folder: Path) -> None:
        import grpc

        super().__init__()
        authority, self.account = Authority(folder), rsa.generate_private_key(65537, 2048)
        self.server = grpc.server(ThreadPoolExecutor(4))
        self.server.add_generic_rpc_handlers((_google_methods(self),))
        pair = (authority.key.read_bytes(), authority.leaf.read_bytes())
        port = self.server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
        self.server.start()
        self.tunnel, self.root = Tunnel({GOOGLE: port}), authority.root
        self.account_file = folder / "account.json"
        self.account_file.write_text(json.dumps(self._account()))

    def _account(self) -> dict[str, str]:
        private = private_pem(self.account).decode()
        who = {"client_email": "builder@p.iam.gserviceaccount.com", "private_key_id": "1", "private_key": private}
        return {"type": "service_account", "project_id": "p", "token_uri": "https://oauth2.googleapis.com/token", **who}

    def environment(self) -> dict[str, str]:
        found = {"GOOGLE_APPLICATION_CREDENTIALS": str(self.account_file), "NO_GCE_CHECK": "true"}
        return {**found, "grpc_proxy": self.tunnel.url, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(self.root)}

    def answer(self, request: Any, context: Any) -> Any:
        import grpc
        from google.cloud.kms_v1.types import AsymmetricSignResponse

        said = dict(context.invocation_metadata())
        token = str(said["authorization"]).removeprefix("Bearer ")
        service = f"https://{GOOGLE}/"
        told = jwt.decode(token, self.account.public_key(), algorithms=["RS256"], audience=service)
        assert told["sub"] == self._account()["client_email"]
        if self.refuses is not None:
            context.abort(grpc.StatusCode[self.refuses], "no")
        if f"gcpkms:{request.name}" != self.uri:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such key")
        return AsymmetricSignResponse(name=request.name, signature=self.sign_digest(request.digest.sha256))

    def close(self) -> None:
        self.server.stop(None)
        self.tunnel.shutdown()


def _google_methods(service: Google) -> Any:
    import grpc
    from google.cloud.kms_v1.types import AsymmetricSignRequest, AsymmetricSignResponse

    class Methods(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            if details.method != "/google.cloud.kms.v1.KeyManagementService/AsymmetricSign":
                return None
            read, write = AsymmetricSignRequest.deserialize, AsymmetricSignResponse.serialize
            return grpc.unary_unary_rpc_method_handler(service.answer, read, write)

    return Methods()


Answer = tuple[int, dict[str, Any], dict[str, str]]


class _Web(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler, bytes], Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.answer = answer
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Answering(BaseHTTPRequestHandler):
    server: _Web
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        said = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, told, headers = self.server.answer(self, said)
        body = json.dumps(told).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None:
        return


class Azure(KeyService):
    """Key Vault (REST, TLS) and the login service that gives tokens for it; without one it says where to get one."""

    kind = "azurekms"
    refusals = ("Forbidden", "KeyDisabled", "ServiceUnavailable")
    uri = f"azurekms://{VAULT}/keys/builder/0123456789abcdef0123456789abcdef"
    other_uri = f"azurekms://{VAULT}/keys/another/0123456789abcdef0123456789abcdef"
    tenant = "11111111-2222-3333-4444-555555555555"
    statuses: ClassVar[dict[str, int]] = {"Forbidden": 403, "KeyDisabled": 403, "ServiceUnavailable": 503}

    def __init__(self, folder: Path) -> None:
        super().__init__()
        authority = Authority(folder)
        self.web, context = _Web(self.answer), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.leaf, authority.key)
        self.web.socket = context.wrap_socket(self.web.socket, server_side=True)
        port = self.web.server_port
        self.tunnel, self.root = Tunnel({VAULT: port, LOGIN: port}), authority.root

    def environment(self) -> dict[str, str]:
        who = {"AZURE_TENANT_ID": self.tenant, "AZURE_CLIENT_ID": "builder", "AZURE_CLIENT_SECRET": "open sesame"}
        found = {"AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential", **who}
        return {**found, "HTTPS_PROXY": self.tunnel.url, "REQUESTS_CA_BUNDLE": str(self.root)}

    def answer(self, asked: BaseHTTPRequestHandler, said: bytes) -> Answer:
        path = asked.path.partition("?")[0]
        if asked.headers["Host"].partition(":")[0] == LOGIN:
            return self._login(path, said)
        if asked.headers.get("Authorization") != "Bearer a-token":
            where = f'Bearer authorization="https://{LOGIN}/{self.tenant}", resource="https://vault.azure.net"'
            return 401, {}, {"WWW-Authenticate": where}
        if self.refuses is not None:
            told = {"error": {"code": self.refuses, "message": "no"}}
            return self.statuses[self.refuses], told, {}
        name = self.uri.removeprefix(f"azurekms://{VAULT}")
        if path == name:
            return 200, {"key": self._jwk(), "attributes": {"enabled": True}}, {}
        if path != f"{name}/sign":
            return 404, {"error": {"code": "KeyNotFound", "message": "no such key"}}, {}
        request = json.loads(said)
        assert request["alg"] == "ES256"
        r, s = decode_dss_signature(self.sign_digest(_unpadded(request["value"])))
        signature = r.to_bytes(COORDINATE_BYTES, "big") + s.to_bytes(COORDINATE_BYTES, "big")
        return 200, {"kid": f"https://{VAULT}{name}", "value": _url_text(signature)}, {}

    def _login(self, path: str, said: bytes) -> Answer:
        base = f"https://{LOGIN}/{self.tenant}"
        if path.endswith("/openid-configuration"):
            places = {"issuer": f"{base}/v2.0", "authorization_endpoint": f"{base}/oauth2/v2.0/authorize"}
            return 200, {**places, "token_endpoint": f"{base}/oauth2/v2.0/token"}, {}
        if path.endswith("/discovery/instance"):
            hosts = {"preferred_network": LOGIN, "preferred_cache": LOGIN, "aliases": [LOGIN]}
            where = f"{base}/v2.0/.well-known/openid-configuration"
            return 200, {"tenant_discovery_endpoint": where, "metadata": [hosts]}, {}
        asked = {name: values[0] for name, values in parse_qs(said.decode()).items()}
        if asked.get("client_secret") != "open sesame":
            return 401, {"error": "invalid_client", "error_description": "AADSTS7000215: no such secret"}, {}
        assert asked["scope"].split()[0] == "https://vault.azure.net/.default"
        return 200, {"token_type": "Bearer", "expires_in": 3600, "access_token": "a-token"}, {}

    def _jwk(self) -> dict[str, Any]:
        numbers = self.key.public_key().public_numbers()
        both = {name: getattr(numbers, name).to_bytes(COORDINATE_BYTES, "big") for name in ("x", "y")}
        said = {"kid": self.uri.replace("azurekms:", "https:"), "kty": "EC", "crv": "P-256", "key_ops": ["sign"]}
        return {**said, **{name: _url_text(value) for name, value in both.items()}}

    def close(self) -> None:
        self.web.shutdown()
        self.tunnel.shutdown()


class Transit(KeyService):
    """Vault's transit engine (HTTP): an Ed25519 key, which is handed what is signed, not its digest."""

    kind = "hv"
    refusals = ("permission denied", "Vault is sealed", "internal error")
    uri, other_uri = "hv:image/3", "hv:another/3"
    statuses: ClassVar[dict[str, int]] = {"permission denied": 403, "Vault is sealed": 503, "internal error": 500}

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.web, self.key = folder, _Web(self.answer), Ed25519PrivateKey.generate()

    def environment(self) -> dict[str, str]:
        found = {"VAULT_ADDR": f"http://127.0.0.1:{self.web.server_port}", "VAULT_TOKEN": "hvs.test"}
        return {**found, "HOME": str(self.folder)}

    def answer(self, asked: BaseHTTPRequestHandler, said: bytes) -> Answer:
        if asked.headers.get("X-Vault-Token") != "hvs.test":
            return 403, {"errors": ["permission denied"]}, {}
        if self.refuses is not None:
            return self.statuses[self.refuses], {"errors": [self.refuses]}, {}
        request = json.loads(said)
        if (asked.path, request["key_version"]) != ("/v1/transit/sign/image", 3):
            return 400, {"errors": ["signing key not found"]}, {}
        data = base64.b64decode(request["input"])
        self.handed.append(data)
        return 200, {"data": {"signature": f"vault:v3:{base64.b64encode(self.key.sign(data)).decode()}"}}, {}

    def close(self) -> None:
        self.web.shutdown()


def _unpadded(said: str) -> bytes:
    return base64.urlsafe_b64decode(said + "=" * (-len(said) % 4))


def _url_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
