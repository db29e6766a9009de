# SPDX-License-Identifier: Apache-2.0
"""Power switches: each driver against what it talks to, as far as that can exist without the hardware."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import serial
import serial.rfc2217
from relay_boards import SerialRelayBoard, WebRelay, on_a_port, web_relay

from assay.drivers.power import switch as switch_module
from assay.drivers.power.serial_relay import frame
from assay.drivers.serial_transport import open_serial
from assay.errors import InfrastructureError, LinkError, StorageError, ToolMissing, UsageFault
from assay.interfaces.power import Power
from assay.pipeline.driver_doors import open_power

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_LOCK_DIR", str(tmp_path / "locks"))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switch_module, "OBEY_S", 0.2)


def walk(power: Power) -> None:
    """On, on again, cycle, off, off again, cut: the state is what it was told."""
    for action, state in ((power.on, True), (power.on, True), (power.cycle, True), (power.off, False)):
        action()
        assert power.is_on() is state
    power.off()
    power.on()
    power.cut()
    assert power.is_on() is False


# The serial relay


def test_a_serial_relay_with_feedback() -> None:
    board = SerialRelayBoard()
    with on_a_port(board) as port:
        walk(open_power("serial-relay", port, {"channel": 2, "feedback": True}))
        assert board.states == {2: False}


def test_a_serial_relay_without_feedback_is_believed_what_it_was_told() -> None:
    board = SerialRelayBoard(feedback=False)
    with on_a_port(board) as port:
        walk(open_power("serial-relay", port, {}))
        end_s = time.monotonic() + 10
        while board.received[:4] != bytes.fromhex("a00101a2") and time.monotonic() < end_s:
            time.sleep(0.01)
        assert board.received[:4] == bytes.fromhex("a00101a2")
    assert frame(1, 0) == bytes.fromhex("a00100a1")


def test_a_relay_that_sticks_is_told(impatient: None) -> None:
    with on_a_port(SerialRelayBoard(stuck=True)) as port:
        power = open_power("serial-relay", port, {"feedback": True})
        with pytest.raises(InfrastructureError, match="told to switch on and still says off"):
            power.on()


def test_a_relay_that_is_no_relay_is_told() -> None:
    with on_a_port(SerialRelayBoard(feedback=False)) as port, pytest.raises(InfrastructureError) as told:
        open_power("serial-relay", port, {"feedback": True}).is_on()
    assert told.value.message == f"channel 1 of the relay at {port} does not answer"


def test_a_relay_that_is_unplugged_is_told() -> None:
    with pytest.raises(LinkError, match="there is no port /dev/no-relay"):
        open_power("serial-relay", "/dev/no-relay", {}).on()


# The web relay


@pytest.fixture
def relay() -> Iterator[WebRelay]:
    with web_relay() as server:
        yield server


@pytest.mark.parametrize(("kind", "channel"), [("shelly", 0), ("shelly1", 1), ("tasmota", 1)])
def test_a_web_relay(kind: str, channel: int, relay: WebRelay) -> None:
    power = open_power("http", relay.address, {"kind": kind, "channel": channel})
    power.on()
    assert relay.on[channel]
    walk(power)
    assert not relay.on[channel]


def test_a_relay_by_its_urls(relay: WebRelay) -> None:
    options = {
        "on": "http://{address}/relay/{channel}?turn=on",
        "off": "http://{address}/relay/{channel}?turn=off",
        "channel": 1,
    }
    walk(open_power("http", relay.address, options))
    assert relay.asked[0] == "/relay/1?turn=on" and not any(path == "/relay/1" for path in relay.asked)


def test_a_web_relay_with_a_password(relay: WebRelay, tmp_path: Path) -> None:
    relay.authorization = "Basic YWRtaW46c2VjcmV0"  # admin:secret
    (tmp_path / "password").write_text("secret\n")
    options = {"kind": "shelly1", "user": "admin", "password_file": str(tmp_path / "password")}
    walk(open_power("http", relay.address, options))
    with pytest.raises(InfrastructureError, match="answers 401"):
        open_power("http", relay.address, {"kind": "shelly1"}).on()
    with pytest.raises(StorageError, match="cannot read"):
        open_power("http", relay.address, {**options, "password_file": str(tmp_path / "gone")})


def test_a_web_relay_that_does_not_obey_or_answer(relay: WebRelay, impatient: None) -> None:
    relay.stuck = True
    power = open_power("http", relay.address, {"kind": "shelly"})
    with pytest.raises(InfrastructureError, match="told to switch on and still says off"):
        power.on()
    relay.redirect = f"http://{relay.address}/relay/0?turn=on"
    with pytest.raises(InfrastructureError, match="answers 302"):
        power.on()
    assert not any(relay.on.values())
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(InfrastructureError, match=r"does not answer: .*refused"):
            open_power("http", address, {"kind": "shelly"}).on()


def test_an_answer_that_says_neither_is_told(relay: WebRelay) -> None:
    options = {"on": "http://{address}/relay/0?turn=on", "off": "http://{address}/relay/0?turn=off",
               "status": "http://{address}/relay/0", "is_on": "YES", "is_off": "NO"}  # fmt: skip
    with pytest.raises(InfrastructureError, match="says neither on nor off"):
        open_power("http", relay.address, options).is_on()


@pytest.mark.parametrize(
    ("address", "options", "says"),
    [
        ("h", {}, "has a kind, or URLs"),
        ("h", {"kind": "kettle"}, "no relay of kind 'kettle'"),
        ("", {"kind": "shelly"}, "at ''"),
        ("", {"on": "file:///etc/passwd", "off": "http://h/"}, "no URL of a relay"),
        ("[::1", {"kind": "shelly"}, "the URL on is none"),
        ("h:port", {"kind": "shelly"}, "the URL on is none"),
        ("h", {"kind": "tasmota", "channel": "x y"}, "holds a blank"),
        ("h", {"on": "http://h/1", "off": "http://h/0\r\nX: y"}, "the URL off of the relay at h holds a blank"),
        ("h", {"on": "http://h/1", "off": "http://h/0", "status": "http://h/"}, "needs is_on and is_off"),
        ("h", {"on": "http://h/1", "off": "http://h/0", "is_on": "("}, "no regular expression"),
    ],
)
def test_a_wrong_web_relay_is_told(address: str, options: dict[str, object], says: str) -> None:
    with pytest.raises(UsageFault, match=says):
        open_power("http", address, options)


@pytest.mark.parametrize("url", ["http://admin:geheim@relay.test/on", "ftp://admin:geheim@relay.test/on"])
def test_a_password_in_a_url_is_refused_and_not_told(url: str) -> None:
    with pytest.raises(UsageFault, match=r"has a user in it") as told:
        open_power("http", "", {"on": url, "off": "http://relay.test/off"})
    assert "geheim" not in f"{told.value} {told.value.message} {told.value.remedy}"
    with pytest.raises(UsageFault) as told:
        open_power("http", "admin:geheim@relay.test", {"kind": "shelly"})
    assert "geheim" not in f"{told.value.message} {told.value.remedy}"


# Programs


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def file_commands(state: Path) -> dict[str, tuple[str, ...]]:
    """A switch that is a file: on when it is there."""
    return {"on": ("touch", str(state)), "off": ("rm", "-f", str(state)), "status": ("test", "-e", str(state))}


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


# uhubctl: the real program finds no hub here, so a script says what it prints where there is one

UHUBCTL = """
state={state}
case "$*" in
  "-l 1-1 -p 2 -a on") echo 1 > $state;;
  "-l 1-1 -p 2 -a off") echo 0 > $state;;
  "-l 1-1 -p 2") ;;
  *) echo "No compatible devices detected!" >&2; exit 1;;
