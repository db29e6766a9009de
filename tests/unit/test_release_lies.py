# SPDX-License-Identifier: Apache-2.0
"""Releases, bundles and bills of materials that lie, bootloaders that would start other images: all refused."""

from __future__ import annotations

import hashlib
import json

import pytest
from image_sample import FOREIGN, public_pem
from published_release import MODULE, Published

from assay.errors import (
    NotVerified,
    Refused,
)
from assay.formats import sigstore_bundle
from assay.formats.public_key import raw_ed25519
from assay.model.artifact import Release, VerifiedImage
from assay.model.statement import PredicateType
from assay.model.trust import Role
from assay.pipeline.build_recipe import BuildRequest
from assay.pipeline.image_signing import read_signed, sign_artifact
from assay.pipeline.module_build import build_module
from assay.pipeline.publishing import publish_signed
from assay.pipeline.release_gate import verify_parts, verify_release
from assay.pipeline.unit_offers import offers_on_unit


def refused(published: Published, document: dict[str, object] | None = None, **parts: object) -> str:
    """What the gate says of the signed folder when `parts` of it, or of its release, are others."""
    signed = read_signed(published.signed)
    release = signed.release
    if document is not None:
        changed = json.loads(release.model_dump_json(by_alias=True))
        for path, value in document.items():
            *tables, last = path.split(".")
            table = changed
            for name in tables:
                table = table[name]
            table[last] = value
        release = type(release).model_validate_json(json.dumps(changed))
    data = parts.get("data", signed.image)
    bundles = parts.get("bundles", signed.bundles)
    with pytest.raises(NotVerified) as caught:
        verify_parts(release, data, bundles, published.trust(), published.board)  # type: ignore[arg-type]
    return caught.value.message


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"version": "9.9.9"}, "are not the same"),
        ({"version": "9.9.9", "artifact.version": "9.9.9"}, "the version in the image is 1.0.0"),
        ({"name": "other", "artifact.module": "other"}, "the name in the image is tiny"),
        ({"kind": "bootloader", "artifact.kind": "bootloader"}, "the external parameter kind"),
        ({"kind": "radio", "artifact.kind": "radio"}, "the number of the image"),
        ({"kind": "rom", "artifact.kind": "rom"}, "the external parameter kind"),
        ({"security_counter": 9, "artifact.security_counter": 9}, "the security counter in the image is 3"),
        ({"min_revision": 0, "artifact.min_revision": 0}, "the lowest revision in the image is 1"),
        ({"image.image_hash": "0" * 64}, "is not the one that was published"),
        ({"image.file_sha256": "0" * 64}, "is not the one that was published"),
        ({"artifact.source.commit": "0" * 40}, "tells of another build than its signed provenance"),
        ({"artifact.tools": []}, "tells of another build than its signed provenance"),
        ({"artifact.parameters": {}}, "tells of another build than its signed provenance"),
        ({"artifact.interfaces": None}, "tells of another build than its signed provenance"),
        ({"artifact.interfaces.requires": []}, "tells of another build than its signed provenance"),
        ({"artifact.dependencies": []}, "tells of another build than its signed provenance"),
        ({"artifact.builds_compared": 3}, "tells of another build than its signed provenance"),
        ({"attestations": {}}, "exactly the attestations"),
    ],
)
def test_a_release_document_that_lies_is_refused(published: Published, document: dict[str, object], said: str) -> None:
    assert said in refused(published, document)


def test_every_changed_byte_of_image_and_bundles_is_refused(published: Published) -> None:
    signed = read_signed(published.signed)
    for offset in range(0, len(signed.image), 7):
        changed = bytearray(signed.image)
        changed[offset] ^= 0x10
        refused(published, data=bytes(changed))
    for kind, bundle in signed.bundles.items():
        for offset in range(0, len(bundle), 41):
            changed = bytearray(bundle)
            changed[offset] ^= 0x01
            refused(published, bundles={**signed.bundles, kind: bytes(changed)})
        refused(published, bundles={other: data for other, data in signed.bundles.items() if other != kind})


def test_the_statements_of_another_image_are_refused(published: Published) -> None:
    published.build(published.root / "other", "1.0.1")
    other = sign_artifact(published.root / "other", published.site, published.root / "other.signed")
    digests = {kind: hashlib.sha256(bundle).hexdigest() for kind, bundle in other.bundles.items()}
    said = refused(published, {"attestations": digests}, bundles=other.bundles)
    assert "is not about the file with the SHA-256" in said


def test_bundles_in_each_others_place_are_refused(published: Published) -> None:
    bundles = read_signed(published.signed).bundles
    kinds = list(bundles)
    swapped = dict(zip(kinds, [bundles[kinds[1]], bundles[kinds[0]]], strict=True))
    digests = {kind: hashlib.sha256(bundle).hexdigest() for kind, bundle in swapped.items()}
    assert "predicate type" in refused(published, {"attestations": digests}, bundles=swapped)


