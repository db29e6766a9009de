# SPDX-License-Identifier: Apache-2.0
"""A unit's life on each emulated board, from the blank chip to a bad update, with clients that are not ours.

XMODEM by the `xmodem` package, images by `smpclient` (console framing) and `imgtool`, evidence by `cbor2` and
`cryptography`; group 0x4153 by raw framing, so that both framings are used in turn on one port.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import pytest
import serial
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from qemu_board import CHIP_ID, QemuBoard, send_by_xmodem, wait_for
from raw_smp import RawSmp, SmpError
from signed_build import Workshop
from smpclient import SMPClient
from smpclient.generics import error, success
from smpclient.requests.image_management import ImageStatesRead, ImageStatesWrite
from smpclient.requests.os_management import EchoWrite
from smpclient.transport.serial import SMPSerialTransport

READY = "selftest=(pass|fail).*\n"
INFO, KEY, CERTIFICATE, MEASURE, EVIDENCE, HEALTH, NOTES, STATS = range(8)
SERIAL = "T-0001"
WATCHDOG_S = 16.0
CERT = bytes(range(256)) * 4


def image_hash(image: bytes) -> bytes:
    """Header, payload and protected TLVs, by the MCUboot format."""
    header, protected, body = (int.from_bytes(image[a:b], "little") for a, b in ((8, 10), (10, 12), (12, 16)))
    return hashlib.sha256(image[: header + body + protected]).digest()


class Unit:
    """A board and the ways to talk to it."""

    def __init__(self, board: QemuBoard) -> None:
        self.board = board

    def console(self) -> serial.Serial:
        return serial.Serial(self.board.port, 115200, timeout=0.05)

    def ask(self, write: bool, command: int, body: dict[str, Any] | None = None) -> dict[str, Any]:
        with self.console() as link:
            client = RawSmp(link)
            return client.write(command, body or {}) if write else client.read(command, body)

    def refuses(self, write: bool, command: int, body: dict[str, Any]) -> int:
        with pytest.raises(SmpError) as told:
            self.ask(write, command, body)
        assert told.value.group == 0x4153
        return told.value.number

    def reset(self) -> str:
        """Resets by SMP and waits for the app; gives what the console said."""
        with self.console() as link:
            assert RawSmp(link).ask(2, 0, 5, {}) == {}
            return wait_for(link, READY)

    def request(self, request: Any) -> Any:
        async def talk() -> Any:
            async with SMPClient(SMPSerialTransport(), self.board.port) as client:
                return await client.request(request)

        return asyncio.run(talk())

    def upload(self, image: bytes) -> None:
        async def talk() -> None:
            async with SMPClient(SMPSerialTransport(), self.board.port) as client:
                offsets = [offset async for offset in client.upload(image)]
                assert offsets[-1] == len(image)

        asyncio.run(talk())

    def states(self) -> list[dict[str, Any]]:
        answer = self.request(ImageStatesRead())
        assert success(answer)
        return [image.model_dump() for image in answer.images]

    def notes(self) -> list[dict[str, Any]]:
        notes: list[dict[str, Any]] = self.ask(False, NOTES, {"from": 0})["notes"]
        return notes


@pytest.fixture(scope="module")
def unit(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unit]:
    """A blank chip, powered on."""
    folder = tmp_path_factory.mktemp("u")
    board = QemuBoard(workshop.toml, workshop.build("rom") / "part.elf", folder)
    board.make_blank()
    board.on()
    yield Unit(board)
    board.close()


def provision(unit: Unit, workshop: Workshop) -> bytes:
    """Bootloader by the ROM, app by recovery; gives the app's image."""
    app = workshop.app("1.0.0")
    with unit.console() as link:
        boot = workshop.bootloader()
        send_by_xmodem(link, boot)
        said = wait_for(link, "recovery.*\n")
        assert f"ASSAY-ROM 1 written hash={image_hash(boot).hex()}\r\n" in said
        assert f"ASSAY-BOOT 1 recovery board={workshop.board} version=1.0.0 reason=no-image" in said
    info = unit.ask(False, INFO)
    assert (info["stage"], info["board"], info["chip"]) == ("boot", workshop.board, CHIP_ID)
    assert unit.refuses(False, MEASURE, {"slot": 0}) == 7
    assert unit.ask(False, MEASURE, {"slot": 2})["hash"] == image_hash(boot)
    unit.upload(app)
    return app