esac
echo "Current status for hub 1-1 [05e3:0608 USB2.0 Hub, USB 2.00, 4 ports, ppps]"
if [ "$(cat $state)" = 1 ]; then echo "  Port 2: 0103 power enable connect [1366:1055 SEGGER J-Link 000683000001]"
else echo "  Port 2: 0000 off"; fi
"""


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


SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
needs_sshd = pytest.mark.skipif(not Path(SSHD).exists(), reason="openssh-server is not installed")


@contextmanager
def sshd(folder: Path) -> Iterator[tuple[str, ...]]:
    """A real sshd on loopback for this user; gives the words for ssh that know its key."""
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    (folder / "authorized").write_bytes((folder / "user.pub").read_bytes())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": folder / "host", "PidFile": folder / "pid",
        "AuthorizedKeysFile": folder / "authorized", "StrictModes": "no", "UsePAM": "no",
        "PasswordAuthentication": "no", "PermitRootLogin": "prohibit-password",
    }  # fmt: skip
    (folder / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd shuts its unprivileged part in
    log = (folder / "sshd.log").open("wb")
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
    key = (folder / "host.pub").read_text().split()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {key[0]} {key[1]}\n")
    try:
        end_s = time.monotonic() + 30
        while time.monotonic() < end_s:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, (folder / "sshd.log").read_text()
            time.sleep(0.05)
        (folder / "ssh_config").write_text(
            f"UserKnownHostsFile {folder / 'known'}\nGlobalKnownHostsFile /dev/null\nStrictHostKeyChecking no\n"
            "NoHostAuthenticationForLocalhost yes\nIdentitiesOnly yes\n"
        )
        yield "-p", str(port), "-i", str(folder / "user"), "-F", str(folder / "ssh_config")
    finally:
        server.terminate()
        server.wait()
        log.close()


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


# Control lines, through a real RFC 2217 server


@contextmanager
def rfc2217() -> Iterator[tuple[str, serial.SerialBase]]:
    """A port server on loopback, as ser2net is; behind it pyserial's loop, whose RTS is its own CTS."""
    port = serial.serial_for_url("loop://", timeout=0.05)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(link: socket.socket) -> None:
        with link:
            manager = serial.rfc2217.PortManager(port, _Writer(link))
            with suppress(OSError):
                while data := link.recv(1024):
                    port.write(b"".join(manager.filter(data)))
                    if echoed := port.read(port.in_waiting):
                        link.sendall(b"".join(manager.escape(echoed)))

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"rfc2217://127.0.0.1:{listener.getsockname()[1]}", port
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


