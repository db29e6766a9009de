# SPDX-License-Identifier: Apache-2.0
"""A sample of the fault campaign on each board, and proof that it finds something where there is something to find."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fault_bench import START_S, Fault, FaultBench
from fault_images import HEADER_BYTES, VECTOR_BYTES, ImageSet
from fault_injection import Scene, weaken
from fault_outcome import DiedAfterwards, EmulatorDied, Outcome
from signed_build import FIRMWARE, Workshop
from twin_verifier import bench_of, bootloader_symbols

CAMPAIGN = FIRMWARE / "tests" / "fault_injection.py"
DECIDES = "^(main|boot_|load|start|judge|image_|parse|take|bytes_|port_jump|ed25519_verify|counter_read|sha256|hash)"
COUNT = 40  # faults of each way in a sample
LOCK_UP = bytes.fromhex("71b6 00de")  # cpsid f; udf: where no exception is taken, an exception
# To the flash controller's registers: the chip's window has no bytes, the next one begins there; then a read from it.
NO_WINDOW = bytes.fromhex("0348 0021 0163 0221 4163 0248 0068 fee7 0000627e 00000080")
# Instead of ed25519_verify: return CRYPTO_OK.
CORTEX_M_ACCEPTS = bytes.fromhex("0048 7047 3c69c35a")
RISC_V_ACCEPTS = bytes.fromhex("3775c35a 1305c593 67800000")
NARROW_NOP = bytes.fromhex("00bf")


def run(workshop: Workshop, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The campaign as a person would start it."""
    command = [sys.executable, str(CAMPAIGN), "--board", workshop.board, "--cache", str(workshop.cache), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.timeout(600)
def test_one_wrong_instruction_starts_no_bad_image(workshop: Workshop) -> None:
    """One bad image, skipped instructions and flipped bits. A number of them, however long the machine takes."""
    seed = {"ast1030-evb": "1", "rv32-virt": "4"}[workshop.board]  # a bad image in the one slot, and in the other
    sample = ("--scenes", "1", "--seed", seed, "--count", str(COUNT), "--seconds", "500", "--only", DECIDES)
    done = run(workshop, *sample, "--way", "skip", "--way", "flip")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^(?:skip|flip) +(\d+) +(\d+) +\d+ +(\d+)(.*)", done.stdout, re.MULTILINE)
    assert len(rows) == 2
    for bad, good, recovery, rest in rows:
        outcomes = [int(bad), int(good), int(recovery), *map(int, rest.split())]
        assert sum(outcomes) == COUNT, done.stdout
        assert int(bad) == 0 and int(good) + int(recovery) >= COUNT // 2, done.stdout


@pytest.mark.timeout(600)
def test_a_board_whose_emulator_gives_up(workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU ends when the core locks up, and when it divides by an empty window. Either is told; the next boot works."""
    if workshop.board != "ast1030-evb":
        pytest.skip("QEMU does not end of anything that this board's core does")
    scene = Scene(ImageSet(workshop), "bad-signature", "primary", "", tmp_path)
    start = scene.symbols["boot_choose"]
    no_window = NARROW_NOP * (start % 4 // 2) + NO_WINDOW  # its literals are words
    with closing(scene.bench()) as bench:
        outcomes = [bench.boot(fault).outcome for fault in (
            Fault(start, LOCK_UP, lasting=True), None, Fault(start, no_window, lasting=True), None)]  # fmt: skip
        assert outcomes == [Outcome.LOCKED_UP, Outcome.RECOVERY, Outcome.NOT_EMULATED, Outcome.RECOVERY]
        monkeypatch.setattr(bench, "_run", dying(bench, signal.SIGKILL))
        with pytest.raises(EmulatorDied, match="QEMU ended with SIGKILL and said nothing"):
            bench.boot(None)


@pytest.mark.timeout(600)
def test_an_emulator_that_dies_of_a_signal(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a fault it is counted and the next boot works; with none set it is an error, or an after-effect."""
    images = ImageSet(workshop)
    fault = Fault(bootloader_symbols(workshop)["boot_choose"], NARROW_NOP, lasting=True)
    with closing(bench_of(images, images.chip("bad-signature", "primary"))) as bench:
        with monkeypatch.context() as patch:
            patch.setattr(bench, "_run", dying(bench, signal.SIGSEGV))
            boot = bench.boot(fault)
            assert boot.outcome is Outcome.EMULATOR_DIED
            assert boot.ended == "QEMU ended with SIGSEGV and said nothing"
            with pytest.raises(EmulatorDied, match="no fault was set: QEMU ended with SIGSEGV"):
                bench.boot(None)
        bench.off()
        bench._on()
        assert bench.boot(None).outcome is Outcome.RECOVERY
        with monkeypatch.context() as patch:
            patch.setattr(bench, "_begin", dying(bench, signal.SIGSEGV))
            bench._carried = True
            with pytest.raises(DiedAfterwards):
                bench.boot(fault)
        assert bench.boot(None).outcome is Outcome.RECOVERY


def dying(bench: FaultBench, number: signal.Signals) -> Callable[..., None]:
    """In the place of one of its methods: QEMU ends, then it is asked for something."""

    def die(*_arguments: Any) -> None:
        assert bench._process is not None
        bench._process.send_signal(number)
        bench._gdb.resume(START_S)

    return die


@pytest.mark.timeout(600)
def test_the_campaign_finds_a_bootloader_that_decides_once(workshop: Workshop) -> None:
    """Without the second decision one skipped branch in main() starts anything."""
    scene = ("--scene", "bad-signature primary", "--way", "skip", "--only", "^main$", "--seconds", "120")
    done = run(workshop, "--weak", *scene)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^FATAL skip: bad-signature in primary: main ", done.stdout, re.MULTILINE)


@pytest.mark.timeout(600)
def test_the_campaign_finds_a_hash_without_bounds(workshop: Workshop) -> None:
    """With the running hash on the stack, one skipped branch in it writes the image over the way back."""
    if workshop.board != "ast1030-evb":
        pytest.skip("no skipped instruction of the code for RISC-V does that")
    scene = ("--scene", "bad-signature primary", "--way", "skip", "--only", "^sha256_update$", "--seconds", "300")
    done = run(workshop, "--weak", "hashes-at-once", *scene)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^FATAL skip: bad-signature in primary: sha256_update ", done.stdout, re.MULTILINE)


def lacking(workshop: Workshop, folder: Path, how: str) -> Workshop:
    """One for the same board in `folder`, whose firmware is weakened by `how`."""
    return Workshop(workshop.board, folder, workshop.cache, firmware=weaken(workshop.firmware, folder, how))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("weak", [False, True])
def test_a_branch_into_what_was_refused(workshop: Workshop, tmp_path: Path, weak: bool) -> None:
    """The memory protection unit of the one board lets nothing run there; the other core could not take that back."""
    workshop = lacking(workshop, tmp_path, "runs-anything") if weak else workshop
    images = ImageSet(workshop)
    recovery = bootloader_symbols(workshop)["smp_image_init"]  # the refused image lies in RAM by then
    code = branch_to(images.app_ram.start + HEADER_BYTES + VECTOR_BYTES, recovery)
    with closing(bench_of(images, images.chip("bad-signature", "primary"))) as bench:
        assert bench.boot(None).outcome == Outcome.RECOVERY
        came_of_it = bench.boot(Fault(recovery, code, lasting=True)).outcome
    runs = weak or workshop.board != "ast1030-evb"
    assert came_of_it == (Outcome.RAN_BAD if runs else Outcome.RECOVERY)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("weak", [False, True])
def test_a_branch_past_both_decisions(workshop: Workshop, tmp_path: Path, weak: bool) -> None:
    """One wrong bit in a call led to where the app is started; there the address is made from what was decided."""
    workshop = lacking(workshop, tmp_path, "jumps-anyway") if weak else workshop
    images, symbols = ImageSet(workshop), bootloader_symbols(workshop)
    recovery = symbols["smp_image_init"]
    with closing(bench_of(images, images.chip("bad-signature", "primary"))) as bench:
        assert bench.boot(None).outcome == Outcome.RECOVERY
        came_of_it = bench.boot(Fault(recovery, branch_to(symbols["leave"], recovery), lasting=True)).outcome
    assert (came_of_it == Outcome.RAN_BAD) is weak, came_of_it


# What a flipped bit did to an instruction: its code, the wrong code, and the bootloader that lacks what is in the way.
WRONG_COPIES = {
    "sha256_update": ("4044", "4244", "writes-code"),  # add r2, r8 for add r0, r8: to address 0, as far as an address
    "note_write": ("0246", "0646", "notes-on-stack"),  # mov r6, r0 for mov r2, r0: what the register held is the length
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("weak", [False, True])
@pytest.mark.parametrize("function", WRONG_COPIES)
def test_a_copy_to_another_place_or_of_another_length(
    workshop: Workshop, tmp_path: Path, function: str, weak: bool
) -> None:
    """A copy over the bootloader's code is a fault, and one over the memory behind a note reaches no stack."""
    if workshop.board != "ast1030-evb":
        pytest.skip("campaigns found these on the other board")
    right, wrong, how = WRONG_COPIES[function]
    workshop = lacking(workshop, tmp_path, how) if weak else workshop
    images, symbols = ImageSet(workshop), bootloader_symbols(workshop)
    payload = (workshop.build("bootloader") / "payload.bin").read_bytes()
    offset = symbols[function] - images.layout["ram"]["boot"]["base"] - HEADER_BYTES
    at = payload.index(bytes.fromhex(right), offset, offset + 160) - offset
    anchor, count, hit = (symbols["image_check_signature"], 1, 2) if function == "sha256_update" else (0, 0, 1)
    fault = Fault(symbols[function] + at, bytes.fromhex(wrong), anchor, count, hit)
    with closing(bench_of(images, images.chip("bad-signature", "primary"))) as bench:
        assert bench.boot(None).outcome == Outcome.RECOVERY
        assert bench.boot(fault).outcome == (Outcome.RAN_BAD if weak else Outcome.RECOVERY)


def branch_to(address: int, at: int) -> bytes:
    """Code for `at` that goes on at `address`, by a register."""
    if address >> 28:  # lui t0; jr t0
        high, low = (address + 0x800) >> 12, address & 0xFFF
        return (high << 12 | 5 << 7 | 0x37).to_bytes(4, "little") + (low << 20 | 5 << 15 | 0x67).to_bytes(4, "little")
    load_and_branch = bytes.fromhex("0048 0047")  # ldr r0, [pc]; bx r0
    return NARROW_NOP * (at % 4 // 2) + load_and_branch + (address | 1).to_bytes(4, "little")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("weak", [False, True])
def test_a_verifier_that_lastingly_accepts_anything(workshop: Workshop, tmp_path: Path, weak: bool) -> None:
    """Nothing runs; without the second question, which must be refused, the bad image does."""
    workshop = lacking(workshop, tmp_path, "accepts-anything") if weak else workshop
    images = ImageSet(workshop)
    verify = bootloader_symbols(workshop)["ed25519_verify"]
    code = RISC_V_ACCEPTS if workshop.board == "rv32-virt" else NARROW_NOP * (verify % 4 // 2) + CORTEX_M_ACCEPTS
    with closing(bench_of(images, images.chip("bad-signature", "primary"))) as bench:
        bench.boot(None)  # notes are written by the first one
        assert bench.boot(None).outcome == Outcome.RECOVERY
        accepted = bench.boot(Fault(verify, code, lasting=True)).outcome
    assert accepted == (Outcome.RAN_BAD if weak else Outcome.RECOVERY)
