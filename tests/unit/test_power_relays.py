# SPDX-License-Identifier: Apache-2.0
"""Relays as power switches: on a serial port, on the web."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from power_bench import walk
from relay_boards import SerialRelayBoard, WebRelay, on_a_port, web_relay

from assay.drivers.power import switch as switch_module
from assay.drivers.power.serial_relay import frame
from assay.errors import InfrastructureError, LinkError, StorageError, UsageFault
from assay.pipeline.driver_doors import open_power


@pytest.fixture(autouse=True)
def _own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_LOCK_DIR", str(tmp_path / "locks"))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switch_module, "OBEY_S", 0.2)


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
        end_s = time.monotonic() + 60
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