def make_identity(unit: Unit) -> bytes:
    """Key and certificate; gives the public key."""
    challenge = os.urandom(32)
    made = unit.ask(True, KEY, {"challenge": challenge})
    Ed25519PublicKey.from_public_bytes(made["pubkey"]).verify(
        made["pop"], b"assay-pop-v1\0" + CHIP_ID + challenge + made["pubkey"]
    )
    assert unit.ask(True, KEY, {"challenge": challenge})["pubkey"] == made["pubkey"]
    assert unit.refuses(True, EVIDENCE, {"nonce": bytes(32)}) == 4
    unit.ask(True, CERTIFICATE, {"serial": SERIAL, "cert": CERT})
    unit.ask(True, CERTIFICATE, {"serial": SERIAL, "cert": CERT})
    assert unit.refuses(True, CERTIFICATE, {"serial": "T-0002", "cert": CERT}) == 5
    assert unit.ask(False, CERTIFICATE) == {"serial": SERIAL, "cert": CERT}
    key: bytes = made["pubkey"]
    return key


def evidence(unit: Unit, key: bytes) -> dict[int, Any]:
    """Asks for evidence, checks signature, nonce and that the claims are deterministic; gives them."""
    nonce = os.urandom(32)
    token = cbor2.loads(unit.ask(True, EVIDENCE, {"nonce": nonce})["evidence"])
    assert token.tag == 18
    protected, unprotected, payload, signature = token.value
    assert (cbor2.loads(protected), unprotected) == ({1: -8}, {})
    signed = cbor2.dumps(["Signature1", protected, b"", payload])
    public = Ed25519PublicKey.from_public_bytes(key)
    public.verify(signature, signed)
    with pytest.raises(InvalidSignature):
        public.verify(signature, signed[:-1] + bytes([signed[-1] ^ 1]))
    claims: dict[int, Any] = cbor2.loads(payload)
    assert cbor2.dumps(claims, canonical=True) == payload
    assert claims[10] == nonce
    return claims


def check_evidence(
    unit: Unit, workshop: Workshop, key: bytes, app: bytes, version: str, state: str, since: bool = False
) -> None:
    """All claims, each against what the test itself knows."""
    claims = evidence(unit, key)
    expected = {
        256: b"\x01" + CHIP_ID, 259: workshop.board.encode(), 260: ["1"], 265: "urn:assay:evidence:v2",
        270: "demo-sensor", 271: [version], -75000: image_hash(app), -75001: state,
        -75002: image_hash(workshop.bootloader()), -75003: SERIAL, -75005: "verified-at-boot",
        -75007: since,
    }  # fmt: skip
    assert {name: claims[name] for name in expected} == expected
    assert set(claims) == {*expected, 10, -75004, -75006}


def set_for_test(unit: Unit, image: bytes) -> None:
    """Uploads and asks for a test, by smpclient."""
    unit.upload(image)
    assert unit.ask(False, MEASURE, {"slot": 1})["hash"] == image_hash(image)
    assert success(unit.request(ImageStatesWrite(hash=image_hash(image))))
    assert [state["pending"] for state in unit.states()] == [False, True]


