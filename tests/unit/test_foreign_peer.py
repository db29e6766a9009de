# SPDX-License-Identifier: Apache-2.0
"""Somebody else's board through the command line: on a socket, over UDP, with images that its maker signed.

The pseudo board is held against `smpclient` here, which is nobody's of this project: what it is told is what we are.
"""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import board_server
import pytest
from board_server import on_pty, on_restarting_udp, on_rfc2217, on_tcp, on_udp, on_usb
from click.testing import CliRunner
from pseudo_board import PseudoBoard, Slot
from smpclient import SMPClient
from smpclient.generics import success
from smpclient.requests.image_management import ImageStatesRead, ImageStatesWrite
from smpclient.requests.os_management import ResetWrite
from smpclient.transport.serial import SMPSerialTransport
from test_foreign_image import Maker, imgtool
from test_foreign_modes import image
from usb_host import UsbBoard, lay_out, run_on

from assay.cli.bench_ask import ask
from assay.cli.flash import command
from assay.cli.keys import command as keys
from assay.drivers.port_address import resolved
from assay.errors import LinkError, UsageFault
from assay.formats.trust_file import encode
from assay.model.trust import ImageKey, TrustFile
from assay.pipeline.foreign_flash import BOOTLOADER_IS_MUTE
from assay.pipeline.trust_file import load_trust
from assay.protocols.smp.framing import Framing

UsbHost = tuple[Path, dict[str, str]]
"""Its /sys, and which terminal each of its ports is."""
BOARD = """\
schema = "assay.board/1"
firmware = "mcuboot"
name = "theirs"
revision = 0
[serial]
baud = 115200
framing = "{framing}"
[smp]
info = "their_board"
reset_timeout_s = 10
[mcuboot]
mode = "{mode}"
"""


def test_smpclient_sees_the_same_board() -> None:
    new = image("1.1.0")

    async def update(port: str) -> list[tuple[int, str, bool]]:
        async with SMPClient(SMPSerialTransport(), port) as client:
            async for _ in client.upload(new):
                pass
            told = await client.request(ImageStatesRead())
            assert success(told)
            marked = await client.request(ImageStatesWrite(hash=told.images[1].hash))
            assert success(marked)
            assert success(await client.request(ResetWrite()))
            await asyncio.sleep(1.0)
            after = await client.request(ImageStatesRead())
            assert success(after)
            return [(row.slot, row.version, bool(row.active)) for row in after.images]

    board = PseudoBoard("swap", {(0, 0): Slot(image("1.0.0"))}, newer_than_smp=False)
    with on_pty(board) as port:
        assert asyncio.run(update(port)) == [(0, "1.1.0", True), (1, "1.0.0", False)]
    assert board.asked == ["upload 0 to 1", "mark", "reset"]


class Site:
    """A project with a board TOML and a trust file."""

    def __init__(self, folder: Path, maker: Maker) -> None:
        self.folder, self.maker = folder, maker
        (folder / "boards").mkdir()
        key = ImageKey(name="vendor", boards=("theirs",), public=maker.public("ecdsa-p256"))
        self.trust(key)

    def trust(self, *keys: ImageKey) -> None:
        spare = ImageKey(name="spare", boards=("another",), public=self.maker.public("ed25519"))
        (self.folder / "trust.toml").write_bytes(
            encode(TrustFile(schema="assay.trust/1", name="test", image_keys=(*keys, spare)))
        )

    def record(self) -> dict[str, Any]:
        """The predicate of the flash that was recorded."""
        (file,) = (self.folder / ".assay" / "records").glob("*.json")
        bundle = json.loads(file.read_text())
        predicate: dict[str, Any] = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))["predicate"]
        return predicate

    def flash(
        self, port: str, *data: bytes, mode: str = "swap", framing: str = "console", more: tuple[str, ...] = (),
        place: str = "", recovery: bool = False, json_too: bool = True, on: UsbHost | None = None,
    ):  # fmt: skip
        """`on`: as a process of its own on a host with USB ports."""
        text = BOARD.format(mode=mode, framing=framing)
        if recovery:
            text += f'[recovery]\nenter = "reset"\nframing = "{framing}"\n'
        (self.folder / "boards" / "theirs.toml").write_text(text)
        entry = f'[[places]]\nname = "theirs"\nboard = "theirs"\nport = "{port}"\n{place}'
        (self.folder / "bench.toml").write_text(f'schema = "assay.bench/1"\n{entry}')
        files = []
        for number, each in enumerate(data):
            (self.folder / f"{number}.bin").write_bytes(each)
            files += ["--image", f"{number}={self.folder / f'{number}.bin'}"]
        arguments = ["--place", "theirs", "--trust", str(self.folder / "trust.toml"), *more]
        arguments += ["--json"] if json_too else []
        arguments = [*files, *arguments, "--site", str(self.folder / ".assay")]
        if on is not None:
            done = run_on(on[0], on[1], "flash", *arguments, cwd=self.folder)
            return done.returncode, json.loads(done.stdout)
        answer = CliRunner().invoke(command, arguments)
        told = json_too and answer.stdout
        return answer.exit_code, json.loads(answer.stdout) if told else " ".join(answer.output.split())


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    return Maker(tmp_path_factory.mktemp("maker"))


