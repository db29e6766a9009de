# SPDX-License-Identifier: Apache-2.0
"""What a unit is left with when a person stops a run in the middle of a step, in words for that person.

Guards: every state named here is one from which the same command goes on, and in which the unit boots a verified image;
but for a flash from outside, which no bootloader watches.
"""

from __future__ import annotations

_IN_PART = "it runs what it ran; of what was being sent it has a part at most, and does not start that"
_WORDS = {
    "upload": _IN_PART,
    "upload-patch": _IN_PART,
    "write": "its bootloader may be there in part; then its mask ROM waits for it",
    "write-bootloader": "its bootloader may be there in part; then its mask ROM waits for it",
    "write-app": "its bootloader starts the app once the whole of it is there, and until then waits for the rest",
    "make-identity": "it runs the app; a key and a number that it was given stay its own, and the same command asks",
    "check": "it has firmware and identity, and may be on its way up again; the proof is missing",
    "flash": "its memory was written in part, and it may not start: the same command writes it anew",
    "compare": "everything was written; the proof is missing",
    "restart": "everything was written and compared; it may still stand where the flasher left it",
    "mark": "it runs what it ran; it tries the new image at its next reset if it has heard that it shall",
    "mark-for-test": "it runs what it ran; it tries the new image at its next reset if it has heard that it shall",
    "reset": "it starts the new image under test, now or at its next reset; unconfirmed, it goes back at the one after",
    "health-check": "it runs the new image, which is under test: it goes back at its next reset unless it is confirmed",
    "confirm": "it runs the new image, which it keeps if it has heard that it shall, and else leaves at its next reset",
    "read-back": "it runs the new image; only the proof is missing",
}


def unit_after(step: str) -> str:
    """The sentence for a run that was stopped in `step`."""
    return f"the unit: {_WORDS.get(step, f'step {step} was under way, and can be done again')}"
