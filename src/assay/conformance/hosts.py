# SPDX-License-Identifier: Apache-2.0
"""What a host has to do (`interfaces.remote_host.RemoteHost`): `--assay-driver=ssh`, and its address as options, as in
bench.toml: `--assay-driver-option host=10.0.0.7 --assay-driver-option 'host_keys=["ssh-ed25519 AAAA..."]'`.

The suite is about the driver and about the host: its shell, its programs, its SFTP server. It makes a folder there with
mktemp, and removes it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from assay.conformance.driver_choice import DriverChoice, choice_of
from assay.errors import DeviceTimeout, NotVerified, Refused, StorageError, UsageFault
from assay.interfaces.remote_host import STATUS_UNKNOWN, RemoteHost
from assay.model.ssh import SshAddress
from assay.pipeline.driver_doors import open_host

WORDS = ("a b", "", "$(id)", "`id`", "'", '"', "x\ny", "\\", "*", "~", ";", "-n", "$HOME", "\t", "#", "!")
DATA = os.urandom(300_001)
SHA256 = hashlib.sha256(DATA).hexdigest()
Open = Callable[..., RemoteHost]


@pytest.fixture
def choice(request: pytest.FixtureRequest) -> DriverChoice:
    """The host under test."""
    return choice_of(request.config)


@pytest.fixture
def open_it(choice: DriverChoice) -> Open:
    """Opens the host anew; `changes` are fields of its address."""

    def opened(**changes: Any) -> RemoteHost:
        address = SshAddress(**{**choice.options, **changes})
        return open_host(address) if choice.function is None else choice.function(address)

    return opened


@pytest.fixture
def host(open_it: Open) -> Iterator[RemoteHost]:
    """The host."""
    with open_it() as opened:
        yield opened


@pytest.fixture
def folder(host: RemoteHost) -> Iterator[str]:
    """A folder on the host."""
    made = host.run(["mktemp", "-d"])
    path = made.stdout.decode().strip()
    assert made.ok and path.startswith("/"), made
    yield host.run(["readlink", "-f", path]).stdout.decode().strip()
    host.run(["rm", "-r", path])


def test_words_arrive_as_they_left(host: RemoteHost) -> None:
    """Whatever characters are in them."""
    assert host.run(["printf", "%s\\n-\\n", *WORDS]).stdout.decode() == "".join(f"{word}\n-\n" for word in WORDS)


def test_outputs_and_status_are_told_apart(host: RemoteHost) -> None:
    """Both outputs, and a status that is not 0."""
    said = host.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (said.status, said.stdout, said.stderr) == (3, b"out\n", b"err\n")


def test_a_command_that_was_killed_is_no_success(host: RemoteHost) -> None:
    """Its status is unknown, or that of a shell that saw it."""
    said = host.run(["sh", "-c", "kill -9 $$"])
    assert said.status in (STATUS_UNKNOWN, 128 + 9) and not said.ok


def test_what_is_told_arrives_and_comes_back(host: RemoteHost) -> None:
    """A megabyte in and out at once."""
    given = os.urandom(1 << 20)
    assert host.run(["cat"], stdin=given).stdout == given


def test_a_time_limit_is_kept(host: RemoteHost) -> None:
    """The command is named, and the host is usable afterwards."""
    with pytest.raises(DeviceTimeout, match="sleep"):
        host.run(["sleep", "30"], timeout_s=1.0)
    assert host.run(["true"]).ok


def test_a_file_is_in_its_place_whole(host: RemoteHost, folder: str) -> None:
    """And the host's own digest of it is right; it comes back the same; a second time nothing is sent."""
    report = host.put(DATA, f"{folder}/x", SHA256)
    assert (report.size, report.resumed_at, report.sent) == (len(DATA), 0, len(DATA))
    assert host.sha256_of(f"{folder}/x") == SHA256 and host.get(f"{folder}/x", len(DATA)) == DATA
    assert host.run(["ls", folder]).stdout == b"x\n"
    assert host.put(DATA, f"{folder}/x", SHA256).sent == 0


@pytest.mark.parametrize(("there", "resumed"), [(DATA[:200_000], 200_000), (DATA[1:], 0), (DATA + b"x", 0)])
def test_it_goes_on_behind_what_is_right_only(host: RemoteHost, folder: str, there: bytes, resumed: int) -> None:
    """A part from before counts when its bytes are ours."""
    assert host.run(["sh", "-c", 'cat > "$1"', "sh", f"{folder}/x.part"], stdin=there).ok
    report = host.put(DATA, f"{folder}/x", SHA256)
    assert (report.resumed_at, report.sent) == (resumed, len(DATA) - resumed)
    assert host.sha256_of(f"{folder}/x") == SHA256


def test_what_is_not_what_it_should_be_is_not_there(host: RemoteHost, folder: str) -> None:
    """Another digest than was asked for: nothing lies there afterwards."""
    with pytest.raises(NotVerified):
        host.put(DATA, f"{folder}/x", "0" * 64)
    assert host.run(["ls", "-A", folder]).stdout == b""


def test_links_and_folders_are_refused(host: RemoteHost, folder: str) -> None:
    """Also a folder that is reached over a link."""
    for words in (["mkdir", f"{folder}/d"], ["ln", "-s", f"{folder}/d", f"{folder}/l"]):
        assert host.run(words).ok
    for path in (f"{folder}/d", f"{folder}/l", f"{folder}/l/x"):
        with pytest.raises(Refused):
            host.put(DATA, path, SHA256)


def test_files_that_are_not_there(host: RemoteHost, folder: str) -> None:
    """Each way to ask for one says so."""
    with pytest.raises(StorageError):
        host.get(f"{folder}/no", 10)
    with pytest.raises(StorageError):
        host.sha256_of(f"{folder}/no")
    with pytest.raises(StorageError):
        host.put(DATA, f"{folder}/no/x", SHA256)
    with pytest.raises(UsageFault):
        host.put(DATA, "x", SHA256)


def test_another_key_is_refused(open_it: Open) -> None:
    """A host that is not the one that was named."""
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43
    with pytest.raises(Refused), open_it(host_keys=(other,), host_authorities=()) as host:
        host.run(["true"])


def test_it_is_closed_twice_and_used_again(open_it: Open) -> None:
    """A host that was closed connects anew."""
    host = open_it()
    assert host.run(["true"]).ok
    host.close()
    host.close()
    assert host.run(["true"]).ok
    host.wait_up(30.0)
    assert host.run(["true"]).ok
    host.close()