@pytest.fixture
def site(tmp_path: Path, maker: Maker, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "1")
    return Site(tmp_path, maker)


def pseudo(mode: str = "swap", **more: Any) -> PseudoBoard:
    return PseudoBoard(mode, {(0, 0): Slot(image("1.0.0"))}, **more)


@pytest.mark.parametrize(
    ("serve", "framing"), [(on_tcp, "console"), (on_tcp, "raw"), (on_udp, "raw"), (on_rfc2217, "console")]
)
def test_a_signed_image_by_every_port(site: Site, serve: Any, framing: str, tmp_path: Path) -> None:
    board = pseudo(framing=Framing(framing))
    port: AbstractContextManager[str] = serve(board)
    with port as address:
        status, done = site.flash(address, site.maker.image("ecdsa-p256"), framing=framing)
    assert (status, done["outcome"]) == (0, "PASS"), done
    told = done["images"][0]
    assert (told["signature"], told["key"], told["version"]) == ("verified", "vendor", "1.2.3+4")
    assert board.slots[0, 0].confirmed and board.slots[0, 0].version == "1.2.3+4"


@pytest.mark.parametrize(("serve", "framing"), [(on_usb, "console"), (on_restarting_udp, "raw")])
def test_a_port_that_goes_away_with_the_reset_is_waited_for(
    site: Site, serve: Any, framing: str, tmp_path: Path
) -> None:
    """Else the board would run an image that nobody confirms, and go back with its next reset."""
    board = pseudo(framing=Framing(framing))
    with serve(board, tmp_path / "port") as address:
        status, done = site.flash(address, site.maker.image("ecdsa-p256"), framing=framing)
    assert (status, done.get("outcome")) == (0, "PASS"), done
    assert board.slots[0, 0].confirmed and board.slots[0, 0].version == "1.2.3+4"


@pytest.mark.parametrize(("serve", "framing"), [(on_usb, "console"), (on_restarting_udp, "raw")])
def test_a_port_that_stays_away_is_named(
    site: Site, serve: Any, framing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_server, "AWAY_S", 60.0)
    monkeypatch.setattr("test_foreign_peer.BOARD", BOARD.replace("reset_timeout_s = 10", "reset_timeout_s = 2"))
    with serve(pseudo(framing=Framing(framing)), tmp_path / "port") as address:
        status, done = site.flash(address, site.maker.image("ecdsa-p256"), framing=framing)
    assert status == 3 and "for the app after the reset on" in done["error"], done
    assert "there is no port" in done["error"] or "nobody listens there" in done["error"]


