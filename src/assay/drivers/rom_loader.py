# SPDX-License-Identifier: Apache-2.0
"""The loader in a chip's mask ROM, over XMODEM-1K (docs: reference/device, ROM loader).

Guards: only a banner of the ROM starts a transfer; the hash that is given back is the one that the ROM read back from
flash, in its own words.
Leaves to others: the bytes of XMODEM (`protocols.xmodem`), and which image may be sent (the stages).
"""

from __future__ import annotations

import re
import time

from assay.errors import DeviceTimeout, LinkError
from assay.interfaces.device import DeviceRefusal, Progress
from assay.interfaces.loader import RomBanner
from assay.interfaces.transport import Transport
from assay.protocols.xmodem import State, XmodemSender

READ_MAX = 4096  # bytes in one go
START_TIMEOUT_S = 5.0  # the ROM says `C` once a second
BLOCK_TIMEOUT_S = 3.0  # a block takes 90 ms at 115200 bit/s
STALL_BLOCKS = 5  # block time-outs without a block taken: a chip that restarted says its banner for ever and takes none
WRITTEN_TIMEOUT_S = 30.0  # to erase, program and read back the boot area
SEEN_MAX = 400  # bytes of what came instead, in an error's text
POLL_S = 0.1
LINE_TIME_BYTES = 1100  # a block with its answer
BITS_PER_BYTE = 10

_BANNER = re.compile(rb"ASSAY-ROM 1 board=(\S+) rev=(\d+) chip=([0-9a-f]{32}) reason=(\S+)\r?\n")
_WRITTEN = re.compile(rb"ASSAY-ROM 1 written hash=([0-9a-f]{64})\r?\n")
_ERROR = re.compile(rb"ASSAY-ROM 1 error=(\S+)\r?\n")


class XmodemRomLoader:
    """`interfaces.loader.RomLoader` on a transport; `baud` in bit/s only stretches the time-outs."""

    def __init__(self, transport: Transport, baud: int = 115200) -> None:
        self._transport = transport
        self._received = bytearray()
        self._block_timeout_s = BLOCK_TIMEOUT_S + LINE_TIME_BYTES * BITS_PER_BYTE / baud

    @property
    def address(self) -> str:
        """The address of the link."""
        return self._transport.address

    def wait_banner(self, timeout_s: float) -> RomBanner:
        """The next banner. Raises DeviceTimeout telling what came instead."""
        self._received.clear()
        banner = self._wait_for(_BANNER, timeout_s, "the banner of the ROM")
        board, revision, chip, reason = banner.groups()
        text = board.decode("utf-8", "replace"), reason.decode("utf-8", "replace")
        return RomBanner(text[0], int(revision), bytes.fromhex(chip.decode()), text[1])

    def send(self, image: bytes, progress: Progress | None = None) -> bytes:
        """Send the image; gives the hash that the ROM read back from flash.

        Raises DeviceRefusal with the ROM's word when it takes the image for bad, DeviceTimeout, LinkError.
        """
        sender = XmodemSender(image)
        self._start(sender)
        reached, reached_s = 0, time.monotonic()
        while not sender.ended:
            self._step(sender, self._block_timeout_s)
            if sender.acknowledged > reached:
                reached, reached_s = sender.acknowledged, time.monotonic()
            elif time.monotonic() - reached_s > STALL_BLOCKS * self._block_timeout_s:
                raise self._stalled(reached)
            if progress is not None:
                progress(sender.acknowledged, len(image))
        if sender.state is not State.DONE:
            self._refused_by_line(sender)
        written = self._wait_for(_WRITTEN, WRITTEN_TIMEOUT_S, "the ROM's hash of what it has written")
        return bytes.fromhex(written.group(1).decode())

    def close(self) -> None:
        """Release the link."""
        self._transport.close()

    def _stalled(self, reached: int) -> LinkError:
        return LinkError(
            f"the ROM on {self.address} takes no more after {reached} bytes: it may have restarted",
            remedy="see to its power, then do it again",
        )

    def _start(self, sender: XmodemSender) -> None:
        """The ROM asks once a second; a banner that we have read may end with the question."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while sender.state is State.WAIT_START:
            if time.monotonic() > deadline_s:
                raise DeviceTimeout(
                    f"the ROM on {self.address} did not ask for an image", remedy="switch its power off and on"
                )
            self._step(sender, POLL_S)

    def _step(self, sender: XmodemSender, timeout_s: float) -> None:
        received, self._received = bytes(self._received), bytearray()
        received = received or self._transport.read(READ_MAX, timeout_s)
        if not received:
            self._send(sender.silent())
        for at, byte in enumerate(received):
            self._send(sender.feed(byte))
            if sender.ended:
                self._received += received[at + 1 :]
                return

    def _send(self, data: bytes) -> None:
        if data:
            self._transport.write(data)

    def _refused_by_line(self, sender: XmodemSender) -> None:
        try:
            self._wait_for(_ERROR, self._block_timeout_s, "the ROM's reason")
        except DeviceTimeout as error:
            raise LinkError(
                f"the transfer to the ROM on {self.address} failed after {sender.acknowledged} bytes: "
                f"{sender.state.value}",
                remedy="check the line (cable, baud rate), then do it again",
            ) from error

    def _wait_for(self, pattern: re.Pattern[bytes], timeout_s: float, what: str) -> re.Match[bytes]:
        deadline_s = time.monotonic() + timeout_s
        while (found := pattern.search(bytes(self._received))) is None:  # a copy: its groups outlive the buffer
            self._check_error(pattern)
            rest_s = deadline_s - time.monotonic()
            if rest_s <= 0:
                raise self._silence(what, timeout_s)
            self._received += self._transport.read(READ_MAX, min(rest_s, POLL_S))
        del self._received[: found.end()]
        return found

    def _check_error(self, waited_for: re.Pattern[bytes]) -> None:
        error = _ERROR.search(bytes(self._received))
        if error is not None and waited_for is not _BANNER:
            word = error.group(1).decode("utf-8", "replace")
            raise DeviceRefusal(
                "the bootloader image", group=None, rc=1, word=word, remedy="send an image made for this board"
            )

    def _silence(self, what: str, timeout_s: float) -> DeviceTimeout:
        seen = bytes(self._received[-SEEN_MAX:])
        came = f"{seen.decode('utf-8', 'backslashreplace')!r} came" if seen else "nothing came"
        return DeviceTimeout(
            f"waited {timeout_s:g} s for {what} on {self.address}; {came}",
            remedy="check that the chip is blank and has power, and that this is its port",
        )


def open_rom_loader(address: str, baud: int = 115200) -> XmodemRomLoader:
    """A ROM loader on a serial port; raises what `open_serial` raises."""
    from assay.drivers.serial_transport import open_serial

    return XmodemRomLoader(open_serial(address, baud), baud)
