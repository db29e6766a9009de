# SPDX-License-Identifier: Apache-2.0
"""From a built artifact over the signed image to the gate: what is in order passes, everything else is refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from image_sample import FOREIGN, image_key, public_pem

from assay.backends.builders.imgtool_program import ImgtoolProgram
from assay.errors import (
    AssayError,
    ExitStatus,
    InfrastructureError,
    NotVerified,
    Refused,
    UnitFailed,
    UsageFault,
    WrongBoard,
)
from assay.formats import sigstore_bundle
from assay.formats.mcuboot_image import verify_image
from assay.formats.public_key import raw_ed25519
from assay.model.artifact import Release, VerifiedImage
from assay.model.image_parameters import ImageParameters
from assay.model.manifest import Board
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile
from assay.pipeline.build_recipe import BuildRequest
from assay.pipeline.image_signing import read_signed, sign_artifact
from assay.pipeline.manifest_files import load_board
from assay.pipeline.module_build import build_module
from assay.pipeline.publishing import publish_signed
from assay.pipeline.release_gate import verify_parts, verify_release
from assay.pipeline.site import Site
from assay.pipeline.trust_file import site_trust
from assay.pipeline.unit_offers import offers_on_unit

ROOT = Path(__file__).parents[2]
MODULE = """\
schema = "assay.module/1"
name = "tiny"
kind = "app"
version = "1.0.0"
license = "Apache-2.0"
boards = [{ name = "ast1030-evb", min_revision = 1 }]

[build]
command = ["{python}", "mod/build.py", "{out}", "{version}"]
sources = ["mod"]
outputs = ["payload.bin"]

[interfaces]
requires = [{ name = "assay-handoff", version = "1" }]

[[dependencies]]
name = "assay-bootloader"
version = ">=1.0.0"

[update]
policy = "test-then-confirm"
security_counter = 3
"""
SCRIPT = "import sys; open(sys.argv[1] + '/payload.bin', 'w').write('x' * 1000 + sys.argv[2])"


class NoPause:
    """The host's clock, on which nobody waits."""

    def __getattr__(self, name: str) -> object:
        from assay.backends.clocks.system_clock import SystemClock

        return getattr(SystemClock(), name)

    def sleep(self, seconds: float) -> None:
        return


