# SPDX-License-Identifier: Apache-2.0
"""Builds: what leaks into an output is found, what is not declared is not there, what was built is kept and checked."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from assay.backends.builders.git_state import source_state
from assay.backends.builders.sandbox import why_not
from assay.errors import ManifestFault, NotVerified, StorageError, UnitFailed, UsageFault
from assay.model.source_file import SourceFile
from assay.pipeline.artifact_folder import read_artifact
from assay.pipeline.build_recipe import BuildRequest
from assay.pipeline.module_build import SCRATCH, BuildReport, build_module
from assay.pipeline.site import Site
from assay.stages.build.command import parse_defines
from assay.stages.build.comparison import difference

ROOT = Path(__file__).parents[2]
MODULE = """\
schema = "assay.module/1"
name = "tiny"
kind = "app"
version = "1.0.0"
license = "Apache-2.0"
boards = [{ name = "ast1030-evb", min_revision = 1 }]

[build]
command = ["{python}", "mod/build.py", "{out}", "{defines}"]
sources = ["mod/*.py", "mod/data"]
outputs = ["payload.bin"]

[update]
policy = "test-then-confirm"
security_counter = 1
"""
SAME = "open(sys.argv[1] + '/payload.bin', 'wb').write(open('mod/data/blob', 'rb').read())"

needs_sandbox = pytest.mark.skipif(why_not() is not None, reason=f"no sandbox here: {why_not()}")


class NoPause:
    """A clock on which the second build need not wait."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic_s(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        assert seconds > 0


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site")
    site.__dict__["clock"] = NoPause()
    site.keys_dir.mkdir(parents=True)
    (site.keys_dir / "secret.pem").write_text("secret")
    return site


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "boards").mkdir(parents=True)
    (root / "mod" / "data").mkdir(parents=True)
    shutil.copy(ROOT / "boards" / "ast1030-evb.toml", root / "boards")
    (root / "mod" / "module.toml").write_text(MODULE)
    (root / "mod" / "data" / "blob").write_bytes(bytes(range(256)))
    write_script(root, SAME)
    return root


def write_script(root: Path, body: str) -> None:
    (root / "mod" / "build.py").write_text(f"import getpass, os, random, socket, sys, time\n{body}\n")


def request_for(root: Path, builder: str = "host", **more: object) -> BuildRequest:
    request = BuildRequest(root / "mod" / "module.toml", "ast1030-evb")
    return replace(request, builder=builder, **more)  # type: ignore[arg-type]


def build(root: Path, site: Site, builder: str = "host", **more: object) -> BuildReport:
    return build_module(request_for(root, builder, **more), site, root / "out", lambda _line: None)


BUILDERS = ["host", pytest.param("sandbox", marks=needs_sandbox)]


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


