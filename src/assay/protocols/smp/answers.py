# SPDX-License-Identifier: Apache-2.0
"""What an SMP answer says: a value, or a no with its number, or something that is no answer at all.

Guards: nothing that a device sends raises anything but `MalformedAnswer`, or takes longer to read than to send.
Leaves to others: sending, waiting and trying again (`drivers.mcumgr`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import cbor2
from pydantic import BaseModel
from smp.exceptions import SMPException
from smp.header import OP, Header
from smp.message import Request, Response

from assay.protocols.smp.error_words import error_word
from assay.protocols.smp.framing import HEADER_SIZE

T = TypeVar("T", bound=BaseModel)
R = TypeVar("R", bound=Response)

_ANSWER_OP = {OP.READ: OP.READ_RSP, OP.WRITE: OP.WRITE_RSP}
_NO_ANSWER = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, AssertionError, RecursionError)
"""What `pydantic` and `smp` raise for content that is no answer, beside their own errors."""


class MalformedAnswer(Exception):
    """A frame came whose checksum is right and whose content is not an answer."""


def _refuse_tag(*_content: Any) -> NoReturn:
    raise ValueError("a tag, and SMP has none")


class _EveryTag(dict[int, Callable[..., NoReturn]]):
    """What `cbor2` does with a tag, whichever: it would make a number with a billion digits of a few bytes, and compile
    patterns.
    """

    def __missing__(self, tag: int) -> Callable[..., NoReturn]:
        return _refuse_tag


_OUR_FIELDS = frozenset({"header", "version", "sequence", "smp_data"})
"""Of `smp`'s messages: never what a device sent under such a name."""


@dataclass(frozen=True)
class No:
    """The device refused. `group` is None where the number is one of SMP itself."""

    group: int | None
    rc: int

    @property
    def word(self) -> str:
        """The number's name in its group."""
        return error_word(self.group, self.rc)


def answer_header(request: Request) -> bytes:
    """The header that the answer to `request` has; its two bytes of length are zero."""
    asked = request.header
    return bytes(
        Header(_ANSWER_OP[asked.op], asked.version, asked.flags, 0, asked.group_id, asked.sequence, asked.command_id)
    )


def answers(frame: bytes, request: Request) -> bool:
    """True when `frame` is the answer to `request`: operation, group, command and sequence number."""
    expected = answer_header(request)
    # A server of version 1 may answer a request of version 2 in its own version (bits 3 and 4 of the first byte).
    if len(frame) < HEADER_SIZE:
        return False
    return frame[0] & 0x07 == expected[0] & 0x07 and frame[4:HEADER_SIZE] == expected[4:]


def read_answer(frame: bytes, kind: type[T]) -> T | No:
    """What `frame` says, as a `kind`. Raises MalformedAnswer."""
    try:
        content = cbor2.loads(frame[HEADER_SIZE:], semantic_decoders=_EveryTag())
        refused = _refusal(content)
        if refused is not None:
            return refused
        if issubclass(kind, Response):
            return _response(frame, content, kind)
        return kind.model_validate(content)
    except (*_NO_ANSWER, cbor2.CBORError, SMPException) as error:
        said = str(error).splitlines()
        raise MalformedAnswer(f"not a {kind.__name__}: {said[0] if said else type(error).__name__}") from error


def _response(frame: bytes, content: dict[str, Any], kind: type[R]) -> R:
    """A message of `smp`, of the very bytes that came: it would encode them again, and Zephyr writes maps without a
    length, which are a byte longer. What a newer server tells beside it is left alone.
    """
    known = {key: value for key, value in content.items() if key in kind.model_fields and key not in _OUR_FIELDS}
    return kind(header=Header.loads(frame[:HEADER_SIZE]), smp_data=frame, **known)


def _refusal(content: Any) -> No | None:
    """Version 2: `{"err": {"group", "rc"}}`; version 1, and SMP's own numbers in version 2: `{"rc"}`, 0 is yes."""
    if not isinstance(content, dict):
        raise MalformedAnswer("the answer is no map")
    if "err" in content:
        return No(int(content["err"]["group"]), int(content["err"]["rc"]))
    rc = content.get("rc", 0)
    return No(None, int(rc)) if rc else None
