# SPDX-License-Identifier: Apache-2.0
"""Signing: what is in an image, what may not reach the program that lays it out, and what is refused before."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from published_release import MODULE, Published

from assay.backends.builders.imgtool_program import ImgtoolProgram
from assay.backends.stores.result_folder import owner
from assay.errors import (
    InfrastructureError,
    NotVerified,
    UnitFailed,
    UsageFault,
)
from assay.formats.mcuboot_image import verify_image
from assay.model.image_parameters import ImageParameters
from assay.model.trust import Role
from assay.pipeline.image_signing import read_signed, sign_artifact
from assay.pipeline.publishing import publish_signed


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
    here = owner().partition("-")[2]
    left, used = tmp_path / f"assay-image-{gone.pid}-{here}-a", tmp_path / f"assay-image-{owner()}-b"
    elsewhere = tmp_path / f"assay-image-{gone.pid}-{int(here) + 1}-c"
    for folder in (left, used, elsewhere):
        folder.mkdir()
        (folder / "payload.bin").write_bytes(b"payload")
    ImgtoolProgram().bytes_to_sign(b"payload", PARAMETERS)
    assert sorted(tmp_path.iterdir()) == sorted([used, elsewhere])


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