@pytest.mark.timeout(300)
def test_life(unit: Unit, workshop: Workshop) -> None:
    """In order, as a unit lives."""
    old = provision(unit, workshop)
    said = unit.reset()
    assert f"version=1.0.0 board={workshop.board} hash={image_hash(old).hex()} state=confirmed selftest=pass" in said
    answer = unit.request(EchoWrite(d="hello"))
    assert success(answer)
    assert answer.r == "hello"
    key = make_identity(unit)
    check_evidence(unit, workshop, key, old, "1.0.0", "confirmed")
    assert unit.ask(False, HEALTH) == {"state": "pass", "code": 0, "reason": ""}

    # An update that nobody confirms goes back, also through a power cut.
    new = workshop.app("1.1.0", counter="2")
    set_for_test(unit, new)
    assert "version=1.1.0" in unit.reset()
    check_evidence(unit, workshop, key, new, "1.1.0", "testing")
    assert evidence(unit, key)[-75004] == 1
    unit.board.cycle()
    with unit.console() as link:
        assert "version=1.0.0" in wait_for(link, READY)
    assert evidence(unit, key)[-75006] is True
    assert [(note["kind"], note["hash"]) for note in unit.notes()][-1] == (2, image_hash(new)[:8])

    # One that is confirmed stays, and raises the counter: the way down is closed.
    set_for_test(unit, new)
    assert "version=1.1.0" in unit.reset()
    assert error(unit.request(ImageStatesWrite(hash=image_hash(old))))  # the way back is not to be overwritten
    assert success(unit.request(ImageStatesWrite(confirm=True)))
    assert unit.ask(False, INFO)["state"] == "confirmed"
    check_evidence(unit, workshop, key, new, "1.1.0", "testing", since=True)  # the bootloader's word, and the app's
    unit.board.cycle()
    with unit.console() as link:
        assert "version=1.1.0" in wait_for(link, READY)
    check_evidence(unit, workshop, key, new, "1.1.0", "confirmed")
    assert evidence(unit, key)[-75004] == 2
    answer = unit.request(ImageStatesWrite(hash=image_hash(old)))
    unit.reset()
    assert unit.ask(False, INFO)["version"] == "1.1.0"
    assert (unit.notes()[-1]["kind"], unit.notes()[-1]["reason"]) == (3, "downgrade")

    # A bad one goes back by itself, and says why.
    bad = workshop.app("1.2.0", ("SELFTEST_FAULT=5",), counter="2")
    set_for_test(unit, bad)
    with unit.console() as link:
        RawSmp(link).ask(2, 0, 5, {})
        said = wait_for(link, "version=1.1.0.*selftest=pass\r\n")
    assert "ASSAY-APP 1 selftest failed code=5 reason=ram pattern\r\n" in said
    kinds = [(note["kind"], note["code"], note["reason"], note["hash"]) for note in unit.notes()[-2:]]
    assert (1, 5, "ram pattern", image_hash(bad)[:8]) in kinds
    assert kinds[-1] == (2, 0, "not confirmed", image_hash(bad)[:8])
    assert unit.ask(False, MEASURE, {"slot": 0})["hash"] == image_hash(new)
    stats = unit.ask(False, STATS)
    assert stats["stack_free"] > 8192
    assert stats["frames_bad"] == 0

    refuses_what_is_not_for_it(unit, workshop)
    assert unit.board.oracle_hits() == []


def refuses_what_is_not_for_it(unit: Unit, workshop: Workshop) -> None:
    """Images for another board, a newer revision, with a low counter, cut off, with a trailer, a signed entry that
    nobody knows, a dependency on an image that cannot be there, signed by a stranger."""
    payload = workshop.build("app", "1.0.0") / "payload.bin"

    def image(version: str, **changes: str) -> bytes:
        return workshop.sign(payload, "demo-sensor", version, **{"counter": "2", **changes})

    cut_off = image("1.3.0")[:-1]
    for wrong, number in (
        (image("1.3.1", board="other-board"), 10), (image("1.3.2", revision="9"), 15),
        (image("1.3.3", counter="1"), 13), (cut_off, 20), (image("1.3.5", extra="--pad --confirm"), 22),
        (image("1.3.6", extra="--custom-tlv 0x00b0 0x01"), 21), (image("1.3.7", extra="-d (2,1.0.0)"), 23),
    ):  # fmt: skip
        assert upload_error(unit, wrong) == number
    foreign_key = image("1.3.4", key=str(workshop.key("foreign")))
    set_for_test(unit, foreign_key)  # only the bootloader holds the key
    assert "version=1.1.0" in unit.reset()
    note = unit.notes()[-1]
    assert (note["kind"], note["code"], note["reason"]) == (3, 11, "bad-signature")
    assert note["hash"] == image_hash(foreign_key)[:8]


