# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: N815  # members are called as in the OCI specification
"""Releases as documents of the OCI image specification 1.1: manifests, descriptors and the index of a layout.

Guards: what is read is strict JSON of the form that we write; a release that another tool put beside ours is left
alone, one that claims to be ours and is not whole is `NotVerified`. The manifest of a release is the same bytes for the
same release. Leaves to others: files and digests (`backends.stores.oci_layout`).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final, Literal, TypeVar

from pydantic import Field, ValidationError

from assay.errors import NotVerified
from assay.formats import canonical_json, strict_json
from assay.model.artifact import Release
from assay.model.identifiers import FileSha256
from assay.model.statement import PredicateType
from assay.model.value import ForeignValue

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
"""Content of the file `oci-layout`; 1.0.0 is the layout version of image specification 1.1 too."""

MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"
RELEASE_TYPE = "application/vnd.assay.release.v1"
RELEASE_CONFIG_TYPE = "application/vnd.assay.release.config.v1+json"
PATCH_LAYER_TYPE = "application/vnd.assay.mcuboot.patch.v1"
RAUC_LAYER_TYPE = "application/vnd.assay.rauc.bundle.v1"
IMAGE_LAYER_TYPE = "application/vnd.assay.mcuboot.image.v1"
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
WITHDRAWAL_TYPE = "application/vnd.assay.withdrawal.v1"
PREDICATE_ANNOTATION = "dev.sigstore.bundle.predicateType"
REFERENCE_ANNOTATION = "org.opencontainers.image.ref.name"

_KEYS = {MANIFEST_TYPE: ("config", "layers"), INDEX_TYPE: ("manifests",)}
"""Keys that only this kind of document has (image specification 1.1)."""
_CONFUSED = "ask who runs the registry, or who made the folder: somebody wants it to be read in two ways"

M = TypeVar("M", bound=ForeignValue)


class Descriptor(ForeignValue):
    """OCI content descriptor."""

    mediaType: str
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    size: int = Field(ge=0)
    artifactType: str | None = None
    annotations: dict[str, str] | None = None

    @property
    def sha256(self) -> FileSha256:
        """The digest without its algorithm."""
        return self.digest.removeprefix("sha256:")


class Manifest(ForeignValue):
    """OCI image manifest, as far as a release needs it."""

    schemaVersion: Literal[2]
    mediaType: Literal["application/vnd.oci.image.manifest.v1+json"] = MANIFEST_TYPE
    artifactType: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class Index(ForeignValue):
    """OCI image index: `index.json` of a layout."""

    schemaVersion: Literal[2] = 2
    mediaType: Literal["application/vnd.oci.image.index.v1+json"] = INDEX_TYPE
    manifests: tuple[Descriptor, ...] = ()


def describe(data: bytes, media_type: str, **more: Any) -> Descriptor:
    """The descriptor of `data`."""
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return Descriptor(mediaType=media_type, digest=digest, size=len(data), **more)


def release_config(release: Release) -> bytes:
    """The document of a release: the config of its manifest."""
    return canonical_json.encode_value(release)


def release_manifest(release: Release) -> bytes:
    """The manifest of a release: its document, its image and its patches."""
    image = Descriptor(
        mediaType=IMAGE_LAYER_TYPE,
        digest=f"sha256:{release.image.file_sha256}",
        size=release.image.size,
        annotations={"org.opencontainers.image.title": f"{release.name}-{release.version}-{release.board}.signed.bin"},
    )
    patches = tuple(
        Descriptor(mediaType=PATCH_LAYER_TYPE, digest=f"sha256:{patch.file_sha256}", size=patch.size)
        for patch in release.patches
    )
    return canonical_json.encode_value(
        Manifest(
            schemaVersion=2,
            artifactType=RELEASE_TYPE,
            config=describe(release_config(release), RELEASE_CONFIG_TYPE),
            layers=(image, *patches, *_rauc_layer(release)),
            annotations={
                "org.opencontainers.image.title": release.name,
                "org.opencontainers.image.version": release.version,
            },
        )
    )


def _rauc_layer(release: Release) -> tuple[Descriptor, ...]:
    if release.rauc is None:
        return ()
    digest = f"sha256:{release.rauc.file_sha256}"
    return (Descriptor(mediaType=RAUC_LAYER_TYPE, digest=digest, size=release.rauc.size),)


def attestation_manifest(release: bytes, predicate_type: str, bundle: bytes) -> bytes:
    """The manifest of a Sigstore bundle that refers to the release with the manifest `release`."""
    return canonical_json.encode_value(
        Manifest(
            schemaVersion=2,
            artifactType=BUNDLE_TYPE,
            config=describe(EMPTY, EMPTY_TYPE),
            layers=(describe(bundle, BUNDLE_TYPE),),
            subject=describe(release, MANIFEST_TYPE, artifactType=RELEASE_TYPE),
            annotations={PREDICATE_ANNOTATION: predicate_type},
        )
    )


def withdrawal_manifest(release: tuple[str, int], bundle: bytes) -> bytes:
    """The manifest of a bundle that withdraws the release whose manifest has this SHA-256 and size."""
    sha256, size = release
    return canonical_json.encode_value(
        Manifest(
            schemaVersion=2,
            artifactType=WITHDRAWAL_TYPE,
            config=describe(EMPTY, EMPTY_TYPE),
            layers=(describe(bundle, BUNDLE_TYPE),),
            subject=Descriptor(
                mediaType=MANIFEST_TYPE, digest=f"sha256:{sha256}", size=size, artifactType=RELEASE_TYPE
            ),
            annotations={PREDICATE_ANNOTATION: PredicateType.WITHDRAWAL.value},
        )
    )


def reference_of(release: Release) -> str:
    """The name of a release in the index (OCI: annotation `org.opencontainers.image.ref.name`).

    What stands behind the colon can be a tag of a registry, in which the distribution specification has no `+`; it
    becomes `_`, which no version holds, so the way back is clear (Helm does the same).
    """
    return f"{release.board}/{release.name}:{release.version.replace('+', '_')}"


def names_of(release: Release) -> tuple[str, str]:
    """Names that a release may have in an index: the one that is given, and the one that stores from before have."""
    return reference_of(release), f"{release.board}/{release.name}:{release.version}"


def read_index(data: bytes) -> Index:
    """`index.json`. Raises `NotVerified`."""
    return _read(data, Index, "the store's index.json")


def read_manifest(data: bytes) -> Manifest:
    """A manifest. Raises `NotVerified`."""
    return _read(data, Manifest, "a manifest in the store")


def read_release(manifest: Manifest, config: bytes) -> Release:
    """The release whose manifest is `manifest`. Raises `NotVerified` when the two do not belong together."""
    document = strict_json.loads_object(config, "a release in the store")
    try:
        release = Release.model_validate_json(json.dumps(document))
    except ValidationError as error:
        raise _damaged("a release in the store", error) from error
    files = [release.image.file_sha256, *(patch.file_sha256 for patch in release.patches)]
    files += [release.rauc.file_sha256] if release.rauc else []
    if [layer.sha256 for layer in manifest.layers] != files:
        text = f"the store's manifest of {release.reference} names another image than its release"
        raise NotVerified(text, remedy="publish it again into a new store")
    return release


def check_kind(data: bytes, media_type: str, what: str) -> None:
    """`data` is of the type that it was given as; nothing is two things (CVE-2021-41190): a manifest that is an index
    for another reader has one digest and two meanings. Raises `NotVerified`.
    """
    if media_type not in _KEYS:
        return
    document = strict_json.loads_object(data, what)
    if document.get("mediaType", media_type) != media_type:
        text = f"{what} was given as {media_type}, and says that it is {str(document['mediaType'])[:80]}"
        raise NotVerified(text, remedy=_CONFUSED)
    _check_keys(document, media_type, what)


def _check_keys(document: dict[str, Any], media_type: str, what: str) -> None:
    others = {key for kind, keys in _KEYS.items() if kind != media_type for key in keys}
    if found := sorted(others & document.keys()):
        text = f"{what} is of the type {media_type}, and has '{found[0]}' as another type has"
        raise NotVerified(text, remedy=_CONFUSED)


def _read(data: bytes, model: type[M], what: str) -> M:
    document = strict_json.loads_object(data, what)
    _check_keys(document, MANIFEST_TYPE if issubclass(model, Manifest) else INDEX_TYPE, what)
    try:
        return model.model_validate_json(json.dumps(document))
    except ValidationError as error:
        raise _damaged(what, error) from error


def _damaged(what: str, error: ValidationError) -> NotVerified:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return NotVerified(f"{what} is damaged: {where}: {first['msg']}", remedy="restore the store, or publish again")