class _Writer:
    def __init__(self, link: socket.socket) -> None:
        self._link = link

    def write(self, data: bytes) -> None:
        self._link.sendall(data)


def line_is(port: serial.SerialBase, line: str, state: bool) -> bool:
    end_s = time.monotonic() + 5
    while getattr(port, line) != state and time.monotonic() < end_s:
        time.sleep(0.01)
    return bool(getattr(port, line)) is state


@pytest.mark.parametrize(("line", "inverted"), [("dtr", False), ("rts", True)])
def test_a_control_line_of_the_units_own_port(line: str, inverted: bool) -> None:
    with rfc2217() as (address, port):
        transport = open_serial(address)
        power = open_power("control-line", "", {"line": line, "inverted": inverted}, transport)
        walk(power)
        power.on()
        assert line_is(port, line, not inverted)
        power.off()
        assert line_is(port, line, inverted)
        transport.close()


def test_a_port_without_control_lines_is_told(tmp_path: Path) -> None:
    with on_a_port(SerialRelayBoard()) as port:
        power = open_power("control-line", port, {})
        with pytest.raises(LinkError, match="does not set DTR"):
            power.on()
    with pytest.raises(UsageFault, match="no control line"):
        open_power("control-line", "x", {"line": "cts"})


# GPIO: the real library; this kernel has no chip


def test_a_gpio_chip_that_is_not_there_is_told() -> None:
    power = open_power("gpio", "/dev/gpiochip-none", {"line": 3})
    for action in (power.on, power.is_on):
        with pytest.raises(LinkError, match="line 3 of /dev/gpiochip-none cannot be used"):
            action()
    with pytest.raises(LinkError):
        open_power("gpio", "/dev/null", {"line": 0}).on()


def test_gpio_without_its_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gpiod", None)
    with pytest.raises(ToolMissing) as told:
        open_power("gpio", "/dev/gpiochip0", {"line": 1})
    assert "assay[gpio]" in told.value.remedy


# A person

ASK = """
import sys
from assay.errors import AssayError
from assay.drivers.power.manual import open_manual
try:
    open_manual("the plug of desk").on()
    print("SWITCHED")
except AssayError as error:
    print("NOT:", error.message)
"""


def on_a_terminal(code: str, answer: bytes) -> str:
    """Run Python with a controlling terminal, and type `answer` once it asks."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", code])
    said, answered, end_s = b"", False, time.monotonic() + 60
    try:
        while time.monotonic() < end_s:
            try:
                data = os.read(terminal, 1024)
            except OSError:
                break
            said += data
            if b"press Enter" in said and not answered:
                os.write(terminal, answer)
                answered = True
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
    return said.decode()


def test_a_person_is_asked_and_waited_for() -> None:
    said = on_a_terminal(ASK, b"\n")
    assert ">>> Switch the plug of desk ON" in said and "SWITCHED" in said


def test_a_person_may_say_no() -> None:
    assert "NOT: the plug of desk was not switched" in on_a_terminal(ASK, b"n\n")


def test_without_a_terminal_nobody_is_asked() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, text=True, timeout=60, start_new_session=True, check=False
    )
    assert "NOT: the power of this place is switched by a person, and there is no terminal" in done.stdout


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
