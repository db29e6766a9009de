# SPDX-License-Identifier: Apache-2.0
"""Patches at a release: made from what was published, tried, signed, stated, published; and what the gate refuses."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

import pytest
from published_release import MODULE, Published
from tiny_build import ROOT

from assay.backends.builders.detools_patches import DetoolsPatches
from assay.errors import AssayError, InfrastructureError, NotVerified, Refused, ToolMissing, UsageFault
from assay.formats.mcuboot_image import parse_image, verify_image
from assay.model.artifact import Release, ReleasedPatch
from assay.model.plan import UnitState, UpdateRules
from assay.pipeline.image_signing import read_signed, sign_artifact
from assay.pipeline.patch_gate import verify_patch, verify_patch_parts
from assay.pipeline.patch_signing import PatchOrder
from assay.pipeline.publishing import publish_signed
from assay.stages.field.plan import choose_patch, plan_update

pytest.importorskip("detools", reason="pip install 'assay[delta]'")

SCRIPT = """\
import random, sys
noise = random.Random(7).randbytes({size})
open(sys.argv[1] + '/payload.bin', 'wb').write(noise + sys.argv[2].encode() + b'\\n' + {more})
"""
BASE = "tiny@1.0.0"


def write_script(root: Path, size: int = 20000, more: str = "b''") -> None:
    (root / "mod" / "build.py").write_text(SCRIPT.format(size=size, more=more))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with tiny 1.0.0 published, and 1.1.0 built."""
    root = tmp_path_factory.mktemp("patches")
    shutil.copytree(ROOT / "boards", root / "boards")
    (root / "mod").mkdir()
    (root / "mod" / "module.toml").write_text(MODULE)
    write_script(root)
    site = Published(root)
    site.build(root / "old")
    site.build(site.artifact, "1.1.0")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        sign_artifact(root / "old", site.site, root / "old.signed")
        publish_signed(root / "old.signed", site.site)
    site.site.signers.close()  # type: ignore[attr-defined]
    return root


