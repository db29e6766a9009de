# SPDX-License-Identifier: Apache-2.0
"""What must hold when the port of somebody else's board is the trouble, by `assay flash`: gone in the middle of an
upload, also in recovery; open in another program; and the next flash ends well.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import board_server
import pytest
from board_server import on_pty, on_restarting_udp, on_usb
from pseudo_board import PseudoBoard
from test_foreign_peer import Site, maker, pseudo, site

from assay.protocols.smp.framing import Framing

__all__ = ["maker", "site"]

IN_THE_MIDDLE = 3000
"""Bytes of an image that have come when its port goes: about half of them."""


class Cable:
    """Pulled once, when the board has half of an image."""

    def __init__(self) -> None:
        self.pulled = 0

    def times(self, board: PseudoBoard) -> int:
        upload = board._upload
        if upload is not None and len(upload[1]) >= IN_THE_MIDDLE:
            self.pulled = 1
        return self.pulled


@pytest.mark.parametrize(
    ("serve", "framing", "words", "recovery"),
    [
        (on_usb, "console", "broke", False),
        (on_usb, "console", "broke", True),
        (on_restarting_udp, "raw", "nobody listens there", False),
    ],
    ids=["cable", "cable-in-recovery", "udp-refused"],
)
def test_a_port_that_goes_away_in_the_middle_of_an_upload(
    site: Site, serve: Any, framing: str, words: str, recovery: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_server, "AWAY_S", 1.0)
    board, cable, data = pseudo(framing=Framing(framing), in_recovery=recovery), Cable(), site.maker.image("ecdsa-p256")
    before = board.slots[0, 0].data
    with serve(board, site.folder / "port", cable.times) as address:
        status, done = site.flash(address, data, framing=framing, recovery=recovery)
        assert cable.pulled and status == done["status"] == 3, done
        assert words in done["error"] and address in done["error"] and done["remedy"], done
        assert board.slots[0, 0].data == before and "mark" not in board.asked, "half an image counts for nothing"
        while (told := site.flash(address, data, framing=framing, recovery=recovery))[0] != 0:
            assert told[0] == 3 and ("no port" in told[1]["error"] or "nobody listens" in told[1]["error"]), told
    assert board.slots[0, 0].data == data


def test_a_port_that_a_terminal_has_open_is_busy(site: Site) -> None:
    """Who has it is named, and not a byte goes to the board."""
    board = pseudo()
    with on_pty(board) as address, Path(address).open("rb", buffering=0) as port:
        terminal = subprocess.Popen(["sleep", "60"], stdin=port)
        port.close()
        try:
            status, done = site.flash(address, site.maker.image("ecdsa-p256"))
        finally:
            terminal.kill()
            terminal.wait()
    assert status == 3 and f"sleep (pid {terminal.pid})" in done["error"] and address in done["error"], done
    assert not board.asked and not board.versions
