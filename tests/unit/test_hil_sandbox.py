# SPDX-License-Identifier: Apache-2.0
"""The sandbox of a suite, tried from inside: what is there, what is not, and with which Pythons it works."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import venv
from dataclasses import replace
from pathlib import Path

import pytest

from assay.errors import UsageFault
from assay.pipeline import test_python, test_sandbox
from assay.pipeline.test_sandbox import SandboxView, check_opened

needs_sandbox = pytest.mark.skipif(bool(test_sandbox.why_not()), reason=test_sandbox.why_not())


@pytest.fixture
def view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SandboxView:
    """A project with a site in it, beside another project, in the home of somebody."""
    home = tmp_path / "home"
    root = home / "project"
    site = root / ".assay"
    for folder in (site / "keys", site / "twins", site / "events" / "suite", home / "other", home / ".ssh"):
        folder.mkdir(parents=True)
    for file in (site / "keys" / "key", home / "other" / "source", home / ".ssh" / "id", root / "boards.toml"):
        file.write_text("secret")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(root)
    return SandboxView(
        shown=(root, site),
        writable=(site / "twins", site / "events"),
        fixed=(site / "events" / "suite",),
        hidden=(site / "keys",),
    )


def inside(view: SandboxView, *command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    read, write = os.pipe()
    try:
        words = [*test_sandbox.walls(view, write), *command]
        return subprocess.run(words, capture_output=True, text=True, pass_fds=(write,), env=env, timeout=60)
    finally:
        os.close(read)
        os.close(write)


def shell(view: SandboxView, script: str) -> str:
    done = inside(view, "/bin/sh", "-c", script)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_sandbox
def test_walls(view: SandboxView) -> None:
    """The keys are gone, the site cannot be written, processes outside are not there, and the copy stays as it is."""
    site, (twins, events), keys = view.shown[1], view.writable, view.hidden[0]
    said = shell(
        view,
        f"""