def upload_error(unit: Unit, image: bytes) -> int:
    """Uploads in raw framing until the device says no; gives the number."""
    with unit.console() as link:
        client = RawSmp(link)
        at = 0
        with pytest.raises(SmpError) as told:
            while at < len(image):
                body: dict[str, Any] = {"off": at, "data": image[at : at + 1800]}
                if at == 0:
                    body |= {"image": 0, "len": len(image), "sha": hashlib.sha256(image).digest()}
                at = client.ask(2, 1, 1, body)["off"]
        return told.value.number


@pytest.mark.timeout(200)
def test_hanging_update_goes_back(workshop: Workshop, tmp_path: Path) -> None:
    """An image under test that hangs is ended by the watchdog, and by nothing else: QEMU tells that it was that."""
    board = QemuBoard(workshop.toml, workshop.build("rom") / "part.elf", tmp_path)
    board.make_blank()
    board.on()
    fresh = Unit(board)
    try:
        provision(fresh, workshop)
        fresh.reset()
        set_for_test(fresh, workshop.app("1.1.0", ("APP_HANG=1",)))
        with board.events() as wait_for_event, fresh.console() as link:
            RawSmp(link).ask(2, 0, 5, {})
            wait_for(link, "version=1.1.0 .*state=testing selftest=running\r\n")
            assert wait_for_event("WATCHDOG", 60)["data"] == {"action": "reset"}
            assert "version=1.0.0" in wait_for(link, READY, timeout_s=60)
        assert fresh.notes()[-1]["kind"] == 2
    finally:
        board.close()


@pytest.mark.timeout(200)
def test_a_unit_that_works_is_left_alone(workshop: Workshop, tmp_path: Path) -> None:
    """An image under test that serves feeds the watchdog: no bite in more than its time."""
    board = QemuBoard(workshop.toml, workshop.build("rom") / "part.elf", tmp_path)
    board.program({"boot": workshop.bootloader(), "primary": workshop.app("1.0.0"),
                   "secondary": workshop.app("1.1.0", extra="--pad")})  # fmt: skip
    board.on()
    try:
        with Unit(board).console() as link:
            wait_for(link, "version=1.1.0 .*state=testing selftest=pass\r\n")
        with board.events() as wait_for_event, pytest.raises(TimeoutError):
            wait_for_event("WATCHDOG", WATCHDOG_S + 4)
        assert Unit(board).ask(False, STATS)["boots"] == 1
    finally:
        board.close()


def test_no_entropy_no_key(workshop: Workshop, tmp_path: Path) -> None:
    """A board without entropy makes no key, and makes one when entropy is there again."""
    board = QemuBoard(workshop.toml, workshop.build("rom") / "part.elf", tmp_path)
    board.make_blank()
    board.entropy_on = False
    board.on()
    fresh = Unit(board)
    try:
        provision(fresh, workshop)
        fresh.reset()
        assert fresh.refuses(True, KEY, {"challenge": bytes(32)}) == 3
        board.entropy_on = True
        assert len(fresh.ask(True, KEY, {"challenge": bytes(32)})["pubkey"]) == 32
    finally:
        board.close()


def test_banner_has_no_capital_c(workshop: Workshop, tmp_path: Path) -> None:
    """An XMODEM sender waits for a C: the banner must hold none."""
    board = QemuBoard(workshop.toml, workshop.build("rom") / "part.elf", tmp_path)
    board.make_blank()
    board.on()
    try:
        with serial.Serial(board.port, 115200, timeout=0.05) as link:
            said = wait_for(link, "reason=blank\r\nC")
        assert re.fullmatch(r"[^C]*reason=blank\r\nC", said)
    finally:
        board.close()