@needs_sandbox
@pytest.mark.parametrize(
    "attempt",
    [
        "open('{keys}/secret.pem').read()",
        "os.listdir('{keys}')",
        "open('{root}/../outside.txt').read()",
        "socket.create_connection(('127.0.0.1', {port}), 2)",
        "open('mod/new', 'w')",
        "open('/usr/bin/new', 'w')",
        "open('{root}/mod/data/blob').read()",
        "os.environ['ASSAY_TEST_SECRET']",
        "open('/etc/shadow').read()",
    ],
)
def test_the_sandbox_keeps_a_build_in(project: Path, site: Site, attempt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_TEST_SECRET", "x")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (project.parent / "outside.txt").write_text("x")
        write_script(project, attempt.format(keys=site.keys_dir, port=port, root=project) + "\n" + SAME)
        with pytest.raises(UnitFailed, match="Error"):
            build(project, site, "sandbox")


def test_the_host_builder_gets_a_clean_environment(project: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_TEST_SECRET", "x")
    write_script(project, "os.environ['ASSAY_TEST_SECRET']")
    with pytest.raises(UnitFailed, match="KeyError"):
        build(project, site)


def _build_in_a_process(project: Path, folder: Path) -> None:
    site = Site(folder)
    site.__dict__["clock"] = NoPause()
    build(project, site, "sandbox" if why_not() is None else "host")


def test_a_build_dies_with_assay_and_leaves_nothing_for_the_next(project: Path, site: Site) -> None:
    write_script(project, "time.sleep(3600)")
    worker = multiprocessing.get_context("fork").Process(target=_build_in_a_process, args=(project, site.folder))
    worker.start()
    deadline = time.monotonic() + 30
    while not (scratch := list(Path(tempfile.gettempdir()).glob(f"{SCRATCH}{worker.pid}-*"))):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    while not _scripts_in(scratch[0]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running = _scripts_in(scratch[0])
    os.kill(worker.pid or 0, signal.SIGKILL)
    worker.join()
    while any(Path(f"/proc/{pid}").exists() and _state(pid) != "Z" for pid in running):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not (project / "out").exists()
    write_script(project, SAME)
    build(project, site)
    assert not scratch[0].exists()


def _scripts_in(folder: Path) -> list[int]:
    """Processes of the build script itself: the wrappers around it have begun to watch over it by then."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_text(errors="replace").split("\0")
            except OSError:
                continue
            if words[1:2] == ["mod/build.py"] and str(folder) in words[2]:
                found.append(int(entry.name))
    return found


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def _artifact_in(out: Path, project: Path, folder: Path) -> None:
    site = Site(folder)
    site.__dict__["clock"] = NoPause()
    build_module(request_for(project), site, out, lambda _line: None)


def test_builds_of_the_same_at_once_do_not_disturb_each_other(project: Path, site: Site) -> None:
    workers = [
        multiprocessing.get_context("fork").Process(target=_artifact_in, args=(project / "out", project, site.folder))
        for _ in range(5)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 5
    assert read_artifact(project / "out").payload == bytes(range(256))
    assert not [path for path in project.iterdir() if path.name.startswith(".tmp")]


def test_a_build_that_failed_for_want_of_room_is_no_fail_of_the_sources(
    project: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_script(project, "sys.exit('No space left on device')")
    usage = shutil.disk_usage(project)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage._replace(free=1000))
    with pytest.raises(StorageError, match="no free disk"):
        build(project, site)


def test_an_undeclared_file_is_not_there(project: Path, site: Site) -> None:
    (project / "mod" / "undeclared.txt").write_text("x")
    write_script(project, "open('mod/undeclared.txt').read()")
    with pytest.raises(UnitFailed, match="No such file or directory"):
        build(project, site)


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


def test_the_same_inputs_are_not_built_again(project: Path, site: Site) -> None:
    first = build(project, site)
    again = build(project, site)
    assert (first.from_cache, again.from_cache, again.built) == (False, True, first.built)
    assert not build(project, site, fresh=True).from_cache
    assert not build(project, site, version="1.0.1").from_cache
    assert not build(project, site, defines={"A": "1"}).from_cache
    (project / "mod" / "data" / "blob").write_bytes(b"other")
    assert build(project, site).built.payload == b"other"


@pytest.mark.parametrize("name", ["payload.bin", "artifact.json", "sbom.cdx.json"])
def test_a_changed_cache_is_not_believed(project: Path, site: Site, name: str) -> None:
    built = build(project, site).built
    kept = next((site.cache_dir / "artifacts").glob("*/" + name))
    data = kept.read_bytes()
    kept.write_bytes(data[:-2] + b"??")
    lines: list[str] = []
    report = build_module(request_for(project), site, None, lines.append)
    assert not report.from_cache
    assert report.built == built
    assert "cannot be used" in lines[0]


@pytest.mark.parametrize("name", ["payload.bin", "artifact.json", "sbom.cdx.json"])
def test_a_changed_artifact_is_not_read(project: Path, site: Site, name: str) -> None:
    build(project, site)
    path = project / "out" / name
    path.write_bytes(path.read_bytes()[:-2] + b"??")
    with pytest.raises(NotVerified):
        read_artifact(project / "out")


def test_artifact_json_cannot_name_files_outside(project: Path, site: Site) -> None:
    build(project, site)
    path = project / "out" / "artifact.json"
    document = json.loads(path.read_text())
    document["files"]["../../secret"] = "0" * 64
    path.write_text(json.dumps(document))
    with pytest.raises(NotVerified, match="names a file outside"):
        read_artifact(project / "out")


def test_a_folder_that_is_no_result_is_not_replaced(project: Path, site: Site) -> None:
    (project / "out").mkdir()
    (project / "out" / "precious").write_text("x")
    with pytest.raises(UsageFault, match="holds something else"):
        build(project, site)
    assert (project / "out" / "precious").read_text() == "x"


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(project: Path) -> Path:
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-qm", "x")
    git(project, "remote", "add", "origin", "https://user:token@example.org/x.git")
    return project


def test_the_commit_and_whether_the_inputs_differ_from_it(repository: Path, site: Site) -> None:
    source = build(repository, site).built.artifact.source
    assert (source.commit, source.dirty) == (git(repository, "rev-parse", "HEAD"), False)
    assert source.repository == "https://example.org/x.git"
    (repository / "unrelated").write_text("x")
    assert not build(repository, site).built.artifact.source.dirty
    (repository / "mod" / "data" / "untracked").write_text("x")
    assert build(repository, site).built.artifact.source.dirty
    (repository / "mod" / "data" / "untracked").unlink()
    (repository / "mod" / "build.py").chmod(0o755)
    assert build(repository, site).built.artifact.source.dirty


def test_a_result_from_the_cache_names_the_commit_of_now(repository: Path, site: Site) -> None:
    before = build(repository, site).built.artifact.source.commit
    git(repository, "commit", "-q", "--allow-empty", "-m", "y")
    report = build(repository, site)
    assert report.from_cache
    assert report.built.artifact.source.commit == git(repository, "rev-parse", "HEAD") != before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_repository_of_another_user_is_asked_but_runs_nothing(repository: Path) -> None:
    trap = repository / "trap"
    git(repository, "config", "core.fsmonitor", f"touch {trap}")
    git(repository, "config", "core.pager", f"touch {trap}")
    for path in [repository, *repository.rglob("*")]:
        os.chown(path, 12345, 12345)
    data = (repository / "mod" / "build.py").read_bytes()
    state = source_state(repository, (SourceFile("mod/build.py", False, data),), "0" * 64)
    assert (state.commit is not None, state.dirty, trap.exists()) == (True, False, False)


def test_without_git_there_is_no_commit_and_no_error(
    repository: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    source = build(repository, site).built.artifact.source
    assert (source.commit, source.dirty) == (None, False)