@pytest.mark.parametrize("kind", ["rsa-2048", "rsa-3072", "ecdsa-p384", "ed25519"])
def test_an_image_with_each_kind_of_signature(site: Site, kind: str) -> None:
    site.trust(ImageKey(name="vendor", boards=("theirs",), public=site.maker.public(kind)))
    board = pseudo(framing=Framing.RAW)
    with on_udp(board) as address:
        status, done = site.flash(address, site.maker.image(kind), framing="raw")
    assert (status, done["images"][0]["signature"], done["images"][0]["key"]) == (0, "verified", "vendor"), done
    assert board.slots[0, 0].version == "1.2.3+4"


def test_an_encrypted_image_passes_through_as_it_is(site: Site) -> None:
    imgtool("keygen", "-k", site.folder / "enc.pem", "-t", "x25519")
    public = site.folder / "enc-pub.pem"
    public.write_text(imgtool("getpub", "-k", site.folder / "enc.pem", "-e", "pem"))
    site.trust(ImageKey(name="vendor", boards=("theirs",), public=site.maker.public("ed25519")))
    data = site.maker.image("ed25519", "-E", public)
    board = pseudo(framing=Framing.RAW)
    with on_udp(board) as address:
        status, done = site.flash(address, data, framing="raw")
    assert status == 0, done
    assert board.slots[0, 0].data == data, "the board got the bytes of the file"
    (told,) = site.record()["images"]
    assert (told["encrypted"], told["signature"]) == (True, done["images"][0]["signature"])


@pytest.mark.parametrize("info", ["their_board", None])
def test_message_and_record_say_when_nobody_checked_which_board_it_is(site: Site, info: str | None) -> None:
    """In recovery nothing tells. An app that told before it was reset did tell."""
    board = pseudo(framing=Framing.RAW, in_recovery=info is None)
    more = ("--recovery",) if info else ()
    with on_udp(board) as address:
        status, said = site.flash(
            address, site.maker.image("ecdsa-p256"), framing="raw", more=more, recovery=True, json_too=False
        )
    assert status == 0 and board.asked[-2:] == ["upload 0 to 0", "reset"], said
    record = site.record()
    assert (record["way"], record["says"]) == ("recovery", f"Zephyr {info}" if info else "")
    unchecked = [] if info else [BOOTLOADER_IS_MUTE]
    assert [line for line in record["cannot"] if line.startswith("check of the board")] == unchecked
    assert (f"no {BOOTLOADER_IS_MUTE}" in said) is (info is None)


def test_a_pattern_of_pyserial_finds_the_port(site: Site, tmp_path: Path) -> None:
    """Of two boards of one kind, by pyserial's own look at /sys."""
    lay_out(tmp_path / "sys", [UsbBoard((f"ttyACM{number}",), f"1-{number}", serial=f"00{number}") for number in "01"])
    board, other = pseudo(), pseudo()
    with on_pty(board) as port, on_pty(other) as others:
        host = (tmp_path / "sys", {"ttyACM0": others, "ttyACM1": port})
        status, done = site.flash("hwgrep://VID:PID=1366:1055 SER=001", site.maker.image("ecdsa-p256"), on=host)
        assert status == 0, done
        status, told = site.flash("hwgrep://1366:1055", site.maker.image("ecdsa-p256"), on=host)
    assert status == 2 and "/dev/ttyACM0" in told["error"] and "/dev/ttyACM1" in told["error"], told
    assert (board.slots[0, 0].version, other.slots[0, 0].version, other.asked) == ("1.2.3+4", "1.0.0", [])


def test_what_the_record_says_of_an_image_that_nobody_verified(site: Site) -> None:
    site.trust()
    with on_tcp(pseudo()) as address:
        refused = site.flash(address, site.maker.image("ecdsa-p256"))
        assert refused[0] == 4 and "does not name for this board" in refused[1]["error"]
        status, done = site.flash(address, site.maker.image("ecdsa-p256"), more=("--accept-unverified-image",))
    assert (status, done["images"][0]["signature"], done["images"][0]["key"]) == (0, "unknown-key", None)


def test_a_board_that_refuses_is_a_fail_with_a_record(site: Site) -> None:
    with on_tcp(pseudo(signature_is_good=lambda data: len(data) < 4000)) as address:
        status, done = site.flash(address, site.maker.image("ecdsa-p256"))
    assert (status, done["outcome"]) == (1, "FAIL")
    assert "MCUboot refused its signature" in done["reason"] and done["log_index"] == 0