ls {keys}; touch {site}/new {site.parent}/new {events}/suite/new 2>/dev/null; touch {twins}/new {events}/new
ls -d /proc/[0-9]* | wc -l; cat /proc/{os.getpid()}/root{keys}/key 2>/dev/null; true
""",
    )
    assert int(said) <= 6
    assert {path.parent for path in site.parent.rglob("new")} == {twins, events}
    assert (keys / "key").read_text() == "secret"


@needs_sandbox
def test_nobodys_files_are_there(view: SandboxView, tmp_path: Path) -> None:
    home = tmp_path / "home"
    there = shell(view, f"ls -A {home} /tmp /run /home /root /mnt /srv /opt /var /sys 2>/dev/null; cat boards.toml")
    assert there.splitlines()[-1] == "secret", "the project can be read, and is where we stand"
    assert ".ssh" not in there and "other" not in there
    assert shell(view, f"ls -A {home}").split() == ["project"]
    (tmp_path.parent / "beside").touch()
    assert "beside" not in shell(view, f"ls -A {tmp_path.parent}")
    assert inside(view, "/bin/cat", "/etc/shadow").returncode != 0
    assert "ok" in shell(view, f"touch {home}/x /tmp/x && echo ok"), "there is room, and it goes with the sandbox"
    assert not (home / "x").exists()


@needs_sandbox
def test_there_is_no_network_unless_it_is_opened(view: SandboxView) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        reach = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5)"
        assert inside(view, sys.executable, "-c", reach).returncode != 0
        assert inside(replace(view, network=True), sys.executable, "-c", reach).returncode == 0
        by_network = replace(view, ports=(f"socket://127.0.0.1:{server.getsockname()[1]}",))
        assert inside(by_network, sys.executable, "-c", reach).returncode == 0


@needs_sandbox
def test_a_terminal_of_a_twin_is_there_and_no_other_one(view: SandboxView, tmp_path: Path) -> None:
    ours, port = os.openpty()
    theirs, other = os.openpty()
    link = tmp_path / "tty"
    link.symlink_to(os.ttyname(port))
    try:
        opened = replace(view, ports=(str(link),))
        assert shell(opened, "ls /dev/pts").split() == [Path(os.ttyname(port)).name]
        shell(opened, f"echo hello > {os.ttyname(port)}")
        assert os.read(ours, 5) == b"hello"
        assert inside(opened, "/bin/sh", "-c", f"echo hello > {os.ttyname(other)}").returncode != 0
        assert "tty" not in shell(opened, "ls /dev").split()
    finally:
        for descriptor in (ours, port, theirs, other):
            os.close(descriptor)


@needs_sandbox
def test_a_board_may_vanish_and_come_back_so_its_devices_stay(view: SandboxView) -> None:
    """/dev/null stands for a port here: what matters is that it is no pseudo-terminal."""
    there = shell(replace(view, ports=("/dev/null",)), "ls /dev; ls /dev/pts | wc -l; ls -A /dev/shm | wc -l")
    assert {path.name for path in Path("/dev").iterdir()} <= set(there.split())
    assert there.split()[-2:] == ["0", "0"]


@needs_sandbox
def test_what_is_opened_can_be_read_or_written(view: SandboxView, tmp_path: Path) -> None:
    other = tmp_path / "home" / "other"
    read = replace(view, opened=(str(other),))
    assert shell(read, f"cat {other}/source") == "secret"
    assert inside(read, "/bin/sh", "-c", f"echo x > {other}/source").returncode != 0
    shell(replace(view, opened=(f"{other}:rw",)), f"echo x > {other}/source")
    assert (other / "source").read_text() == "x\n"


@pytest.mark.parametrize("what", ["", "other", "project/.assay", "project/.assay/keys/key", "link", "nowhere"])
def test_nothing_that_shows_the_keys_is_opened(view: SandboxView, tmp_path: Path, what: str) -> None:
    home, keys = tmp_path / "home", view.hidden[0]
    (home / "link").symlink_to(home / "project")
    if what == "other":
        check_opened([f"{home / what}:rw"], keys)
        return
    with pytest.raises(UsageFault, match="no such path" if what == "nowhere" else "would show this site's keys"):
        check_opened([str(home / what)], keys)
    for other in ("other", "/proc", f"/proc/{os.getpid()}:rw"):
        with pytest.raises(UsageFault):
            check_opened([other], keys)


@needs_sandbox
@pytest.mark.parametrize("kind", ["venv", "ours", "link to sources"])
def test_a_python_of_any_place_works(view: SandboxView, tmp_path: Path, kind: str) -> None:
    """An environment in the project, as nox makes it; the one of this test; packages that are linked by a .pth file."""
    program = sys.executable
    sources = tmp_path / "home" / "elsewhere"
    if kind != "ours":
        env = tmp_path / "home" / "envs" / "tests"
        venv.create(env, with_pip=False, symlinks=True)
        program = str(env / "bin" / "python")
    if kind == "link to sources":
        sources.mkdir()
        (sources / "linked.py").write_text("")
        packages = next(env.glob("lib/python*/site-packages"))
        (packages / "linked.pth").write_text(f"{sources}\n")
    source = Path(test_python.__file__)
    found = subprocess.run(
        [program, "-c", f"exec(open({str(source)!r}).read()); print(*python_paths(), sep='\\n')"],
        capture_output=True, text=True, check=True, env={"HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]},
    ).stdout.split("\n")  # fmt: skip
    shown = tuple(Path(line) for line in found if line)
    script = "import encodings, ssl, sqlite3, sys" + (", linked" if kind == "link to sources" else "")
    done = inside(replace(view, shown=(*view.shown, *shown)), program, "-P", "-c", f"{script}; print(sys.prefix)")
    assert done.returncode == 0, done.stderr
    if kind != "ours":
        assert done.stdout.strip() == str(env)


def test_paths_that_only_this_process_was_told_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert tmp_path not in test_python.python_paths()
    monkeypatch.delenv("PYTHONPATH")
    assert tmp_path in test_python.python_paths()


def test_assay_of_a_users_folder_is_found_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pip install --user`: the folder is shown, and the test process may use it; else it may not."""
    import importlib.metadata
    import site

    user = tmp_path / "site-packages"
    (user / "assay-9.dist-info").mkdir(parents=True)
    (user / "assay-9.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: assay\nVersion: 9\n")
    monkeypatch.setattr(site, "getusersitepackages", lambda: str(user))
    monkeypatch.setattr(site, "ENABLE_USER_SITE", True)
    monkeypatch.setattr(sys, "path", [*sys.path, str(user)])
    assert not test_python.lives_in_user_site()
    assert user not in test_python.python_paths()
    there = importlib.metadata.Distribution.at(user / "assay-9.dist-info")
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _name: there)
    assert test_python.lives_in_user_site()
    assert user in test_python.python_paths()
