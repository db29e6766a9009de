# SPDX-License-Identifier: Apache-2.0
"""Power switches behind a program: of this host, `uhubctl`, over SSH; and `assay power`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from power_bench import UHUBCTL, file_commands, program, sshd, walk
from ssh_server import needs_sshd

from assay.errors import InfrastructureError, ToolMissing, UsageFault
from assay.pipeline.driver_doors import open_power

ROOT = Path(__file__).parents[2]


def test_a_switch_behind_a_program(tmp_path: Path) -> None:
    walk(open_power("program", "", file_commands(tmp_path / "a b; $(touch x)")))
    options = {"on": ("touch", "{address}"), "off": ("rm", "-f", "{address}")}
    walk(open_power("program", str(tmp_path / "b"), options))


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        (("no-such-program",), ToolMissing, "no-such-program is not installed"),
        (("sh", "-c", "echo the fuse is out >&2; exit 4"), InfrastructureError, "status 4, and says: the fuse is out"),
        (("sh", "-c", "echo trying; echo no; exit 4"), InfrastructureError, r"status 4, and says: no \(run"),
    ],
)
def test_a_program_that_fails_is_told(words: tuple[str, ...], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        open_power("program", "", {"on": words, "off": words}).on()


def test_a_program_by_its_path_is_no_package(tmp_path: Path) -> None:
    words = (str(tmp_path / "switch"),)
    with pytest.raises(ToolMissing) as told:
        open_power("program", "", {"on": words, "off": words}).on()
    assert told.value.remedy == "put it there, or correct its path"


def test_a_command_that_is_a_text_is_refused() -> None:
    with pytest.raises(UsageFault, match="is no command"):
        open_power("program", "", {"on": "switch on", "off": ("x",)})


# uhubctl


def test_uhubctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "state").write_text("0")
    program(tmp_path, "uhubctl", UHUBCTL.format(state=tmp_path / "state"))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    walk(open_power("uhubctl", "1-1", {"port": 2}))
    with pytest.raises(InfrastructureError, match="No compatible devices detected"):
        open_power("uhubctl", "1-1", {"port": 3}).is_on()


@pytest.mark.skipif(shutil.which("uhubctl") is None, reason="uhubctl is not installed")
def test_the_real_uhubctl_without_a_hub() -> None:
    with pytest.raises(InfrastructureError, match="uhubctl failed with status 1"):
        open_power("uhubctl", "99-1", {"port": 1}).on()


def test_uhubctl_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolMissing, match="uhubctl is not installed") as told:
        open_power("uhubctl", "1-1", {"port": 1}).on()
    assert told.value.remedy == "apt-get install uhubctl"


@pytest.mark.parametrize(("address", "port"), [("", 1), ("1-1;x", 1), ("1-1", 0), ("1-1", True)])
def test_a_wrong_hub_is_told(address: str, port: object) -> None:
    with pytest.raises(UsageFault):
        open_power("uhubctl", address, {"port": port})


# SSH, against a real sshd


@needs_sshd
def test_a_switch_behind_ssh(tmp_path: Path) -> None:
    state = tmp_path / "it's $(here); on"
    with sshd(tmp_path) as words:
        walk(open_power("ssh", "127.0.0.1", {**file_commands(state), "options": words}))
        open_power("ssh", "127.0.0.1", {**file_commands(state), "options": words}).on()
        assert state.exists(), "the words arrived as they left"


@needs_sshd
def test_a_host_whose_key_is_not_known_is_refused(tmp_path: Path) -> None:
    with sshd(tmp_path) as words:
        (tmp_path / "known").write_text("")
        power = open_power("ssh", "127.0.0.1", {**file_commands(tmp_path / "s"), "options": words})
        with pytest.raises(InfrastructureError, match=r"ssh does not get there: .*[Nn]o .*host key is known"):
            power.on()
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("-o", "StrictHostKeyChecking=no"),
        ("-ostricthostkeychecking no",),
        ("-To", "UserKnownHostsFile=/dev/null"),
        ("-o", "GlobalKnownHostsFile /dev/null"),
        ("-o", "KnownHostsCommand=/bin/keyscan %H"),
        ("-o", "HostKeyAlias=other"),
        ("-o", "NoHostAuthenticationForLocalhost=yes"),
        ("-o", "VerifyHostKeyDNS=yes"),
    ],
)
def test_the_check_of_a_hosts_key_is_not_turned_off(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageFault, match="decides which host keys are accepted"):
        open_power("ssh", "127.0.0.1", {"on": ("true",), "off": ("true",), "options": words})


@needs_sshd
def test_a_command_that_fails_there_is_told(tmp_path: Path) -> None:
    with sshd(tmp_path) as words:
        options = {"on": ("sh", "-c", "echo no fuse >&2; exit 3"), "off": ("true",), "options": words}
        with pytest.raises(InfrastructureError, match="status 3, and says: no fuse"):
            open_power("ssh", "127.0.0.1", options).on()


def test_an_ssh_host_is_no_option() -> None:
    with pytest.raises(UsageFault, match="no host for ssh"):
        open_power("ssh", "-oProxyCommand=x", {"on": ("true",), "off": ("true",)})


# The verb


def test_the_verb_switches_a_place(tmp_path: Path) -> None:
    (tmp_path / "boards").symlink_to(ROOT / "boards")
    state = tmp_path / "state"
    words = {key: json.dumps(list(value)) for key, value in file_commands(state).items()}
    options = ", ".join(f"{key} = {value}" for key, value in words.items())
    (tmp_path / "bench.toml").write_text(
        'schema = "assay.bench/1"\n[[places]]\nname = "desk"\nboard = "rv32-virt"\nport = "/dev/none"\n'
        f'power = {{ driver = "program", options = {{ {options} }} }}\n'
        '[[places]]\nname = "bare"\nboard = "rv32-virt"\nport = "/dev/none2"\n'
    )

    def power(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "assay", "power", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert power("on", "desk").stdout == "desk: power on\n" and state.exists()
    assert json.loads(power("cut", "desk", "--json").stdout)["power"] == "off"
    assert not state.exists()
    refused = power("on", "bare")
    assert refused.returncode == 2 and "place bare has no power switch" in refused.stderr
