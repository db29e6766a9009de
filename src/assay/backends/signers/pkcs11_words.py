# SPDX-License-Identifier: Apache-2.0
"""What a PKCS#11 library answers, as errors of ours.

Guards: no exception of python-pkcs11 leaves the signers, and none of ours holds a PIN. Leaves to others: when to try
again (`is_lost`), and what is done about a wrong PIN (`wrong_pin`).
"""

from __future__ import annotations

from assay.errors import AssayError, InfrastructureError, Refused

_WRONG_PIN = frozenset({"PinIncorrect", "PinInvalid", "PinLenRange"})
_LOST = frozenset(
    {
        "SessionHandleInvalid",
        "SessionClosed",
        "UserNotLoggedIn",
        "KeyHandleInvalid",
        "ObjectHandleInvalid",
        "DeviceRemoved",
        "TokenNotPresent",
        "OperationActive",
    }
)
"""Answers after which a session is opened anew: what it knew is gone, the key is not."""

_PIN_ANSWERS = {
    "PinLocked": ("is locked: too many wrong PINs", "unlock it with the tool of its maker and the SO PIN"),
    "PinExpired": ("wants another PIN: this one has expired", "set a new one with the tool of its maker"),
    "UserPinNotInitialized": ("has no user PIN yet", "initialise it with the tool of its maker"),
}


def name_of(error: Exception) -> str:
    """The answer of the library: the name of its exception, which is that of PKCS#11 without CKR_."""
    return type(error).__name__


def is_wrong_pin(error: Exception) -> bool:
    """Whether a try of the PIN was spent."""
    return name_of(error) in _WRONG_PIN


def is_lost(error: Exception) -> bool:
    """Whether the session is gone, in the middle of what it did."""
    return name_of(error) in _LOST


def in_words(error: Exception, token: str) -> AssayError:
    """What to tell a person about `error` of the token."""
    name = name_of(error)
    if name in _WRONG_PIN:
        return Refused(
            f"the PIN of the token '{token}' is wrong; it was tried once, and is not given to it again",
            remedy=f"correct it, then `assay keys login '{token}'`; a token locks itself after a few wrong PINs",
        )
    if name in _PIN_ANSWERS:
        what, remedy = _PIN_ANSWERS[name]
        return Refused(f"the token '{token}' {what}", remedy=remedy)
    if name in ("DeviceRemoved", "TokenNotPresent", "TokenNotRecognised"):
        return InfrastructureError(f"the token '{token}' is not there any more", remedy="plug it in, and try again")
    if name in ("MechanismInvalid", "FunctionNotSupported"):
        return Refused(
            f"the token '{token}' cannot sign with this kind of key", remedy="use a token that can, or a file"
        )
    return InfrastructureError(
        f"the token '{token}' answers {name}", remedy="see the log of its library, and try again"
    )
