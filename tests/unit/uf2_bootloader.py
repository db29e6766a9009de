# SPDX-License-Identifier: Apache-2.0
"""A mock of a UF2 bootloader: a folder that plays the volume, and a thread that takes the file as a boot ROM does.

Written after the published format: blocks of another family are ignored, and the volume goes with the last block.
"""

from __future__ import annotations

import struct
import threading
import time
from pathlib import Path

INFO = "UF2 Bootloader v3.0\r\nModel: Raspberry Pi RP2\r\nBoard-ID: {board}\r\n"
BLOCK = 512


class Uf2Bootloader:
    """`memory` is by address; one that `keeps` its volume takes nothing, one that
    `returns` is back in its bootloader soon, as if somebody pressed its buttons.
    """

    def __init__(
        self,
        volume: Path,
        board: str = "RPI-RP2",
        family: int = 0xE48BFF56,
        keeps: bool = False,
        returns: bool = False,
    ) -> None:
        self.volume, self.family, self.keeps, self.returns = volume, family, keeps, returns
        self.info = INFO.format(board=board)
        volume.mkdir(parents=True, exist_ok=True)
        (volume / "INFO_UF2.TXT").write_text(INFO.format(board=board))
        self.memory: dict[int, bytes] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Uf2Bootloader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def held(self, address: int, size: int) -> bytes:
        return b"".join(self.memory[at] for at in sorted(self.memory) if address <= at < address + size)[:size]

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._take():
                if not self.returns:
                    return
                time.sleep(1.0)
                (self.volume / "INFO_UF2.TXT").write_text(self.info)
            time.sleep(0.02)

    def _take(self) -> bool:
        for file in self.volume.glob("*.UF2"):
            raw = file.read_bytes()
            seen = set()
            for at in range(0, len(raw) - BLOCK + 1, BLOCK):
                one, two, _flags, address, size, number, count, family = struct.unpack_from("<8I", raw, at)
                assert (one, two) == (0x0A324655, 0x9E5D5157)
                if family == self.family and not self.keeps:
                    self.memory[address] = raw[at + 32 : at + 32 + size]
                    seen.add(number)
                    if len(seen) == count:
                        (self.volume / "INFO_UF2.TXT").unlink()
                        file.unlink()
                        return True
        return False
