# SPDX-License-Identifier: Apache-2.0
"""A signer process that begins before it is asked, and what a process that was forked takes over of its parent's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from assay.backends.signers import service
from assay.backends.signers.service import SignerProcess
from assay.errors import InfrastructureError
from assay.model.trust import Role


@pytest.fixture
def keys_dir(tmp_path: Path) -> Path:
    """A folder of development keys, with the log's."""
    first = SignerProcess(tmp_path / "keys")
    first.public_key(Role.LOG)
    first.close()
    return tmp_path / "keys"


def test_it_has_begun_when_it_is_asked(keys_dir: Path) -> None:
    signers = SignerProcess(keys_dir)
    assert signers.pid is None
    signers.start_ahead()
    pid = signers.pid
    assert pid is not None
    signers.start_ahead()
    assert signers.public_key(Role.LOG).development
    assert signers.pid == pid, "it was started twice"
    signers.close()
    assert not Path(f"/proc/{pid}").exists()


def test_one_that_died_before_it_was_asked(keys_dir: Path) -> None:
    signers = SignerProcess(keys_dir)
    signers.start_ahead()
    pid = signers.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert signers.public_key(Role.LOG).development
    assert signers.pid != pid
    signers.close()


def test_what_is_wrong_is_told_when_it_is_asked(keys_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    signers = SignerProcess(keys_dir)
    signers.start_ahead()
    with pytest.raises(InfrastructureError, match="cannot be started"):
        signers.public_key(Role.LOG)


def test_ctrl_c_while_it_begins(keys_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a message would be the beginning of the next one."""
    signers = SignerProcess(keys_dir)

    def interrupted(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[:5])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(service, "_write_all", interrupted)
        with pytest.raises(KeyboardInterrupt):
            signers.start_ahead()
    monkeypatch.setattr(service, "ANSWER_TIMEOUT_S", 200.0)
    assert signers.public_key(Role.LOG).development
    signers.close()


def test_a_forked_process_knows_the_keys_and_starts_its_own(keys_dir: Path) -> None:
    """One of several places: the public key came with it, the signer is its own."""
    signers = SignerProcess(keys_dir)
    signers.public_key(Role.LOG)
    pid = signers.pid
    child = os.fork()
    if child == 0:
        known = signers.pid is None and signers.public_key(Role.LOG).development and signers.pid is None
        signers.start_ahead()
        own = signers.pid not in (None, pid) and bool(signers.uri(Role.LOG))
        signers.close()
        os._exit(0 if known and own else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert signers.uri(Role.LOG).startswith("file2:")
    assert signers.pid == pid, "the child closed its parent's"
    signers.close()


def test_a_key_in_a_file_loads_no_client_of_a_cloud(keys_dir: Path) -> None:
    """ADR 0325: each signer process would load what is installed of them."""
    pytest.importorskip("boto3")
    words = """
import sys
from pathlib import Path
from assay.backends.signers.role_keys import RoleKeys, open_signer
keys = RoleKeys(Path(sys.argv[1]), Path(sys.argv[1]), {})
from assay.model.trust import Role
signature = open_signer(keys.place(keys.folder.role_key(Role.LOG))).sign(b"x")
assert len(signature) == 64
assert not {"boto3", "securesystemslib.signer"} & sys.modules.keys(), "loaded"
"""
    done = subprocess.run([sys.executable, "-c", words, keys_dir], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_ctrl_c_while_it_ends(keys_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next question goes to another one, not into a pipe that is closed already."""
    signers = SignerProcess(keys_dir)
    stop = service._stop

    def interrupted(process: subprocess.Popen[bytes], owner_pid: int) -> None:
        stop(process, owner_pid)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(service, "_stop", interrupted)
        signers.start_ahead()
    with pytest.raises(KeyboardInterrupt):
        signers.close()
    assert signers.public_key(Role.LOG).development
    signers.close()
