# SPDX-License-Identifier: Apache-2.0
"""What must hold when something is wrong: one clear message that says what to do, the right status, nothing half done.

Each verb that touches a unit is run as a user runs it, on real firmware; afterwards the unit, the log and the store are
what they were, and the same verb passes as soon as the fault is gone. What is shown end to end elsewhere:

- serial numbers that are none: `test_provision` (given), `test_trace_site` (asked for);
- a serial number is never given twice: `test_provision`, `test_kills`, `test_provision_kills`;
- SIGKILL and power cuts at any moment: `test_kills`, `kill_campaign`, `test_update`;
- a record that cannot be written while a unit is provisioned: `test_provision`;
- a cable that is pulled, a device that reboots for ever, one that floods: `test_bad_ports`;
- a second test run on a port in use: `test_hil`; a twin in use that is to be switched off: `test_twin_cli`;
- the wrong board, noise and silence while a unit is provisioned: `test_provision`;
- statements and images of a site whose keys are not trusted: `test_flash`;
- a changed byte in whatever the demo leaves: `test_demo`, `test_trace_site`, `test_trace_verify`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from boxed_site import boxed, boxes_work
from life_site import APP, LIVE, ROOT, LifeSite, Told, environment, life_site, unit_site

from assay.backends.stores.oci_layout import OciLayoutStore
from assay.model.statement import PredicateType

pytestmark = pytest.mark.timeout(300)
needs_box = pytest.mark.skipif(not boxes_work(), reason="no user namespaces here: a full disk cannot be made")
BOARD = "ast1030-evb"
OTHER_BOARD = "rv32-virt"
UNIT_VERBS = ("provision", "flash", "update", "test", "evidence")
IMAGE_VERBS = ("provision", "flash", "update", "test")
"""The verbs that ask the release gate."""
UART = 0x7E784000
VECTORS_B = 64
NOISE_B = 64
SIGNATURE_TLV_B = 68


@pytest.fixture
def site(tmp_path: Path) -> LifeSite:
    """Twin `a` is unit DEMO-000001 and runs 1.0.0."""
    return unit_site(BOARD, tmp_path / "site")


def line(site: LifeSite, verb: str, place: str = "a", *more: str | Path) -> tuple[str | Path, ...]:
    """The command line of a verb that passes on a unit in order."""
    trusted = ("--place", place, "--trust", site.trust, *more)
    lines: dict[str, tuple[str | Path, ...]] = {
        "provision": site.provision_line(place, *more),
        "flash": ("flash", f"{APP}@1.1.0", *trusted),
        "update": site.update_line("1.1.0", place, *more),
        "test": (
            *("test", ROOT / "suites" / APP, "--release", f"{APP}@1.0.0", "--results", site.folder / "results"),
            *trusted,
        ),
        "evidence": ("evidence", *trusted),
    }
    return lines[verb]


def state(site: LifeSite, verb: str = "test", flash: Path | None = None) -> dict[str, str]:
    """What must not change: flash and store, by digest; and the log, but for a test: it is recorded in any case."""
    files = [flash or site.folder / "twins" / "a" / "flash.bin"]
    for folder in ("store",) if verb == "test" else ("store", "log", "records"):
        files += sorted(path for path in (site.folder / folder).rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def assert_clear(told: Told, status: int, *words: str) -> None:
    """One document with the right status, that says what happened and what to do."""
    assert told.status == told.data["status"] == status, told.said
    message = told.data.get("error") or told.data["reason"]
    assert all(word in message for word in words), told.said
    assert told.data.get("remedy") or status == 1, told.said


# Two at once


def test_two_verbs_on_one_port(site: LifeSite) -> None:
    """Of two updates at once one passes; the other is told by whom the place is held."""

    def update() -> Told:
        return site.verb(*line(site, "update"))

    with ThreadPoolExecutor() as pool:
        first, second = sorted(
            (each.result() for each in [pool.submit(update), pool.submit(update)]), key=lambda told: told.status
        )
    assert first.status == 0, first.said
    assert_clear(second, 3, "assay update (pid ")


def test_another_program_has_the_port_open(site: LifeSite, tmp_path: Path) -> None:
    """A terminal program that knows nothing of our locks is named too."""
    tty = site.folder / "twins" / "a" / "tty"
    site.good("twin", "start", "a")
    script = "import serial, sys, time; port = serial.Serial(sys.argv[1]); print('up', flush=True); time.sleep(99)"
    with subprocess.Popen([sys.executable, "-c", script, str(tty)], stdout=subprocess.PIPE) as terminal:
        try:
            assert terminal.stdout is not None
            assert terminal.stdout.readline() == b"up\n"
            before = state(site)
            for verb in UNIT_VERBS:
                assert_clear(site.verb(*line(site, verb)), 3, f"(pid {terminal.pid})")
        finally:
            terminal.kill()
    site.good("twin", "stop", "a")
    assert state(site) == before


# Boards and ports that are not what the bench says


@pytest.mark.parametrize("verb", [verb for verb in UNIT_VERBS if verb != "provision"])
def test_a_board_of_the_wrong_kind(verb: str, site: LifeSite, tmp_path: Path) -> None:
    """The bench says rv32-virt, on the port is an ast1030-evb."""
    other = life_site(OTHER_BOARD, tmp_path / "other")
    flash = site.folder / "twins" / "a" / "flash.bin"
    site.good("twin", "start", "a")
    try:
        before = state(other, verb, flash)
        place = bench(tmp_path, site.folder / "twins" / "a" / "tty", OTHER_BOARD)
        told = other.verb(*line(other, verb, "bench-1", "--bench", place))
    finally:
        site.good("twin", "stop", "a")
    assert_clear(told, 4, BOARD, OTHER_BOARD)
    assert state(other, verb, flash) == before


@pytest.mark.parametrize("verb", [verb for verb in UNIT_VERBS if verb != "provision"])
def test_a_unit_that_was_swapped_since_the_scan(verb: str, site: LifeSite, tmp_path: Path) -> None:
    """The bench says which chip is in that place; another one of the same board answers."""
    flash = site.folder / "twins" / "a" / "flash.bin"
    site.good("twin", "start", "a")
    try:
        before = state(site, verb, flash)
        file = tmp_path / "bench.toml"
        place = f'name = "bench-1"\nboard = "{BOARD}"\ntwin = "a"\nchip = "{"00" * 16}"\n'
        file.write_text(f'schema = "assay.bench/1"\n[[places]]\n{place}')
        told = site.verb(*line(site, verb, "bench-1", "--bench", file))
        assert state(site, verb, flash) == before
    finally:
        site.good("twin", "stop", "a")
    assert_clear(told, 4, "00" * 16)


def bench(tmp_path: Path, port: Path | str, board: str) -> Path:
    file = tmp_path / "bench.toml"
    file.write_text(f'schema = "assay.bench/1"\n[[places]]\nname = "bench-1"\nboard = "{board}"\nport = "{port}"\n')
    return file


@pytest.mark.parametrize(
    ("noise", "verbs"),
    [(b"", UNIT_VERBS), (b"\x8f\x06\t\x04\x14U\xaaZ" * 8, ("update", "test"))],  # noise costs a processor each
    ids=["silence", "noise"],
)
def test_a_twin_that_answers_nothing_that_counts(
    noise: bytes, verbs: tuple[str, ...], site: LifeSite, tmp_path: Path
) -> None:
    """The chip's ROM hangs, or writes noise for ever; every verb gives up and says what came instead."""
    rom = tmp_path / "rom.elf"
    rom.write_bytes(noise_rom(noise))
    for verb in verbs:
        twin = site.folder / "twins" / verb
        shutil.copytree(site.folder / "twins" / "a", twin, ignore=LIVE)
        settings = json.loads((twin / "twin.json").read_text())
        (twin / "twin.json").write_text(json.dumps({**settings, "rom": str(rom)}))
    before = {verb: site.flash_of(verb) for verb in verbs}
    with ThreadPoolExecutor() as pool:
        answers = {verb: pool.submit(site.verb, *line(site, verb, verb)) for verb in verbs}
    for answer in answers.values():
        assert_clear(answer.result(), 3, "instead of an answer" if noise else "nothing came")
    assert {verb: site.flash_of(verb) for verb in verbs} == before


