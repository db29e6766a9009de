# SPDX-License-Identifier: Apache-2.0
"""Provisioning on real firmware: a blank chip becomes a unit; what is wrong is refused before anything is written."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import pty
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from life_site import APP, BOOTLOADER, ROOT, LifeSite, environment, life_site

BOARDS = ("ast1030-evb", "rv32-virt")


IMAGE_MAGIC = (0x96F3B83D).to_bytes(4, "little")  # MCUboot's


@pytest.fixture
def site(tmp_path: Path) -> LifeSite:
    return life_site("ast1030-evb", tmp_path / "site")


def record(site: LifeSite, sha256: str) -> dict[str, object]:
    """The predicate of a record of the site."""
    bundle = json.loads((site.folder / "records" / f"{sha256}.json").read_text())
    predicate: dict[str, object] = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))["predicate"]
    return predicate


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.timeout(300)
def test_a_blank_chip_becomes_a_unit_and_openssl_accepts_its_certificate(board: str, tmp_path: Path) -> None:
    site = life_site(board, tmp_path / "site")
    site.twin("a")
    told = site.good(*site.provision_line("a"))
    assert (told["outcome"], told["serial"], told["emulated"]) == ("PASS", "DEMO-000001", True)
    said = record(site, told["record"])
    assert [step["name"] for step in said["steps"]] == ["write-bootloader", "write-app", "make-identity", "check"]
    assert {one["name"]: one["outcome"] for one in said["measurements"]} == {"boot-time": "PASS", "upload-rate": "PASS"}
    device = tmp_path / "device.der"
    device.write_bytes(base64.b64decode(str(said["certificate_base64"])))
    (ca,) = (site.folder / "device-ca").glob("*.pem")
    openssl = shutil.which("openssl")
    assert openssl, "install openssl: apt-get install openssl"
    pem = tmp_path / "device.pem"
    subprocess.run([openssl, "x509", "-inform", "DER", "-in", str(device), "-out", str(pem)], check=True)
    line = [openssl, "verify", "-x509_strict", "-CAfile", str(ca), str(pem)]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert site.good("log", "verify", "--trust", site.trust)


@pytest.mark.timeout(200)
def test_again_is_fine_and_gives_the_same_unit(site: LifeSite) -> None:
    site.twin("a")
    first = site.good(*site.provision_line("a"))
    again = site.good(*site.provision_line("a", "--serial", first["serial"]))
    assert (again["serial"], again["certificate_sha256"]) == (first["serial"], first["certificate_sha256"])
    details = [step["detail"] for step in record(site, again["record"])["steps"]]
    assert details[0] == f"{BOOTLOADER} is there already"
    assert details[1] == f"{APP}@1.0.0 is there already"
    assert {one["name"]: one["outcome"] for one in again["measurements"]}["upload-rate"] == "SKIPPED"
    other = site.verb(*site.provision_line("a", "--serial", "OTHER-1"))
    assert other.status == 4
    assert first["serial"] in other.data["error"]


@pytest.mark.timeout(200)
def test_a_serial_number_is_never_given_twice_also_when_the_ledger_is_lost(site: LifeSite) -> None:
    for name in ("a", "b", "c"):
        site.twin(name)
    assert site.good(*site.provision_line("a"))["serial"] == "DEMO-000001"
    for file in site.folder.glob("serials.sqlite*"):
        file.unlink()
    taken = site.verb(*site.provision_line("b", "--serial", "demo-000001"))
    assert taken.status == 4, taken.said
    assert site.good(*site.provision_line("b"))["serial"] == "DEMO-000002"
    assert site.good(*site.provision_line("c", "--serial", "LOT-7.A"))["serial"] == "LOT-7.A"


@pytest.mark.parametrize("serial", ["LOT-1/SN15", "..", "a..b", "with space", "x" * 300, "", "-x"])
def test_a_serial_number_that_is_none_is_refused_before_anything_is_written(site: LifeSite, serial: str) -> None:
    site.twin("a")
    before = site.flash_of("a")
    told = site.verb(*site.provision_line("a", f"--serial={serial}"))
    assert told.status == 2
    assert "serial number" in told.data["error"]
    assert site.flash_of("a") == before


def test_a_dry_run_shows_the_steps_and_changes_nothing(site: LifeSite) -> None:
    site.twin("a")
    before = site.flash_of("a")
    told = site.good(*site.provision_line("a", "--dry-run"))
    assert [step["name"] for step in told["steps"]] == ["write-bootloader", "write-app", "make-identity", "check"]
    assert "blank" in told["found"]
    assert site.flash_of("a") == before


def changed_profile(tmp_path: Path, old: str, new: str) -> Path:
    text = (ROOT / "provisioning" / "demo.toml").read_text()
    assert old in text
    profile = tmp_path / "profile.toml"
    profile.write_text(text.replace(old, new))
    return profile


@pytest.mark.parametrize(
    ("old", "new", "status", "words"),
    [
        ("allow_emulated = true", "allow_emulated = false", 4, "emulated"),
        ('boards = ["ast1030-evb", "rv32-virt"]', 'boards = ["rv32-virt"]', 4, "ast1030-evb"),
        ('app = "demo-sensor"', 'app = "other"', 4, "other"),
        ('name = "boot-time"', 'name = "weight"', 2, "weight"),
        ('name = "write-bootloader"', 'name = "check"', 2, "order"),
    ],
)
def test_a_profile_that_does_not_fit_is_refused_before_anything_is_written(
    site: LifeSite, tmp_path: Path, old: str, new: str, status: int, words: str
) -> None:
    site.twin("a")
    before = site.flash_of("a")
    line = [
        changed_profile(tmp_path, old, new) if str(word).endswith("demo.toml") else word
        for word in site.provision_line("a")
    ]
    told = site.verb(*line)
    assert (told.status, words in told.said) == (status, True), told.said
    assert site.flash_of("a") == before


@pytest.mark.timeout(200)
def test_a_unit_out_of_limits_fails_and_the_record_says_why(site: LifeSite, tmp_path: Path) -> None:
    site.twin("a")
    profile = changed_profile(tmp_path, "high = 2000", "high = 0.001")
    line = [profile if str(word).endswith("demo.toml") else word for word in site.provision_line("a")]
    told = site.verb(*line)
    assert told.status == 1
    assert "boot-time" in told.data["reason"]
    assert record(site, told.data["record"])["run"]["outcome"] == "FAIL"
    assert site.good(*site.provision_line("a"))["serial"] == told.data["serial"]


@pytest.mark.parametrize("allow", ["--allow-development", "--allow-emulated"])
def test_a_trust_file_that_does_not_allow_it_refuses(site: LifeSite, tmp_path: Path, allow: str) -> None:
    site.twin("a")
    before = site.flash_of("a")
    trust = tmp_path / "strict.toml"
    site.good("keys", "trust", "--out", trust, "--name", "strict", allow)
    line = [trust if word == site.trust else word for word in site.provision_line("a")]
    assert site.verb(*line).status == 4
    assert site.flash_of("a") == before


def test_an_image_with_a_changed_byte_is_refused_before_anything_is_written(site: LifeSite) -> None:
    site.twin("a")
    before = site.flash_of("a")
    changed = 0
    for blob in (site.folder / "store" / "blobs" / "sha256").iterdir():
        data = bytearray(blob.read_bytes())
        if data.startswith(IMAGE_MAGIC):  # several images are as large as the app
            data[len(data) // 2] ^= 1
            blob.chmod(0o644)
            blob.write_bytes(data)
            changed += 1
    assert changed
    told = site.verb(*site.provision_line("a"))
    assert told.status == 4, told.said
    assert site.flash_of("a") == before


def bench(tmp_path: Path, port: str, board: str) -> Path:
    file = tmp_path / "bench.toml"
    file.write_text(f'schema = "assay.bench/1"\n[[places]]\nname = "bench-1"\nboard = "{board}"\nport = "{port}"\n')
    return file


def test_the_wrong_board_on_the_port_is_refused_before_anything_is_written(site: LifeSite, tmp_path: Path) -> None:
    twin = site.twin("a")
    before = site.flash_of("a")
    site.good("twin", "start", "a")
    try:
        place = bench(tmp_path, str(twin / "tty"), "rv32-virt")
        rv32 = life_site("rv32-virt", tmp_path / "rv32")
        told = rv32.verb(*rv32.provision_line("bench-1", "--bench", place))
    finally:
        site.good("twin", "stop", "a")
    assert told.status == 4, told.said
    assert "ast1030-evb" in told.data["error"]
    assert site.flash_of("a") == before


@contextmanager
def strange_port(noise: bytes) -> Iterator[str]:
    """A port on which something sends `noise` for ever, or nothing at all."""
    ours, theirs = pty.openpty()
    stop = threading.Event()

    def speak() -> None:
        with suppress(OSError):
            os.set_blocking(ours, False)
            while not stop.wait(0.005):
                with suppress(BlockingIOError):
                    if noise:
                        os.write(ours, noise)
                    os.read(ours, 4096)

    speaker = threading.Thread(target=speak)
    speaker.start()
    try:
        yield os.ttyname(theirs)
    finally:
        stop.set()
        speaker.join()
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("noise", [b"", bytes(range(256)), b"login: \r\n"])
def test_a_port_with_noise_or_silence_is_an_error_and_says_nothing_of_the_unit(
    site: LifeSite, tmp_path: Path, noise: bytes
) -> None:
    with strange_port(noise) as port:
        told = site.verb(*site.provision_line("bench-1", "--bench", bench(tmp_path, port, "ast1030-evb")))
    assert told.status == 3, told.said
    assert told.data["remedy"]


def test_a_place_that_is_taken_names_its_holder(site: LifeSite, tmp_path: Path) -> None:
    twin = site.twin("a")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(twin / "tty")], stdout=subprocess.PIPE, env=environment(), cwd=ROOT
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        told = site.verb(*site.provision_line("a"))
        assert told.status == 3
        assert f"pid {holder.pid}" in told.data["error"]
    finally:
        holder.kill()
        holder.wait()
    assert site.verb(*site.provision_line("a", "--dry-run")).status == 0


HOLD = """
import sys, time
from assay.drivers.locks.file_lock import FileLocks
with FileLocks().acquire(sys.argv[1], verb="test"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_an_unknown_place_lists_the_known_ones(site: LifeSite) -> None:
    site.twin("a")
    told = site.verb(*site.provision_line("b"))
    assert told.status == 2
    assert "known: a" in told.data["remedy"]


@pytest.mark.timeout(200)
def test_without_a_durable_record_there_is_no_pass_and_the_next_run_records_it(site: LifeSite) -> None:
    site.twin("a")
    records = site.folder / "records"
    records.rename(site.folder / "kept")
    records.write_text("not a folder")
    told = site.verb(*site.provision_line("a"))
    assert told.status == 5, told.said
    records.unlink()
    (site.folder / "kept").rename(records)
    assert site.good(*site.provision_line("a"))["serial"] == "DEMO-000001"
    serials = [entry.get("serial") for entry in site.good("log", "show")["entries"]]
    assert serials.count("DEMO-000001") == 2, "the record of the first run, and that of the second"


def wire_runs(twin: Path) -> bool:
    """Whether a wire holds the twin: it locks this file for as long as it lives."""
    with (twin / "wire.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def wait_until(holds: Callable[[], bool], timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s, "it never happened"
        time.sleep(0.02)


@pytest.mark.timeout(200)
def test_the_twin_dies_with_the_verb_that_started_it(site: LifeSite) -> None:
    twin = site.twin("a")
    line = site.command(*site.provision_line("a"))
    verb = subprocess.Popen(line, env=environment(), cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: wire_runs(twin), 60)
    finally:
        verb.kill()
        verb.wait()
    wait_until(lambda: not wire_runs(twin), 20)
    assert site.good(*site.provision_line("a"))["serial"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", ["write-bootloader", "write-app"])
@pytest.mark.parametrize("what", ["kill", "cut"])
def test_broken_off_in_the_middle_of_a_transfer_the_next_run_finishes(site: LifeSite, step: str, what: str) -> None:
    """On a line of 115200 bit/s either transfer takes seconds, so this is in the middle of it."""
    site.twin("a")
    site.good("twin", "start", "a", "--baud", "115200")
    try:
        line = site.command(*site.provision_line("a"))
        verb = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), cwd=ROOT)
        wait_until(lambda: was_begun(site, step), 60)
        time.sleep(1.5)
        if what == "kill":
            verb.kill()
        else:
            site.good("twin", "power", "cut", "a", "--force")
            site.good("twin", "power", "on", "a", "--force")
        verb.communicate(timeout=120)
        assert verb.returncode in ((-9,) if what == "kill" else (0, 3))
        site.good("twin", "start", "a", "--baud", "0")
        assert site.good(*site.provision_line("a"))["serial"] == "DEMO-000001"
    finally:
        site.verb("twin", "stop", "a", "--force")


def was_begun(site: LifeSite, step: str) -> bool:
    """What the journal says."""
    try:
        with sqlite3.connect(f"file:{site.folder / 'journal.sqlite'}?mode=ro", uri=True) as journal:
            return journal.execute("SELECT 1 FROM steps WHERE step = ?", (step,)).fetchone() is not None
    except sqlite3.OperationalError:
        return False


def test_sha256_of_the_flash_is_that_of_the_verified_files(site: LifeSite) -> None:
    """What the unit holds afterwards, byte for byte, seen from outside: the very files that were verified."""
    site.twin("a")
    site.good(*site.provision_line("a"))
    flash = site.flash_of("a")
    blobs = {file.name: file.read_bytes() for file in (site.folder / "store" / "blobs" / "sha256").iterdir()}
    said = record(site, site.good(*site.provision_line("a"))["record"])
    for part, offset in (("bootloader", 0x00000), ("app", 0x20000)):
        image = blobs[said[part]["file_sha256"]]
        assert hashlib.sha256(image).hexdigest() == said[part]["file_sha256"]
        assert flash[offset : offset + len(image)] == image