class Published:
    """A project with a site, and one module built, signed and published there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.site = Site(root / "site")
        self.site.__dict__["clock"] = NoPause()
        self.artifact, self.signed = root / "artifact", root / "signed"

    @property
    def board(self) -> Board:
        return load_board(self.root / "boards" / "ast1030-evb.toml")

    def trust(self, **changes: object) -> TrustFile:
        trusted = site_trust(self.site, "test", allow_development=True, allow_emulated=True)
        return trusted.model_copy(update=changes)

    def gate(self, trust: TrustFile | None = None) -> VerifiedImage:
        return verify_release(self.site.store, trust or self.trust(), "tiny", None, self.board)

    def build(self, out: Path, version: str = "1.0.0") -> None:
        request = BuildRequest(self.root / "mod" / "module.toml", "ast1030-evb", version, builder="host")
        build_module(request, self.site, out, lambda _line: None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    shutil.copytree(ROOT / "boards", root / "boards")
    (root / "mod").mkdir()
    (root / "mod" / "module.toml").write_text(MODULE)
    (root / "mod" / "build.py").write_text(SCRIPT)
    published = Published(root)
    published.build(published.artifact)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        sign_artifact(published.artifact, published.site, published.signed)
        publish_signed(published.signed, published.site)
    published.site.signers.close()  # type: ignore[attr-defined]
    return root


@pytest.fixture
def published(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Published:
    root = tmp_path / "copy"
    shutil.copytree(made, root)
    monkeypatch.chdir(root)
    return Published(root)


def test_what_is_in_order_passes_and_says_what_was_checked(published: Published) -> None:
    image = published.gate()
    assert hashlib.sha256(image.data).hexdigest() == image.release.image.file_sha256
    assert image.data == (published.signed / "image.signed.bin").read_bytes()
    said = "\n".join(check.what for check in image.checks)
    for part in ("EMULATED", "image hash", "Ed25519", "UNSAFE-DEVELOPMENT", "provenance", "cyclonedx", "builder urn:"):
        assert part in said
    keys = {check.key.role for check in image.checks if check.key}
    assert keys == {Role.IMAGE, Role.BUILDER}


def test_signing_again_gives_the_same_bytes(published: Published) -> None:
    again = sign_artifact(published.artifact, published.site, published.root / "again")
    assert again.image == (published.signed / "image.signed.bin").read_bytes()
    assert again.bundles == read_signed(published.signed).bundles
    assert publish_signed(published.root / "again", published.site).release == published.gate().release


def test_imgtool_verifies_our_image_with_the_public_key(published: Published) -> None:
    key = published.root / "image.pem"
    key.write_text(published.site.signers.public_key(Role.IMAGE).public)
    image = str(published.signed / "image.signed.bin")
    command = [sys.executable, "-m", "imgtool.main", "verify", "-k", str(key), image]
    assert "correctly validated" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


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


def test_a_changed_artifact_is_not_signed(published: Published) -> None:
    (published.artifact / "payload.bin").write_bytes(b"other")
    with pytest.raises(NotVerified, match="was changed after the build"):
        sign_artifact(published.artifact, published.site, published.root / "out")
    with pytest.raises(UsageFault, match="there is no"):
        sign_artifact(published.root / "absent", published.site, published.root / "out")
    assert not (published.root / "out").exists()


PARAMETERS = ImageParameters("1.0.0", 0x1000, 1, 0, "0x12", 1, "0xzz")


def test_names_that_look_like_numbers_stay_names(published: Published) -> None:
    tool = ImgtoolProgram()
    digest = tool.bytes_to_sign(b"payload", PARAMETERS)
    key = published.site.signers.public_key(Role.IMAGE)
    data = tool.with_signature(b"payload", PARAMETERS, published.site.signers.sign(Role.IMAGE, digest), key.public)
    says = verify_image(data, published.trust()).says
    assert (says.board, says.name) == ("0x12", "0xzz")


@pytest.mark.parametrize(("kind", "number"), [("app", 0), ("radio", 1), ("bootloader", 255)])
def test_an_image_says_what_it_is_for(published: Published, kind: str, number: int) -> None:
    module = published.root / "mod" / "module.toml"
    module.write_text(MODULE.replace('kind = "app"', f'kind = "{kind}"'))
    published.build(published.root / kind)
    out = published.root / f"{kind}-signed"
    sign_artifact(published.root / kind, published.site, out)
    data = (out / "image.signed.bin").read_bytes()
    assert verify_image(data, published.trust()).says.image_number == number


def test_what_a_killed_signing_left_goes_with_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left, used = tmp_path / f"assay-image-{gone.pid}-a", tmp_path / f"assay-image-{os.getpid()}-b"
    for folder in (left, used):
        folder.mkdir()
        (folder / "payload.bin").write_bytes(b"payload")
    ImgtoolProgram().bytes_to_sign(b"payload", PARAMETERS)
    assert list(tmp_path.iterdir()) == [used]


def test_a_payload_that_does_not_fit_is_fail(published: Published) -> None:
    key = published.site.signers.public_key(Role.IMAGE)
    with pytest.raises(UnitFailed, match="does not fit its slot"):
        ImgtoolProgram().with_signature(bytes(0x1000), PARAMETERS, bytes(64), key.public)


def test_a_tool_that_makes_another_image_is_found_out(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(self: ImgtoolProgram, payload: bytes, parameters: ImageParameters) -> bytes:
        return hashlib.sha256(b"other").digest()

    monkeypatch.setattr(ImgtoolProgram, "bytes_to_sign", other)
    with pytest.raises(InfrastructureError, match="that imgtool made does not verify"):
        sign_artifact(published.artifact, published.site, published.root / "out")


def test_no_signing_key_reaches_a_program_that_lays_out_images(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    run = subprocess.run

    def watched(*arguments: object, **options: object) -> object:
        folder = Path(str(options["cwd"]))
        seen.extend([*arguments, options.get("env"), *(path.read_bytes() for path in folder.iterdir())])
        return run(*arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr("assay.backends.builders.imgtool_program.subprocess.run", watched)
    sign_artifact(published.artifact, published.site, published.root / "out")
    assert len(seen) >= 6
    assert "PRIVATE" not in str(seen)
    assert str(published.site.keys_dir) not in str(seen)


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
        patch.setattr("assay.pipeline.unit_offers.verify_release", lambda *_: VerifiedImage(newest, b"", ()))
        hashes = (store.lie.image.image_hash, newest.image.image_hash)
        store.lie, old = newest, store.lie
        assert _modules(store, published, hashes[1]) == ["assay-bootloader"]
        store.lie = old
        assert _modules(store, published, hashes[0]) == []


def _modules(store: LyingStore, published: Published, there: str) -> list[str]:
    offers = offers_on_unit(store, published.trust(), published.board, there)  # type: ignore[arg-type]
    return [offer.module for offer in offers if offer.module == "assay-bootloader"]
