# SPDX-License-Identifier: Apache-2.0
"""`assay verify` on single statements and images: what is checked, by which key, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from made_site import MadeSite

from assay.cli.roles import ROLES
from assay.cli.verify import command
from assay.model.record import RecordType
from assay.model.statement import PredicateType
from assay.model.trust import Role


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """image.bin, other.bin, provenance.sigstore.json, and a trust file."""
    folder = tmp_path_factory.mktemp("release")
    made = MadeSite(folder / ".assay")
    made.write_trust(folder / "trust.toml", allow_development=True, allow_emulated=True)
    release, other = made.publish("demo-sensor", "1.0.0"), made.publish("demo-sensor", "1.1.0")
    store = made.site.store
    (folder / "image.bin").write_bytes(store.get(release.image.file_sha256))
    (folder / "other.bin").write_bytes(store.get(other.image.file_sha256))
    bundle = store.get(release.attestations[PredicateType.PROVENANCE])
    (folder / "provenance.sigstore.json").write_bytes(bundle)
    return folder


def verify(folder: Path, file: str, *arguments: str, trust: str = "trust.toml") -> Result:
    return CliRunner().invoke(command, [str(folder / file), "--trust", str(folder / trust), *arguments])


def test_roles_are_those_of_the_model() -> None:
    assert set(ROLES) == {role.value for role in Role}
    assert RecordType.PROVENANCE.value == "provenance"


def test_an_image(folder: Path) -> None:
    shown = verify(folder, "image.bin")
    assert shown.exit_code == 0, shown.output
    assert "Signed image demo-sensor@1.0.0 for ast1030-evb" in shown.stdout
    assert "image image-UNSAFE-DEVELOPMENT" in shown.stdout and "UNSAFE-DEVELOPMENT:" in shown.stdout
    document = json.loads(verify(folder, "image.bin", "--json").stdout)
    assert (document["kind"], document["broken"], document["status"]) == ("image", [], 0)


def test_an_image_with_any_changed_byte(folder: Path, tmp_path: Path) -> None:
    data = (folder / "image.bin").read_bytes()
    for place in range(4, len(data), 37):
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        (tmp_path / "image.bin").write_bytes(bytes(damaged))
        result = CliRunner().invoke(command, [str(tmp_path / "image.bin"), "--trust", str(folder / "trust.toml")])
        assert result.exit_code == 4, place


def test_a_statement_about_a_file(folder: Path) -> None:
    shown = verify(folder, "provenance.sigstore.json", "--artifact", str(folder / "image.bin"), "--role", "builder")
    assert shown.exit_code == 0, shown.output
    assert "Statement https://slsa.dev/provenance/v1" in shown.stdout
    assert "has the SHA-256" in shown.stdout and "builder builder-UNSAFE-DEVELOPMENT" in shown.stdout


def test_a_statement_without_a_file_says_so(folder: Path) -> None:
    shown = verify(folder, "provenance.sigstore.json")
    assert shown.exit_code == 0 and "no --artifact was given" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--artifact", "other.bin"], "not about the file"),
        (["--role", "station"], "must be signed by station"),
        (["--role", "image"], "must be signed by image"),
    ],
)
def test_a_statement_for_something_else(folder: Path, arguments: list[str], words: str) -> None:
    option, value = arguments
    shown = verify(folder, "provenance.sigstore.json", option, str(folder / value) if option == "--artifact" else value)
    assert shown.exit_code == 4 and words in " ".join(shown.stdout.split())


def test_a_statement_with_a_changed_byte(folder: Path, tmp_path: Path) -> None:
    data = (folder / "provenance.sigstore.json").read_bytes()
    for place in range(1, len(data), 53):
        damaged = bytearray(data)
        damaged[place] ^= 0x01
        (tmp_path / "p.json").write_bytes(bytes(damaged))
        result = CliRunner().invoke(command, [str(tmp_path / "p.json"), "--trust", str(folder / "trust.toml")])
        # A bundle may be spelled otherwise outside of what is signed; then it still says the same, by the same key.
        if result.exit_code == 0:
            changed = json.loads(bytes(damaged))
            assert changed["dsseEnvelope"]["payload"] == json.loads(data)["dsseEnvelope"]["payload"], place
        else:
            assert result.exit_code == 4, place


def test_json_that_is_no_bundle(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "x.json").write_text('{"hello": 1}')
    result = CliRunner().invoke(command, [str(tmp_path / "x.json"), "--trust", str(folder / "trust.toml")])
    assert result.exit_code == 4 and "mediaType" in result.stdout


@pytest.mark.parametrize("arguments", [["--artifact", "image.bin"], ["--role", "image"], ["--html", "x.html"]])
def test_options_of_other_kinds(folder: Path, arguments: list[str]) -> None:
    assert verify(folder, "image.bin", *arguments).exit_code == 2


def test_a_trust_file_without_development_keys(folder: Path) -> None:
    MadeSite(folder / ".assay").write_trust(folder / "strict.toml")
    for file in ("image.bin", "provenance.sigstore.json"):
        shown = verify(folder, file, trust="strict.toml")
        assert shown.exit_code == 4 and "UNSAFE-DEVELOPMENT" in shown.stdout
