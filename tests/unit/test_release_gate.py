# SPDX-License-Identifier: Apache-2.0
"""The gate: a release that is in order passes and says what was checked; a store that lacks something does not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from image_sample import FOREIGN, image_key
from published_release import SCRIPT, Published

from assay.errors import (
    AssayError,
    ExitStatus,
    NotVerified,
    Refused,
    WrongBoard,
)
from assay.model.board import Board
from assay.model.trust import Role
from assay.pipeline.image_signing import read_signed, sign_artifact
from assay.pipeline.publishing import publish_signed
from assay.pipeline.release_gate import verify_parts
from assay.pipeline.site import Site


def test_what_is_in_order_passes_and_says_what_was_checked(published: Published) -> None:
    image = published.gate()
    assert hashlib.sha256(image.data).hexdigest() == image.release.image.file_sha256
    assert image.data == (published.signed / "image.signed.bin").read_bytes()
    said = "\n".join(check.what for check in image.checks)
    for part in ("EMULATED", "image hash", "Ed25519", "UNSAFE-DEVELOPMENT", "provenance", "cyclonedx", "builder urn:"):
        assert part in said
    keys = {check.key.role for check in image.checks if check.key}
    assert keys == {Role.IMAGE, Role.BUILDER}


def test_another_image_under_the_same_version_is_refused(published: Published) -> None:
    (published.root / "mod" / "build.py").write_text(SCRIPT.replace("1000", "1001"))
    published.build(published.artifact)
    sign_artifact(published.artifact, published.site, published.signed)
    with pytest.raises(Refused, match="give the new image a version of its own"):
        publish_signed(published.signed, published.site)


def test_the_highest_version_is_taken(published: Published) -> None:
    published.build(published.artifact, "1.10.0")
    sign_artifact(published.artifact, published.site, published.signed)
    publish_signed(published.signed, published.site)
    assert published.gate().release.version == "1.10.0"


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"allow_emulated": False}, Refused, "is emulated, which 'test' refuses"),
        ({"allow_development": False}, NotVerified, "UNSAFE-DEVELOPMENT"),
        ({"keys": ()}, NotVerified, "does not name as an image key"),
        ({"keys": (image_key(FOREIGN),)}, NotVerified, "does not name as an image key"),
    ],
)
def test_the_trust_file_decides(
    published: Published, change: dict[str, object], error: type[Refused], said: str
) -> None:
    with pytest.raises(error) as caught:
        published.gate(published.trust(**change))
    assert said in str(caught.value)


def test_without_the_builder_key_an_image_is_not_enough(published: Published) -> None:
    trust = published.trust()
    only_image = trust.model_copy(update={"keys": trust.keys_for(Role.IMAGE)})
    with pytest.raises(NotVerified, match=r"the provenance of tiny@1\.0\.0: .*must be signed by builder"):
        published.gate(only_image)


@pytest.mark.parametrize("what", ["image", "statement"])
def test_a_store_that_is_not_whole_says_which_release_lacks_what(published: Published, what: str) -> None:
    """Without its image nothing is said of the release (3), without a statement nobody vouches for it (4): ADR 0082."""
    release = published.site.store.releases()[0]
    lost = release.image.file_sha256 if what == "image" else next(iter(release.attestations.values()))
    (published.root / "site" / "store" / "blobs" / "sha256" / lost).unlink()
    with pytest.raises(AssayError, match=r"tiny@1\.0\.0.*lacks the blob") as caught:
        published.gate()
    assert caught.value.status is (ExitStatus.ERROR if what == "image" else ExitStatus.REFUSED)


def test_a_key_that_may_not_vouch_for_the_builder(published: Published) -> None:
    trust = published.trust()
    keys = tuple(key.model_copy(update={"builder_ids": ()}) for key in trust.keys)
    with pytest.raises(NotVerified, match="may not vouch for the builder"):
        published.gate(trust.model_copy(update={"keys": keys}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda board: {"name": "other-board"}, "is for ast1030-evb, not for other-board"),
        (lambda board: {"revision": 0}, "needs revision 1"),
    ],
)
def test_an_image_for_another_board_is_refused(
    published: Published, change: Callable[[Board], dict[str, object]], said: str
) -> None:
    signed = read_signed(published.signed)
    board = published.board.model_copy(update=change(published.board))
    with pytest.raises(WrongBoard, match=said):
        verify_parts(signed.release, signed.image, signed.bundles, published.trust(), board)


@pytest.mark.parametrize("name", ["image.signed.bin", "provenance.sigstore.json", "sbom.sigstore.json", "signed.json"])
def test_a_changed_signed_folder_is_not_published(published: Published, name: str) -> None:
    path = published.signed / name
    data = path.read_bytes()
    path.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
    with pytest.raises(NotVerified):
        publish_signed(published.signed, published.site)


def test_an_image_of_a_foreign_site_is_not_published(published: Published) -> None:
    other = Site(published.root / "other-site")
    with pytest.raises(NotVerified, match="does not name as an image key"):
        publish_signed(published.signed, other)
    assert not (published.root / "other-site" / "store").exists()
