# SPDX-License-Identifier: Apache-2.0
"""Builds: what leaks into an output is found, what was not declared is told, and what cannot be built says why."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tiny_build import (
    BUILDERS,
    MODULE,
    SAME,
    build,
    needs_sandbox,
    tiny_project,
    tiny_site,
    write_script,
)

from assay.backends.builders.fewer_cpus import can_pin
from assay.backends.builders.turkish_locale import compiled_locale
from assay.errors import ManifestFault, UnitFailed, UsageFault
from assay.formats.cyclonedx_parts import parts_of
from assay.pipeline import module_build
from assay.pipeline.artifact_folder import read_artifact
from assay.pipeline.build_places import MEMORY
from assay.pipeline.site import Site
from assay.stages.build.command import parse_defines
from assay.stages.build.comparison import difference
from assay.stages.build.probe import seen_otherwise


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return tiny_site(tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tiny_project(tmp_path)


@pytest.mark.parametrize("builder", BUILDERS)
def test_what_two_builds_agree_on_is_an_artifact(project: Path, site: Site, builder: str) -> None:
    report = build(project, site, builder)
    artifact = report.built.artifact
    assert report.built.payload == bytes(range(256))
    assert (artifact.builder, artifact.builds_compared, artifact.payload_size) == (builder, 2, 256)
    assert ("user id" in artifact.variations) == (builder == "sandbox")
    assert {tool.name for tool in artifact.tools} == {"ziglang", "python"}
    assert read_artifact(project / "out") == report.built
    assert sorted(path.name for path in (project / "out").iterdir()) == [
        "artifact.json",
        "payload.bin",
        "sbom.cdx.json",
    ]


def test_what_a_module_says_is_among_its_sources_is_in_its_bill(project: Path, site: Site) -> None:
    """And is what `affected` asks: nobody can see it in the files."""
    manifest = project / "mod" / "module.toml"
    assert "mbedtls" not in {part.name for part in parts_of(json.loads(build(project, site, "host").built.sbom))}
    text = manifest.read_text().replace("assay.module/1", "assay.module/2")
    manifest.write_text(f'{text}\n[[components]]\nname = "mbedtls"\nversion = "2.28.8"\n')
    (part,) = (each for each in parts_of(json.loads(build(project, site, "host").built.sbom)) if each.name == "mbedtls")
    assert (part.version, part.kind) == ("2.28.8", "library")


LEAKS = {
    "folder": "os.getcwd()",
    "clock": "time.time_ns()",
    "source date": "os.environ['SOURCE_DATE_EPOCH']",
    "file time": "os.stat('mod/build.py').st_mtime",
    "user": "getpass.getuser()",
    "home": "os.path.expanduser('~')",
    "umask": "os.umask(0)",
    "mode of outputs": "os.stat(os.open(sys.argv[1] + '/x', os.O_CREAT, 0o666)).st_mode",
    "locale": "os.environ['LC_ALL']",
    "time zone": "time.localtime(0).tm_hour",
    "random": "random.random()",
}


SANDBOX_LEAKS = {"user id": "os.getuid()", "host name": "socket.gethostname()"}


@pytest.mark.parametrize(
    ("builder", "leak"),
    [("host", leak) for leak in LEAKS.values()]
    + [pytest.param("sandbox", leak, marks=needs_sandbox) for leak in (LEAKS | SANDBOX_LEAKS).values()],
)
def test_whatever_leaks_into_an_output_is_fail_and_shown(project: Path, site: Site, builder: str, leak: str) -> None:
    write_script(project, f"leak = str({leak})\nopen(sys.argv[1] + '/payload.bin', 'w').write('a' * 100 + leak)")
    with pytest.raises(UnitFailed, match=r"payload\.bin differs: first at offset 0x[678]") as caught:
        build(project, site, builder)
    kept = project / "out.differing"
    assert str(kept) in caught.value.remedy
    assert (kept / "first/payload.bin").read_bytes() != (kept / "second/payload.bin").read_bytes()
    assert not (project / "out").exists()


@pytest.mark.skipif(not can_pin(), reason="there is one processor, or no taskset")
@pytest.mark.parametrize("builder", BUILDERS)
def test_the_number_of_processors_leaks_into_nothing(project: Path, site: Site, builder: str) -> None:
    write_script(project, "open(sys.argv[1] + '/payload.bin', 'w').write(str(len(os.sched_getaffinity(0))))")
    with pytest.raises(UnitFailed, match=r"payload\.bin differs"):
        build(project, site, builder)


@pytest.mark.skipif(not os.access(MEMORY, os.W_OK), reason=f"{MEMORY} cannot be written")
@pytest.mark.parametrize("builder", BUILDERS)
def test_the_order_of_files_leaks_into_nothing_and_is_claimed(project: Path, site: Site, builder: str) -> None:
    for number in range(12):
        (project / "mod" / "data" / f"part-{number}").write_text("x")
    assert "file order" in build(project, site, builder).built.artifact.variations
    write_script(project, "open(sys.argv[1] + '/payload.bin', 'w').write(str(os.listdir('mod/data')))")
    with pytest.raises(UnitFailed, match=r"payload\.bin differs"):
        build(project, site, builder)


def test_an_order_of_files_that_did_not_differ_is_not_claimed(
    project: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_build, "listed_otherwise", lambda _one, _other: False)
    assert "file order" not in build(project, site).built.artifact.variations


def test_a_file_that_nobody_declared_is_compared_too(project: Path, site: Site) -> None:
    write_script(project, SAME + "\nopen(sys.argv[1] + '/log.txt', 'w').write(os.getcwd())")
    with pytest.raises(UnitFailed, match=r"log\.txt differs"):
        build(project, site)


def test_differences_are_told_with_offset_and_bytes() -> None:
    assert difference({"a": b"same"}, {"a": b"same"}) is None
    assert "b was made by the second build only" in str(difference({"a": b""}, {"a": b"", "b": b""}))
    told = str(difference({"a": b"0123abcd"}, {"a": b"0123abXd"}))
    assert "offset 0x6 (1 bytes in all): 63 64 'cd' in the first build, 58 64 'Xd' in the second" in told
    assert "end of file in the first build" in str(difference({"a": b"12"}, {"a": b"123"}))


def test_a_failing_build_shows_the_end_of_its_output(project: Path, site: Site) -> None:
    write_script(project, "print('first words'); sys.exit('last words')")
    with pytest.raises(UnitFailed, match=r"status 1:\nfirst words\nlast words"):
        build(project, site)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("pass", "did not make payload.bin"),
        ("open(sys.argv[1] + '/payload.bin', 'w')", "made an empty payload.bin"),
        ("os.symlink('/etc/passwd', sys.argv[1] + '/payload.bin')", "is no ordinary file"),
        ("os.mkfifo(sys.argv[1] + '/payload.bin')", "is no ordinary file"),
        (SAME + "\nopen(sys.argv[1] + '/artifact.json', 'w')", "this name is ours"),
    ],
)
def test_outputs_that_are_not_what_was_declared(project: Path, site: Site, body: str, said: str) -> None:
    write_script(project, body)
    with pytest.raises(UnitFailed) as caught:
        build(project, site)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"mod/*.py"', '"absent/**"', "no file below"),
        ('"{out}"', '"{outs}"', "is not known here"),
        ('"{defines}"', '"x{defines}"', "is not known here"),
        ('["payload.bin"]', '["other.bin"]', "is what becomes the image"),
        ("min_revision = 1", "min_revision = 2", "needs revision 2"),
        ('"ast1030-evb"', '"rv32-virt"', "does not run on ast1030-evb"),
        ('"{out}"', '"{image_pubkey}"', "assay keys show image --format pem"),
    ],
)
def test_what_cannot_be_built_is_usage(project: Path, site: Site, old: str, new: str, said: str) -> None:
    assert MODULE.count(old) == 1
    (project / "mod" / "module.toml").write_text(MODULE.replace(old, new))
    with pytest.raises(UsageFault) as caught:
        build(project, site)
    assert said in str(caught.value)
    assert not isinstance(caught.value, ManifestFault) or caught.value.line


def test_a_link_among_the_sources_is_refused(project: Path, site: Site) -> None:
    (project / "mod" / "data" / "link").symlink_to("/etc/passwd")
    with pytest.raises(UsageFault, match="symbolic link"):
        build(project, site)


def test_declared_keys_are_inputs_by_value(project: Path, site: Site) -> None:
    key = Ed25519PrivateKey.generate()
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    (project / "mod" / "module.toml").write_text(MODULE.replace('"{out}"', '"{out}", "{image_pubkey}"'))
    write_script(project, "open(sys.argv[1] + '/payload.bin', 'w').write(open(sys.argv[2]).read())")
    report = build(project, site, keys={"image": pem + "\n"})
    assert report.built.payload.decode() == pem
    assert report.built.artifact.parameters["publicKeys"]["image"]["pem"] == pem
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for bad, said in ((private, "is a private key"), ("nonsense", "not PEM")):
        with pytest.raises(UsageFault, match=said):
            build(project, site, keys={"image": bad})


def test_defines_are_arguments_of_their_own(project: Path, site: Site) -> None:
    write_script(project, "open(sys.argv[1] + '/payload.bin', 'w').write(repr(sys.argv[2:]))")
    report = build(project, site, defines=parse_defines(("B=2", "A=x,y")))
    assert report.built.payload.decode() == "['--define', 'A=x,y', '--define', 'B=2']"
    for bad in ("a=1", "A", "A=a b", "A=$(x)", "=1"):
        with pytest.raises(UsageFault, match="is not a define"):
            parse_defines((bad,))
    with pytest.raises(UsageFault, match="defined twice"):
        parse_defines(("A=1", "A=2"))


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_locale_is_claimed_where_programs_see_it(project: Path, site: Site, builder: str) -> None:
    """It is compiled for the build, since no machine has it; `sort` of the build is the witness."""
    write_script(
        project,
        "import subprocess\nsaid = subprocess.run(['sort'], input=b'B\\na\\nA\\nb\\n', stdout=subprocess.PIPE).stdout\n"
        "open(sys.argv[1] + '/payload.bin', 'wb').write(said if len(sys.argv) > 2 else b'same')",
    )
    seen = "locale" in build(project, site, builder).built.artifact.variations
    assert seen or compiled_locale(site.cache_dir) is None
    if seen:
        with pytest.raises(UnitFailed, match=r"'B\.a\.b\.' in the first build, .* 'a\.B\.b\.' in"):
            build(project, site, builder, defines={"SORTED": "1"})


def test_what_programs_do_not_see_is_not_claimed(project: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_build, "compiled_locale", lambda _cache: None)
    varied = build(project, site).built.artifact.variations
    assert "locale" not in varied or _installed("tr_TR.utf8")
    assert {"folder", "user name", "umask", "time zone", "SOURCE_DATE_EPOCH"} <= set(varied)
    assert seen_otherwise("assay-sees umask\t0022\n", "") == ()


def _installed(locale: str) -> bool:
    listed = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False).stdout
    return locale in listed.split()