def noise_rom(noise: bytes) -> bytes:
    """An ELF for the Cortex-M4 of the board that writes `noise` (NOISE_B bytes) to the console for ever, or hangs."""
    writes = (
        0x4B05,  # ldr r3, =UART
        0xA106,  # adr r1, noise
        0x2200,  # again: movs r2, #0
        0x5C88,  # next: ldrb r0, [r1, r2]
        0x6018,  # str r0, [r3]
        0x3201,  # adds r2, #1
        0x2A00 | NOISE_B,  # cmp r2, #NOISE_B
        0xD1FA,  # bne next
        0xE7F8,  # b again
        *[0xBF00] * 3,  # nop
    )
    hangs = (0xBF30, 0xE7FD, *[0xBF00] * (len(writes) - 2))  # wfi; b to it
    vectors = struct.pack("<II56x", 0x20000, VECTORS_B + 1)
    code = struct.pack(f"<{len(writes)}HI", *(writes if noise else hangs), UART)
    image = vectors + code + noise
    ident = b"\x7fELF\x01\x01\x01" + bytes(9)
    elf = ident + struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, VECTORS_B + 1, 52, 0, 0x05000000, 52, 32, 1, 40, 0, 0)
    return elf + struct.pack("<8I", 1, 84, 0, 0, len(image), len(image), 5, 4) + image


