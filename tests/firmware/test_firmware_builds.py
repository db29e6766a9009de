# SPDX-License-Identifier: Apache-2.0
"""The build: the same bytes from anywhere, by two compilers, and images that imgtool verifies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import serial
from qemu_board import QemuBoard, send_by_xmodem, wait_for
from signed_build import BOARDS, FIRMWARE, Workshop, imgtool

PARTS = ("rom", "bootloader", "app", "radio")


@pytest.mark.timeout(300)
def test_same_bytes_from_anywhere(workshop: Workshop, tmp_path: Path) -> None:
    """Another source folder, a cold cache, another home, time zone, locale and umask."""
    elsewhere = tmp_path / "a b" / "firmware"
    shutil.copytree(FIRMWARE, elsewhere, ignore=shutil.ignore_patterns("__pycache__"))
    surroundings = {**os.environ, "HOME": str(tmp_path), "TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8", "USER": "nobody"}
    for part in PARTS:
        out = tmp_path / part
        command = [sys.executable, str(elsewhere / "build.py"), "--part", part, "--board-toml", str(workshop.toml),
                   "--out", str(out), "--cache", str(tmp_path / "cold"), "--version", "1.0.0"]  # fmt: skip
        if part == "bootloader":
            command += ["--image-pubkey", str(workshop.key().with_suffix(".pub"))]
        subprocess.run(command, check=True, capture_output=True, env=surroundings, umask=0o077)
        here = workshop.build(part)
        for name in ("payload.bin", "part.elf"):
            assert (out / name).read_bytes() == (here / name).read_bytes(), f"{part}: {name}"
            assert str(tmp_path).encode() not in (out / name).read_bytes()


def test_images_are_valid_for_imgtool(workshop: Workshop, tmp_path: Path) -> None:
    """By the right key, and by no other; and the bootloader fits its area."""
    for image in (workshop.app("1.0.0"), workshop.bootloader()):
        path = tmp_path / "image"
        path.write_bytes(image)
        assert "was correctly validated" in imgtool("verify", "-k", str(workshop.key()), str(path))
        with pytest.raises(RuntimeError):
            imgtool("verify", "-k", str(workshop.key("foreign")), str(path))
    assert len(workshop.bootloader()) <= workshop.layout["flash"]["areas"]["boot"]["size"]


@pytest.mark.timeout(300)
def test_gcc_builds_what_boots(workshop: Workshop, tmp_path: Path) -> None:
    """The same sources by Debian's GCC: from the blank chip to the recovery console."""
    chain = workshop.layout["toolchain"]
    if shutil.which(f"{chain['gcc_prefix']}gcc") is None:
        pytest.skip(f"{chain['gcc_prefix']}gcc is not installed")
    by_gcc = Workshop(workshop.board, tmp_path, workshop.cache, compiler="gcc")
    board = QemuBoard(workshop.toml, by_gcc.build("rom") / "part.elf", tmp_path)
    board.make_blank()
    # The app goes to its slot as a programmer would write it: GCC's bootloader has to accept and start it.
    app = by_gcc.app("1.0.0")
    flash = bytearray(board.flash.read_bytes())
    start = workshop.layout["flash"]["areas"]["primary"]["offset"]
    flash[start : start + len(app)] = app
    board.flash.write_bytes(flash)
    board.on()
    try:
        with serial.Serial(board.port, 115200, timeout=0.05) as link:
            send_by_xmodem(link, by_gcc.bootloader())
            assert "state=confirmed selftest=pass" in wait_for(link, "selftest=(pass|fail).*\n")
        assert board.oracle_hits() == []
    finally:
        board.close()


def test_bad_requests_are_told(tmp_path: Path) -> None:
    """One line, status 1, nothing written."""
    board = str(BOARDS / "ast1030-evb.toml")
    crooked = tmp_path / "crooked.toml"
    crooked.write_text(Path(board).read_text().replace("notes = { offset = 0xe5000", "notes = { offset = 0xe4000"))
    common = ["--board-toml", board, "--out", str(tmp_path / "out"), "--version", "1.0.0"]
    for arguments, told in (
        (["--part", "bootloader", *common], "--image-pubkey is needed"),
        (["--part", "app", *common, "--define", "lower=1"], "--define"),
        (["--part", "app", *common, "--define", 'A="; rm'], "--define"),
        (["--part", "app", *common, "--name", "a b"], "--name"),
        (["--part", "app", "--board-toml", "nowhere.toml", "--out", "x", "--version", "1.0.0"], "nowhere.toml"),
        (["--part", "app", *common, "--board-toml", str(crooked)], "flash areas counters and notes overlap"),
        (["--part", "app", *common, "--define", "SELFTEST_FAULT=99"], "SELFTEST_FAULT names a check"),
    ):
        done = subprocess.run(
            [sys.executable, str(FIRMWARE / "build.py"), *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert told in done.stderr
        assert not (tmp_path / "out" / "payload.bin").exists()
