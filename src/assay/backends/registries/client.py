# SPDX-License-Identifier: Apache-2.0
"""A registry that speaks the OCI distribution specification 1.1, or an older one: blobs, manifests, referrers.

Guards: what comes has the digest that was asked for; a tag that is there with something else is not moved; statements
are found through the referrers API, and where the registry has none through the tag that the specification names for
that, which is written so that nobody else's entry is lost. Leaves to others: whether any of it is to be trusted.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from urllib.parse import quote

from assay.backends.registries.connection import Answer, RegistryConnection
from assay.backends.registries.download import download
from assay.errors import InfrastructureError, NotVerified, Refused
from assay.formats import canonical_json, oci_layout
from assay.formats.oci_layout import Descriptor, Index

UPLOAD_BYTES = 8 * 1024 * 1024
"""Bytes of one piece of an upload: what is sent again when the link breaks."""
UPLOAD_ATTEMPTS = 5
INDEX_ATTEMPTS = 5
"""Tries to write the tag with the referrers while others write it."""
PAGES_MAX = 16

_ACCEPT = f"{oci_layout.MANIFEST_TYPE}, {oci_layout.INDEX_TYPE}"


class RegistryClient:
    """One repository of a registry. Raises `InfrastructureError`, `Refused`, `NotVerified`."""

    def __init__(self, connection: RegistryConnection, repository: str) -> None:
        self._connection = connection
        self._base = f"/v2/{repository}"
        self.name = f"{connection.origin}/{repository}"

    def manifest(self, reference: str) -> bytes | None:
        """The manifest or index with that tag or digest; None when there is none."""
        path = f"{self._base}/manifests/{reference}"
        answer = self._connection.ask("GET", path, headers={"Accept": _ACCEPT})
        if answer.status == 404:
            return None
        self._expect(answer, (200,), "for a manifest")
        digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        wanted = reference if ":" in reference else answer.headers.get("docker-content-digest", digest)
        if wanted != digest:
            raise self._connection.refused(f"gives another manifest for {reference} than the one with {wanted}")
        return answer.body

    def blob(self, descriptor: Descriptor, file: Path) -> None:
        """The blob becomes `file`; see `download`."""
        path = f"{self._base}/blobs/{descriptor.digest}"
        download(self._connection, path, descriptor.sha256, descriptor.size, file)

    def has_blob(self, sha256: str) -> bool:
        """Whether the repository has the blob, as it says."""
        return self._connection.ask("HEAD", f"{self._base}/blobs/sha256:{sha256}").status == 200

    def put_blob(self, sha256: str, data: bytes) -> None:
        """Upload a blob in pieces; a piece that was lost is sent again from where the registry has it."""
        answer = self._connection.ask("POST", f"{self._base}/blobs/uploads/", body=b"")
        self._expect(answer, (202,), "to an upload")
        location, sent, failures = self._location(answer), 0, 0
        while sent < len(data):
            piece = data[sent : sent + UPLOAD_BYTES]
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{sent}-{sent + len(piece) - 1}",
                "Content-Length": str(len(piece)),
            }
            try:
                answer = self._connection.ask("PATCH", location, headers=headers, body=piece)
                self._expect(answer, (202,), "to a piece of a blob")
                location, sent = self._location(answer), sent + len(piece)
            except InfrastructureError:
                failures += 1
                if failures >= UPLOAD_ATTEMPTS:
                    raise
                location, sent = self._resume(location)
        end = f"{location}{'&' if '?' in location else '?'}digest={quote(f'sha256:{sha256}')}"
        self._expect(self._connection.ask("PUT", end, body=b""), (201,), "to a whole blob")

    def put_manifest(self, reference: str, data: bytes, media_type: str = oci_layout.MANIFEST_TYPE) -> bool:
        """Put a manifest under a tag or its digest; answers whether the registry itself lists what refers to it."""
        headers = {"Content-Type": media_type}
        answer = self._connection.ask("PUT", f"{self._base}/manifests/{reference}", headers=headers, body=data)
        self._expect(answer, (201,), "to a manifest")
        return "oci-subject" in answer.headers

    def put_release(self, tag: str, manifest: bytes) -> None:
        """Put the manifest of a release under `tag`; one that is there stays as it is. `Refused` for another one."""
        there = self.manifest(tag)
        if there is None:
            self.put_manifest(tag, manifest)
        elif there != manifest:
            text = f"{self.name}:{tag} is there already, and is another release"
            raise Refused(text, remedy="give the release a version of its own; what was pushed is not replaced")

    def put_referrer(self, data: bytes, descriptor: Descriptor, subject: Descriptor) -> None:
        """Put a manifest that refers to `subject`, so that `referrers` finds it."""
        if self.put_manifest(descriptor.digest, data):
            return
        tag = _fallback_tag(subject)
        for _ in range(INDEX_ATTEMPTS):
            index = self._fallback(tag)
            if any(each.digest == descriptor.digest for each in index.manifests):
                return
            grown = index.model_copy(update={"manifests": (*index.manifests, descriptor)})
            self.put_manifest(tag, canonical_json.encode_value(grown), oci_layout.INDEX_TYPE)
        text = f"others keep writing {self.name}:{tag} at the same time"
        raise InfrastructureError(text, remedy="run it again: it goes on")

    def referrers(self, subject: Descriptor) -> tuple[Descriptor, ...]:
        """What refers to `subject`, by the registry's own list or by the tag for older registries."""
        found = self._listed(subject)
        if found is None:
            found = self._fallback(_fallback_tag(subject)).manifests
        digests = [each.digest for each in found]
        if len(set(digests)) != len(digests):
            raise self._connection.refused(f"names a statement about {subject.digest} twice")
        return found

    def _listed(self, subject: Descriptor) -> tuple[Descriptor, ...] | None:
        path, found = f"{self._base}/referrers/{subject.digest}", list[Descriptor]()
        for _ in range(PAGES_MAX):
            answer = self._connection.ask("GET", path, headers={"Accept": oci_layout.INDEX_TYPE})
            if answer.status == 404:
                return None
            self._expect(answer, (200,), "for referrers")
            found += oci_layout.read_index(answer.body).manifests
            following = re.fullmatch(r'<([^>]*)>\s*;\s*rel="?next"?', answer.headers.get("link", ""))
            if following is None:
                return tuple(found)
            origin, path = self._connection.leads(following[1], path)
            if origin != self._connection.origin:
                raise self._connection.refused(f"has its list of statements go on at {origin}")
        raise self._connection.refused(f"lists statements on more than {PAGES_MAX} pages")

    def _fallback(self, tag: str) -> Index:
        data = self.manifest(tag)
        return Index() if data is None else oci_layout.read_index(data)

    def _location(self, answer: Answer) -> str:
        """Uploads stay at the registry: a blob of ours is sent nowhere else."""
        origin, path = self._connection.leads(answer.headers.get("location", ""), f"{self._base}/blobs/uploads/")
        if origin != self._connection.origin:
            raise self._connection.refused(f"wants an upload to go to {origin}")
        return path

    def _resume(self, location: str) -> tuple[str, int]:
        """Where to go on, and how many bytes the registry has."""
        answer = self._connection.ask("GET", location)
        self._expect(answer, (204,), "about an upload")
        found = re.fullmatch(r"0-(\d+)", answer.headers.get("range", ""))
        last = int(found[1]) if found else 0
        return self._location(answer), last + 1 if last else 0

    def _expect(self, answer: Answer, statuses: tuple[int, ...], what: str) -> None:
        if answer.status in statuses:
            return
        said = f"{self.name} answers {answer.status} {what}"
        if answer.status in (401, 403):
            raise Refused(said, remedy="ask for the right to do this, or use another user")
        if answer.status == 404:
            raise NotVerified(f"{said}: it is not there", remedy="check the registry's address, and push the release")
        if 400 <= answer.status < 500 and answer.status not in (408, 416, 429):
            raise Refused(f"{said}: {_told(answer.body)}", remedy="ask who runs the registry")
        raise InfrastructureError(said, remedy="try again, or ask who runs the registry")


def _fallback_tag(subject: Descriptor) -> str:
    """Distribution specification 1.1, "Referrers Tag Schema"."""
    return subject.digest.replace(":", "-")


def _told(body: bytes) -> str:
    """What the registry says, for people: printable, and not much."""
    return "".join(each for each in body[:200].decode("utf-8", "replace") if each.isprintable())
