# SPDX-License-Identifier: Apache-2.0
"""The verifier of a board's own bootloader, asked in the emulated board: the code that a unit runs, in its memory.

QEMU boots the bootloader up to its start. From there its `ed25519_verify` is called through the debugger stub, on key,
signature and message in the RAM of the app, which nobody uses yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fault_bench import FaultBench
from fault_images import ImageSet, machine_of
from fault_plan import functions
from signed_build import Workshop

ALIGN_BYTES = 16  # of each argument in RAM
OK = 0x5AC3693C  # CRYPTO_OK of assay_crypto.h
FAIL = 0xA53C96C3  # CRYPTO_FAIL


def bootloader_symbols(workshop: Workshop) -> dict[str, int]:
    """Addresses of its functions. Raises RuntimeError if what has names is not what units get."""
    built = workshop.build("bootloader", symbols=True)
    if (built / "payload.bin").read_bytes() != (workshop.build("bootloader") / "payload.bin").read_bytes():
        raise RuntimeError("a bootloader with symbols is another one than the one without")
    thumb = machine_of(workshop.layout).pc == 15
    return {function.name: function.start for function in functions(built / "part.elf", thumb)}


def bench_of(images: ImageSet, chip: bytes) -> FaultBench:
    """The emulated board with this chip, and the ROM and bootloader of the workshop."""
    rom = images.workshop.build("rom") / "part.elf"
    return FaultBench(images, rom, bootloader_symbols(images.workshop), chip)


class TwinVerifier:
    """One emulated board that stands at its bootloader's start."""

    def __init__(self, workshop: Workshop) -> None:
        images = ImageSet(workshop)
        self._ram = images.app_ram
        self._bench = bench_of(images, images.empty_chip())
        self._bench.start()

    def close(self) -> None:
        """Switches the board off."""
        self._bench.close()

    def verify(self, key: bytes, message: bytes, signature: bytes) -> bool:
        """What the bootloader's verifier says. Raises RuntimeError if it says neither yes nor no."""
        places, at = [], self._ram.start
        for data in (signature, message, key):
            self._bench.write(at, data)
            places.append(at)
            at += -(-len(data) // ALIGN_BYTES) * ALIGN_BYTES
        if at > self._ram.stop:
            raise RuntimeError(f"a message of {len(message)} bytes does not fit into the board's memory")
        said = self._bench.call("ed25519_verify", places[0], places[1], len(message), places[2])
        if said not in (OK, FAIL):
            raise RuntimeError(f"the verifier says {said:#x}")
        return said == OK


def answers_of_board(workshop: Workshop, asked: Iterable[Sequence[bytes]]) -> list[bool]:
    """What it says of each key, message and signature. Raises RuntimeError, OSError."""
    verifier = TwinVerifier(workshop)
    try:
        return [verifier.verify(key, message, signature) for key, message, signature in asked]
    finally:
        verifier.close()
