# SPDX-License-Identifier: Apache-2.0
"""A registry that speaks the OCI distribution specification 1.1, or an older one: blobs, manifests, referrers.

Guards: what comes has the digest that was asked for; a tag that is there with something else is not moved; statements
are found through the referrers API, and where the registry has none through the tag that the specification names for
that. Registries know no "write if unchanged": what two write at once is looked at again, and written again.
Leaves to others: whether any of it is to be trusted.
"""

from __future__ import annotations

import hashlib
import random
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from assay.backends.registries.connection import Answer, RegistryConnection
from assay.backends.registries.download import download
from assay.backends.registries.upload import Upload, Uploads
from assay.errors import InfrastructureError, NotVerified, Refused
from assay.formats import canonical_json, oci_layout
from assay.formats.oci_layout import Descriptor, Index

INDEX_ATTEMPTS = 12
"""Looks at the tag with the referrers while others write it."""
SETTLE_S = 0.5
"""Seconds, about, from our write until we look again: who read the tag before it has written by then."""
PAGES_MAX = 16

Sleep = Callable[[float], None]

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
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip()
        oci_layout.check_kind(
            answer.body, media_type, f"what the registry {self._connection.origin} has as {reference}"
        )
        return answer.body

    def blob(self, descriptor: Descriptor, file: Path) -> None:
        """The blob becomes `file`; see `download`."""
        path = f"{self._base}/blobs/{descriptor.digest}"
        download(self._connection, path, descriptor.sha256, descriptor.size, file)

    def has_blob(self, sha256: str) -> bool:
        """Whether the repository has the blob, as it says."""
        return self._connection.ask("HEAD", f"{self._base}/blobs/sha256:{sha256}").status == 200

    def put_blob(self, sha256: str, data: bytes, uploads: Uploads) -> int:
        """Upload a blob, from where the registry has it; answers the bytes that were there. See `Upload`."""
        return Upload(self._connection, self._base, uploads, self._expect).put(sha256, data)

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

    def put_referrers(
        self, statements: Sequence[tuple[Descriptor, bytes]], subject: Descriptor, sleep: Sleep = time.sleep
    ) -> None:
        """Put manifests that refer to `subject`, so that `referrers` finds them."""
        unlisted = [each for each, data in statements if not self.put_manifest(each.digest, data)]
        if unlisted:
            self._put_into_tag(_fallback_tag(subject), unlisted, sleep)

    def _put_into_tag(self, tag: str, ours: Sequence[Descriptor], sleep: Sleep) -> None:
        """Until all of `ours` are in the index under `tag`, and still are when whoever read it before has written."""
        settled = True
        for _ in range(INDEX_ATTEMPTS):
            index = self._fallback(tag)
            there = {each.digest for each in index.manifests}
            missing = tuple(each for each in ours if each.digest not in there)
            if not missing:
                if settled:
                    return
                settled = True
            else:
                grown = index.model_copy(update={"manifests": (*index.manifests, *missing)})
                self.put_manifest(tag, canonical_json.encode_value(grown), oci_layout.INDEX_TYPE)
                settled = False
            sleep(SETTLE_S * (0.5 + random.random()))  # noqa: S311 (so that two do not keep step)
        text = f"others keep writing {self.name}:{tag} at the same time"
        raise InfrastructureError(text, remedy="run it again when they are done: it goes on")

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