# Images that must not be written


def unsigned(image: bytes) -> bytes:
    """The image without its signature, as `imgtool sign` without a key makes it."""
    head, protected, size = struct.unpack_from("<HHI", image, 8)
    info = head + protected + size  # magic and length of the TLVs behind it; the signature is the last one
    magic, length = struct.unpack_from("<HH", image, info)
    assert struct.unpack_from("<HH", image, len(image) - SIGNATURE_TLV_B) == (0x24, 64)
    return image[:info] + struct.pack("<HH", magic, length - SIGNATURE_TLV_B) + image[info + 4 : -SIGNATURE_TLV_B]


def foreign(image: bytes) -> bytes:
    """The image, signed by somebody else: its hash and key id are right."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    at = image.rindex(struct.pack("<HH", 0x24, 64)) + 4
    return image[:at] + Ed25519PrivateKey.generate().sign(image_hash(image)) + image[at + 64 :]


def image_hash(image: bytes) -> bytes:
    at = image.rindex(struct.pack("<HH", 0x10, 32)) + 4
    return image[at : at + 32]


def changed(image: bytes) -> bytes:
    """The image with one byte of its payload changed."""
    at = len(image) // 2
    return image[:at] + bytes([image[at] ^ 1]) + image[at + 1 :]


def put_in_store(site: LifeSite, change: Callable[[bytes], bytes]) -> None:
    """Each app in the store with a changed image, in a store that is whole by itself: all its digests are right."""
    old = OciLayoutStore(site.folder / "store")
    releases = [(release, old.get(release.image.file_sha256)) for release in old.releases()]
    new = OciLayoutStore(site.folder / "new-store")
    for release, image in releases:
        put = change(image) if release.name == APP else image
        sha256 = new.put(put)
        for attestation in release.attestations.values():
            new.put(old.get(attestation))
        about = release.image.model_copy(update={"file_sha256": sha256, "size": len(put)})
        new.publish(release.model_copy(update={"image": about}))
    shutil.rmtree(site.folder / "store")
    (site.folder / "new-store").rename(site.folder / "store")


@pytest.mark.parametrize(
    ("change", "words"),
    [(changed, "the image was changed"), (unsigned, "not a signed image"), (foreign, "the signature of the image")],
    ids=["changed", "unsigned", "foreign"],
)
@pytest.mark.parametrize("verb", IMAGE_VERBS)
def test_an_image_that_is_not_the_signed_one(
    verb: str, change: Callable[[bytes], bytes], words: str, site: LifeSite
) -> None:
    """The store was made again around another image, so that only signatures can tell."""
    put_in_store(site, change)
    before = state(site, verb)
    told = site.verb(*line(site, verb))
    assert_clear(told, 4, words)
    assert state(site, verb) == before


@pytest.mark.parametrize("verb", IMAGE_VERBS)
def test_an_image_whose_statements_are_gone(verb: str, site: LifeSite) -> None:
    """Without its provenance an image is not enough, however well it is signed."""
    store = OciLayoutStore(site.folder / "store")
    for release in store.releases():
        if release.name == APP:
            provenance = release.attestations[PredicateType.PROVENANCE.value]
            (site.folder / "store" / "blobs" / "sha256" / provenance).unlink()
    before = state(site, verb)
    told = site.verb(*line(site, verb))
    assert_clear(told, 4, "provenance statement")
    assert state(site, verb) == before


@pytest.mark.parametrize("verb", IMAGE_VERBS)
def test_an_image_for_another_board(verb: str, site: LifeSite, tmp_path: Path) -> None:
    """Its release says the board of the unit, the signed image says another."""
    other = life_site(OTHER_BOARD, tmp_path / "other")
    shutil.copytree(site.folder / "twins", other.folder / "twins", ignore=LIVE)
    store = OciLayoutStore(other.folder / "store")
    releases = list(store.releases())
    for release in releases:
        relabelled = release.artifact.model_copy(update={"board": BOARD})
        store.publish(release.model_copy(update={"board": BOARD, "artifact": relabelled}))
    before = state(other, verb)
    told = other.verb(*line(other, verb))
    assert_clear(told, 4, f"is for {OTHER_BOARD}, not for {BOARD}")
    assert state(other, verb) == before


# A machine that lacks something


@pytest.mark.parametrize("verb", UNIT_VERBS)
def test_qemu_missing(verb: str, site: LifeSite, tmp_path: Path) -> None:
    """Everything else is on the PATH."""
    path = tmp_path / "bin"
    path.mkdir()
    for program in ("git", "bwrap"):
        if found := shutil.which(program):
            (path / program).symlink_to(found)
    before = state(site, verb)
    done = subprocess.run(
        site.command(*line(site, verb)),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment() | {"PATH": str(path)},
    )
    told = Told(done.returncode, json.loads(done.stdout), done.stdout + done.stderr)
    assert_clear(told, 3, "qemu-system-arm is not installed")
    assert told.data["remedy"] == "sudo apt-get install -y qemu-system-arm"
    assert state(site, verb) == before


# Disks


@needs_box
@pytest.mark.parametrize("verb", [verb for verb in UNIT_VERBS if verb != "provision"])
def test_a_record_folder_that_cannot_be_written(verb: str, site: LifeSite) -> None:
    """The work may be done; it is not called PASS, and is recorded as soon as that is possible."""
    with boxed(site) as box:
        box.read_only("records")
        told = box.verb(*line(box, verb))
        assert_clear(told, 5, "Read-only file system", str(box.folder / "records"))
        box.read_only("records", on=False)
        box.good(*line(box, verb))
        assert box.good("log", "verify", "--trust", box.trust)


@needs_box
@pytest.mark.parametrize("free_kib", [0, 200])
@pytest.mark.parametrize("verb", UNIT_VERBS)
def test_no_free_disk(verb: str, free_kib: int, site: LifeSite) -> None:
    """Nothing at all is free, or too little: then an ERROR or NOT RECORDED; with room again the same verb passes."""
    with boxed(site) as box:
        box.fill(free_kib)
        told = box.verb(*line(box, verb))
        if told.status or not free_kib:
            assert told.status in (3, 5), told.said
            assert_clear(told, told.status)
            assert any(word in told.data["remedy"] for word in ("disk space", "room")), told.said
        box.make_room()
        box.good(*line(box, verb))
        assert box.good("log", "verify", "--trust", box.trust)
        assert box.good("trace", "DEMO-000001", "--trust", box.trust)