def bootloader(published: Published, declared: str | None, held: str) -> None:
    """Build and sign a bootloader in which the key `held` is, and for which `declared` is declared (PEM)."""
    text = MODULE.replace('"app"', '"bootloader"').replace('"tiny"', '"boot"')
    (published.root / "mod" / "module.toml").write_text(text)
    body = f"open(sys.argv[1] + '/payload.bin', 'wb').write(b'x' * 1000 + bytes.fromhex('{raw_ed25519(held).hex()}'))"
    (published.root / "mod" / "build.py").write_text("import sys; " + body)
    keys = {"image": declared} if declared else {}
    request = BuildRequest(published.root / "mod" / "module.toml", "ast1030-evb", keys=keys, builder="host")
    build_module(request, published.site, published.root / "boot", lambda _line: None)
    sign_artifact(published.root / "boot", published.site, published.root / "boot.signed")


def test_a_bootloader_passes_with_a_trusted_image_key_in_it(published: Published) -> None:
    ours = published.site.signers.public_key(Role.IMAGE).public
    bootloader(published, ours, ours)
    publish_signed(published.root / "boot.signed", published.site)
    image = verify_release(published.site.store, published.trust(), "boot", None, published.board)
    assert any("the key 'image' built into it is a trusted image key" in check.what for check in image.checks)


@pytest.mark.parametrize(
    ("declares_ours", "holds_ours", "said"),
    [
        (None, True, "does not say which image key is built into it"),
        (False, False, "is no image key that 'this-site' trusts"),
        (True, False, "and is not in it"),
    ],
)
def test_a_bootloader_that_would_start_other_images_is_refused(
    published: Published, declares_ours: bool | None, holds_ours: bool, said: str
) -> None:
    ours, foreign = published.site.signers.public_key(Role.IMAGE).public, public_pem(FOREIGN)
    declared = None if declares_ours is None else ours if declares_ours else foreign
    bootloader(published, declared, ours if holds_ours else foreign)
    with pytest.raises(NotVerified) as caught:
        publish_signed(published.root / "boot.signed", published.site)
    assert said in caught.value.message


@pytest.mark.parametrize("metadata", [[], {"component": []}, 1])
def test_a_bill_of_materials_of_a_strange_shape_is_refused(published: Published, metadata: object) -> None:
    signed = read_signed(published.signed)
    kind = PredicateType.SBOM.value
    payload = json.loads(sigstore_bundle.decode(signed.bundles[kind]).envelope.payload)
    payload["predicate"]["metadata"] = metadata
    bundle = published.site.signers.sign_statement(Role.BUILDER, json.dumps(payload).encode())
    changed = {**signed.release.attestations, kind: hashlib.sha256(bundle).hexdigest()}
    release = signed.release.model_copy(update={"attestations": changed})
    with pytest.raises(NotVerified, match="could not be verified"):
        verify_parts(release, signed.image, {**signed.bundles, kind: bundle}, published.trust(), published.board)


class LyingStore:
    """The store of `published`, whose release is called a bootloader of another version by who may write there."""

    def __init__(self, published: Published) -> None:
        self._store = published.site.store
        (release,) = self._store.releases()
        self.lie = release.model_copy(update={"name": "assay-bootloader", "kind": "bootloader", "version": "9.9.9"})

    def releases(self) -> tuple[Release, ...]:
        return (self.lie,)

    def find(self, name: str, version: str | None, board: str) -> Release:
        assert (name, version, board) == ("assay-bootloader", "9.9.9", "ast1030-evb")
        return self.lie

    def get(self, sha256: str) -> bytes:
        return self._store.get(sha256)


def test_a_dependency_rests_on_releases_that_verify(published: Published) -> None:
    store = LyingStore(published)
    image_hash = store.lie.image.image_hash
    with pytest.raises(Refused):
        offers_on_unit(store, published.trust(), published.board, image_hash)  # type: ignore[arg-type]
    offers = offers_on_unit(store, published.trust(), published.board, "0" * 64)  # type: ignore[arg-type]
    assert "assay-bootloader" not in [offer.module for offer in offers]


def test_a_bootloader_counts_as_what_its_hash_says_not_as_another_release_of_its_name(published: Published) -> None:
    """An index gives an old bootloader the newest one's name: what verifies under it is not what is on the unit."""
    store = LyingStore(published)
    newest = store.lie.model_copy(update={"image": store.lie.image.model_copy(update={"image_hash": "1" * 64})})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("assay.pipeline.unit_offers.verify_release", lambda *_, **_more: VerifiedImage(newest, b"", ()))
        hashes = (store.lie.image.image_hash, newest.image.image_hash)
        store.lie, old = newest, store.lie
        assert _modules(store, published, hashes[1]) == ["assay-bootloader"]
        store.lie = old
        assert _modules(store, published, hashes[0]) == []


def _modules(store: LyingStore, published: Published, there: str) -> list[str]:
    offers = offers_on_unit(store, published.trust(), published.board, there)  # type: ignore[arg-type]
    return [offer.module for offer in offers if offer.module == "assay-bootloader"]