@pytest.fixture
def site(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Published:
    root = tmp_path / "copy"
    shutil.copytree(made, root)
    monkeypatch.chdir(root)
    return Published(root)


def sign(site: Published, *bases: str) -> Release:
    return sign_artifact(site.artifact, site.site, site.signed, PatchOrder(bases)).release


def test_a_patch_is_published_with_its_statement_and_verifies(site: Published) -> None:
    release = sign(site, BASE)
    (patch,) = release.patches
    publish_signed(site.signed, site.site)
    image = site.gate()
    assert image.release.patches == release.patches
    verified = verify_patch(site.site.store, site.trust(), image.release, patch)
    assert verified.data == (site.signed / "patch-from-1.0.0.signed.bin").read_bytes()
    assert patch.size == len(verified.data) < 0.05 * image.release.image.size
    says = verify_image(verified.data, site.trust(), patch=True).says
    old = site.site.store.find("tiny", "1.0.0", "ast1030-evb")
    assert DetoolsPatches().apply(site.site.store.get(old.image.file_sha256), says.payload) == image.data
    assert says.patch is not None
    assert (says.patch.base_hash.hex(), says.patch.gives_hash.hex()) == (
        old.image.image_hash,
        image.release.image.image_hash,
    )
    assert (says.version, says.board, says.security_counter) == ("1.1.0", "ast1030-evb", 3)
    said = "\n".join(check.what for check in verified.checks)
    assert f"patch from {BASE}" in said
    assert "detools 0." in said


def test_a_patch_is_no_image_and_an_image_no_patch(site: Published) -> None:
    sign(site, BASE)
    patch, image = ((site.signed / name).read_bytes() for name in ("patch-from-1.0.0.signed.bin", "image.signed.bin"))
    for data, as_patch in ((patch, False), (image, True)):
        with pytest.raises(NotVerified, match="not a signed image of this project"):
            parse_image(data, patch=as_patch)


def test_the_same_patch_again_gives_the_same_bytes(site: Published) -> None:
    first = sign(site, BASE).patches[0]
    shutil.rmtree(site.signed)
    assert sign(site, BASE).patches[0].file_sha256 == first.file_sha256


@pytest.mark.parametrize("base", ["tiny@1.1.0", "other@1.0.0"])
def test_a_patch_from_what_cannot_be_its_base_is_refused(site: Published, base: str) -> None:
    with pytest.raises(UsageFault, match="there is no patch from"):
        sign(site, base)
    assert not site.signed.exists()


def test_a_base_that_was_never_published_is_named(site: Published) -> None:
    with pytest.raises(UsageFault, match=r"the store has no tiny@0\.9\.0"):
        sign(site, "tiny@0.9.0")


def test_a_base_that_was_changed_is_refused(site: Published) -> None:
    old = site.site.store.find("tiny", "1.0.0", "ast1030-evb").image.file_sha256
    (blob,) = (site.root / "site").rglob(old)
    blob.chmod(0o644)
    blob.write_bytes(b"something else")
    with pytest.raises(AssayError, match="was changed"):
        sign(site, BASE)


def test_a_patch_for_which_the_board_has_no_room_is_left_out_and_said(site: Published) -> None:
    write_script(site.root, more="random.Random(9).randbytes(30000)")
    shutil.rmtree(site.artifact)
    site.build(site.artifact, "1.1.0")
    signed = sign_artifact(site.artifact, site.site, site.signed, PatchOrder((BASE,)))
    assert signed.release.patches == ()
    assert "ast1030-evb has room for 24544" in signed.left_out[0]
    assert read_signed(site.signed).release == signed.release


class WrongPatches(DetoolsPatches):
    """A tool whose patches do not give the new file back."""

    def apply(self, old: bytes, patch: bytes) -> bytes:
        new = super().apply(old, patch)
        return new[:-1] + bytes([new[-1] ^ 1])


def test_a_patch_that_does_not_give_the_image_back_is_never_signed(
    site: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assay.pipeline.patch_signing.DetoolsPatches", WrongPatches)
    with pytest.raises(InfrastructureError, match="does not give the new image back"):
        sign(site, BASE)
    assert not site.signed.exists()


def test_without_detools_it_says_what_to_install(site: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "detools", None)
    recorded = len(list(site.site.records.entries()))
    with pytest.raises(ToolMissing, match="detools") as told:
        sign(site, BASE)
    assert len(list(site.site.records.entries())) == recorded, "nothing was signed for nothing"
    assert "apt-get install gcc g++ python3-dev" in told.value.remedy
    sign(site)  # and nobody needs it who asks for no patch


def test_patches_cannot_be_added_to_what_was_published(site: Published) -> None:
    sign(site)
    publish_signed(site.signed, site.site)
    shutil.rmtree(site.signed)
    sign(site, BASE)
    with pytest.raises(Refused, match=r"was published before, without a patch from tiny@1\.0\.0"):
        publish_signed(site.signed, site.site)


@pytest.mark.parametrize("name", ["patch-from-1.0.0.signed.bin", "patch-from-1.0.0.sigstore.json"])
def test_a_changed_file_is_not_published(site: Published, name: str) -> None:
    sign(site, BASE)
    path = site.signed / name
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(NotVerified, match="was changed after it was signed"):
        publish_signed(site.signed, site.site)


def lied(patch: ReleasedPatch, data: bytes, bundle: bytes, **changes: object) -> tuple[ReleasedPatch, bytes, bytes]:
    return patch.model_copy(update=changes), data, bundle


def test_the_gate_refuses_a_patch_that_is_not_what_it_is_said_to_be(site: Published) -> None:
    signed = sign_artifact(site.artifact, site.site, site.signed, PatchOrder((BASE,)))
    (made,) = signed.patches
    release, trust = signed.release, site.trust()
    assert verify_patch_parts(release, made.patch, made.data, made.bundle, trust).data == made.data
    good = (made.patch, made.data, made.bundle)
    provenance = (site.signed / "provenance.sigstore.json").read_bytes()
    wrong = [
        lied(*good, base_hash="0" * 64),
        lied(*good, image_hash="0" * 64),
        lied(*good, size=1),
        lied(*good, base="tiny@0.9.0"),
        (made.patch, signed.image, made.bundle),
        (made.patch, made.data[:-1] + bytes([made.data[-1] ^ 1]), made.bundle),
        (made.patch, made.data, provenance),
        (made.patch, made.data, b"{}"),
    ]
    for patch, data, bundle in wrong:
        with pytest.raises(NotVerified):
            verify_patch_parts(release, patch, data, bundle, trust)
    others = release.model_copy(update={"image": release.image.model_copy(update={"image_hash": "1" * 64})})
    with pytest.raises(NotVerified, match="says other things of itself"):
        verify_patch_parts(others, *good, trust)


def test_the_plan_takes_the_patch_that_fits_what_the_unit_proved(site: Published) -> None:
    release = sign(site, BASE)
    (patch,) = release.patches
    unit = UnitState(
        serial="S1", board="ast1030-evb", revision=1, name="tiny", version="1.0.0", image_hash=patch.base_hash,
        state="confirmed", security_counter=3,
    )  # fmt: skip
    other = unit.model_copy(update={"image_hash": "0" * 64})
    room = site.board.patch_room
    chosen = choose_patch(unit, release, room)
    assert chosen is not None
    assert chosen.file_sha256 == patch.file_sha256
    assert choose_patch(other, release, room) is None
    assert choose_patch(unit, release, patch.size - 1) is None
    assert choose_patch(unit, release, 0) is None
    plans = [
        plan_update(unit, release, UpdateRules(full=full), baud=115200, patch_room=room)
        for full in (False, False, True)
    ]
    assert plans[0] == plans[1]
    assert [step.action for step in plans[0].steps][:3] == ["upload-patch", "apply-patch", "upload"]
    assert plans[2].patch is None
    assert "patch" not in json.loads(plans[2].model_dump_json(exclude_none=True))


def test_a_release_with_two_patches_from_one_image_is_refused(site: Published) -> None:
    release = sign(site, BASE)
    publish_signed(site.signed, site.site)
    doubled = release.model_copy(update={"patches": release.patches * 2})
    from assay.stages.registry.release import check_consistent

    check_consistent(release)
    with pytest.raises(NotVerified, match="two patches from one image"):
        check_consistent(doubled)


def test_the_patch_file_is_a_layer_of_the_releases_manifest(site: Published) -> None:
    sign(site, BASE)
    manifest = json.loads(site.site.store.get(publish_signed(site.signed, site.site).manifest_sha256))
    digests = [layer["digest"].removeprefix("sha256:") for layer in manifest["layers"]]
    data = (site.signed / "patch-from-1.0.0.signed.bin").read_bytes()
    assert digests[1:] == [hashlib.sha256(data).hexdigest()]