def test_what_is_asked_of_a_board_is_told_and_nothing_else(site: Site) -> None:
    board = pseudo(told_mode=3)
    with on_tcp(board) as address:
        site.flash(address, b"no image")  # writes the board TOML and the bench file, and is refused
        answer = CliRunner().invoke(ask, ["theirs", "--json", "--site", str(site.folder / ".assay")])
    told = json.loads(answer.stdout)
    assert (told["stage"], told["says"], told["bootloader_mode"]) == ("app", "Zephyr their_board", 3)
    assert [(row["slot"], row["version"]) for row in told["slots"]] == [(0, "1.0.0")]
    assert not board.asked


def test_a_chip_that_nobody_can_compare_is_refused(site: Site) -> None:
    """A place that names its chip must not be flashed whatever answers there."""
    board = pseudo()
    with on_tcp(board) as address:
        status, done = site.flash(address, site.maker.image("ecdsa-p256"), place='chip = "0011"\n')
        answer = CliRunner().invoke(ask, ["theirs", "--json", "--site", str(site.folder / ".assay")])
    assert status == 4 and "chip 0011 has to answer on theirs" in done["error"], done
    assert answer.exit_code == 4 and "cannot be told over SMP" in json.loads(answer.stdout)["error"]
    assert not board.asked


def test_nobody_there_over_udp(site: Site) -> None:
    status, done = site.flash("udp://127.0.0.1:9", site.maker.image("ecdsa-p256"), framing="raw")
    assert status == 3 and "udp://127.0.0.1:9" in done["error"], done
    status, done = site.flash("udp://:9", site.maker.image("ecdsa-p256"), framing="raw")
    assert status == 2 and "udp://HOST" in done["remedy"]
    status, done = site.flash("udp://[::1", site.maker.image("ecdsa-p256"), framing="raw")
    assert status == 2 and "'udp://[::1' is no address" in done["error"], done


def test_a_pattern_that_fits_several_ports_is_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    from serial.tools import list_ports
    from serial.tools.list_ports_common import ListPortInfo

    first, second = ListPortInfo("/dev/ttyACM0"), ListPortInfo("/dev/ttyACM1")
    first.hwid, second.hwid = "USB VID:PID=1366:1055 SER=1", "USB VID:PID=1366:1055 SER=2"
    monkeypatch.setattr(list_ports, "comports", lambda include_links=False: [first, second])
    assert resolved("hwgrep://SER=2") == "/dev/ttyACM1"
    assert resolved("/dev/ttyACM7") == "/dev/ttyACM7"
    with pytest.raises(UsageFault, match=r"fits 2 ports: /dev/ttyACM0 .*SER=1.*/dev/ttyACM1"):
        resolved("hwgrep://1366:1055")
    with pytest.raises(LinkError, match=r"no port fits"):
        resolved("hwgrep://none-such")
    with pytest.raises(UsageFault, match=r"no regular expression"):
        resolved("hwgrep://(")


def test_a_vendors_key_comes_into_the_trust_file(site: Site, tmp_path: Path) -> None:
    vendor = tmp_path / "Their Key.pem"
    vendor.write_text(site.maker.public("rsa-2048"))
    arguments = ["trust", "--site", str(tmp_path / ".assay"), "--out", str(tmp_path / "new.toml")]
    done = CliRunner().invoke(keys, [*arguments, "--image-key", f"theirs={vendor}"])
    assert done.exit_code == 0, done.output
    (key,) = load_trust(tmp_path / "new.toml").image_keys
    assert (key.name, key.boards) == ("their-key", ("theirs",))
    private = CliRunner().invoke(keys, [*arguments, "--image-key", f"theirs={site.maker.key('rsa-2048')}"])
    assert private.exit_code == 2 and "private key" in private.output
    nobody = CliRunner().invoke(keys, [*arguments, "--image-key", f"theirs={tmp_path / 'none.pem'}"])
    assert nobody.exit_code == 2
