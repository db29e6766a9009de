# SPDX-License-Identifier: Apache-2.0
"""A PKCS#11 token: one session for each token in this process, one call at a time on the host (ADR 0200).

Guards: every call is under the lock of the token and announced with its time limit; a session that is lost is opened
anew once; a PIN is given once. Leaves to others: signatures (`pkcs11_key`), where the PIN comes from (`pin`).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from assay.backends.signers.pin import read_pin
from assay.backends.signers.pkcs11_words import in_words, is_lost, is_wrong_pin, name_of
from assay.backends.signers.token_lock import TokenLock
from assay.backends.signers.wrong_pin import WrongPin
from assay.errors import AssayError, InfrastructureError, Refused, StorageError, ToolMissing, UsageFault
from assay.formats.key_uri import TokenKey
from assay.interfaces.signer import KeyPlace
from assay.model.keys import Token

if TYPE_CHECKING:
    import pkcs11

T = TypeVar("T")

LABELS_SHOWN = 8
"""Labels of tokens or keys that an error lists."""


class TokenAway(InfrastructureError):
    """The library does not show the token."""


class TokenSession:
    """The one session with the token `label`; opened at the first call, and kept."""

    def __init__(self, label: str, token: Token, place: KeyPlace) -> None:
        self.label = label
        self._token = token
        self._place = place
        self._lock = TokenLock(place.locks, Path(token.module), label)
        self._pin_lock = threading.Lock()
        self._wrong = WrongPin(label, token.pin, place)
        self._pin: str | None = None
        self._pin_was_good = False
        self._session: Any = None
        self._keys: dict[tuple[str, TokenKey], Any] = {}

    def call(self, work: Callable[[pkcs11.Session], T], *, writes: bool = False) -> T:
        """What `work` does with the session, once more when the session was lost in the middle. Raises AssayError."""
        library = _pkcs11()
        pin = self._get_pin()
        with self._lock.held(self._place.announce):
            if writes:
                self._forget(library)
            for again in (False, True):
                try:
                    session = self._opened(library, pin, writes)
                    self._announce()
                    return work(session)
                except library.PKCS11Error as error:
                    if again or not is_lost(error):
                        raise self._told(error) from error
                    self._forget(library)
        raise AssertionError("unreachable")

    def key(self, session: Any, wanted: TokenKey, *, private: bool) -> Any:
        """The key object in `session`. Raises `StorageError` if it is not there, `UsageFault` if there are two."""
        library = _pkcs11()
        kind = library.ObjectClass.PRIVATE_KEY if private else library.ObjectClass.PUBLIC_KEY
        known = (kind.name, wanted)
        if known not in self._keys:
            try:
                self._keys[known] = session.get_key(object_class=kind, label=wanted.label, id=wanted.key_id)
            except library.NoSuchKey as error:
                raise self._no_key(session, wanted, kind) from error
            except library.MultipleObjectsReturned as error:
                told = f"the token '{self.label}' has several keys with {wanted}"
                remedy = "name it by label and id: pkcs11:token=T;object=LABEL;id=%01"
                if wanted.label is not None and wanted.key_id is not None:
                    remedy = "see which one it is, and remove the other with the tool of its maker"
                raise UsageFault(told, remedy=remedy) from error
        return self._keys[known]

    def is_hardware(self) -> bool:
        """Whether the token says that it is a device, and no file of a library."""
        library = _pkcs11()
        with self._lock.held(self._place.announce):
            return bool(self._find(library).slot.flags & library.SlotFlag.HW_SLOT)

    def close(self) -> None:
        """End the session; the next call opens another, with the PIN that was good."""
        with self._lock.held(self._place.announce), contextlib.suppress(ToolMissing):
            self._close_session()

    def _get_pin(self) -> str:
        with self._pin_lock:
            if self._pin is None:
                self._wrong.check(locked=False)
                self._pin = read_pin(self.label, self._token.pin, self._place)
            return self._pin

    def _opened(self, library: Any, pin: str, writes: bool) -> Any:
        if self._session is None:
            self._announce()
            token = self._plugged_in(library)
            self._check_tries(library, token)
            if not self._pin_was_good:
                self._wrong.check(locked=True)  # several processes may have waited with the same wrong PIN
                self._wrong.giving()
            try:
                self._session = self._logged_in(library, token, pin, writes)
            except library.PKCS11Error as error:
                if not self._pin_was_good and not is_wrong_pin(error):
                    self._wrong.not_given()
                raise
            self._pin_was_good = True
            self._wrong.forget()
        return self._session

    def _logged_in(self, library: Any, token: Any, pin: str, writes: bool) -> Any:
        try:
            return token.open(rw=writes, user_pin=pin)
        except library.UserAlreadyLoggedIn:  # another session of this process, with the same token
            return token.open(rw=writes)

    def _plugged_in(self, library: Any) -> Any:
        """The token. A library looks for its tokens when it begins: one that came since is seen at the second look."""
        try:
            return self._find(library)
        except TokenAway:
            with contextlib.suppress(library.PKCS11Error):
                library.lib(self._token.module).reinitialize()
            return self._find(library)

    def _find(self, library: Any) -> Any:
        serial = self._token.serial.encode() if self._token.serial is not None else None
        loaded = self._load(library)
        try:
            return loaded.get_token(token_label=self.label, token_serial=serial)
        except library.NoSuchToken as error:
            raise self._no_token(loaded, library) from error
        except library.MultipleTokensReturned as error:
            told = f"{self._token.module} shows several tokens with the label '{self.label}'"
            raise UsageFault(told, remedy=f"add serial = \"...\" to [tokens.'{self.label}'] in keys.toml") from error
        except library.PKCS11Error as error:
            raise in_words(error, self.label) from error

    def _load(self, library: Any) -> Any:
        module, where = self._token.module, f"the PKCS#11 library of the token '{self.label}'"
        remedy = (
            "install what its maker gives for it (SoftHSM: apt-get install softhsm2), or correct module in keys.toml"
        )
        if not Path(module).exists():
            raise ToolMissing(f"{where} is missing: {module}", remedy=remedy)
        try:
            return library.lib(module)
        except library.PKCS11Error as error:
            if name_of(error) == "PKCS11Error":
                raise ToolMissing(f"{where} cannot be loaded: {module}", remedy=remedy) from error
            raise InfrastructureError(
                f"{where} is there and does not begin, it answers {name_of(error)}: {module}",
                remedy="see that its configuration and what it keeps are there (SoftHSM: softhsm2.conf, its tokendir)",
            ) from error

    def _check_tries(self, library: Any, token: Any) -> None:
        flags = library.TokenFlag
        if token.flags & flags.USER_PIN_LOCKED:
            raise in_words(library.PinLocked(), self.label)
        if token.flags & flags.USER_PIN_FINAL_TRY and not self._place.again:
            raise Refused(
                f"the token '{self.label}' locks itself at the next wrong PIN, so none is given to it by itself",
                remedy=f"make sure that the PIN is right, then `assay keys login '{self.label}'`",
            )

    def _told(self, error: Exception) -> AssayError:
        if is_wrong_pin(error):
            self._pin, self._pin_was_good = None, False
            try:
                self._wrong.remember()
            except OSError as fault:
                return StorageError(
                    f"the PIN of the token '{self.label}' is wrong, and that cannot be kept: {fault.strerror}",
                    remedy="make the folder of keys writable before the next try: each costs one",
                )
        return in_words(error, self.label)

    def _no_token(self, loaded: Any, library: Any) -> TokenAway:
        shown: list[str] = []
        with contextlib.suppress(library.PKCS11Error):
            shown = [f"'{token.label}'" for token in loaded.get_tokens() if token.label][:LABELS_SHOWN]
        return TokenAway(
            f"the token '{self.label}' is not there; {self._token.module} shows {', '.join(shown) or 'none'}",
            remedy="plug it in, or correct its label in keys.toml",
        )

    def _no_key(self, session: Any, wanted: TokenKey, kind: Any) -> StorageError:
        library = _pkcs11()
        shown = [f"'{each.label}' id {each.id.hex()}" for each in session.get_objects({library.Attribute.CLASS: kind})]
        half = "private" if kind is library.ObjectClass.PRIVATE_KEY else "public"
        return StorageError(
            f"the token '{self.label}' has no {half} key with {wanted}; "
            f"it has {', '.join(shown[:LABELS_SHOWN]) or 'none'}",
            remedy="correct the URI of the key in keys.toml, or make the key in the token",
        )

    def _announce(self) -> None:
        self._place.announce(f"the token '{self.label}'", self._token.timeout_s)

    def _forget(self, library: Any) -> None:
        """The session and all that it knew; the library looks for its tokens anew."""
        self._close_session()
        with contextlib.suppress(library.PKCS11Error):
            library.lib(self._token.module).reinitialize()

    def _close_session(self) -> None:
        session, self._session = self._session, None
        self._keys.clear()
        if session is not None:
            with contextlib.suppress(Exception):  # a lost session cannot be closed
                session.close()


_sessions: dict[tuple[str, Token, Path], TokenSession] = {}
_sessions_lock = threading.Lock()


def session_of(label: str | None, place: KeyPlace) -> TokenSession:
    """The session of this process with the token that keys.toml knows by `label` (None: the only one there)."""
    name, token = _configured(label, place.tokens)
    with _sessions_lock:
        key = (name, token, place.folder)
        if place.again and key in _sessions:
            _sessions.pop(key).close()  # else the token would say that somebody is logged in, and not look at the PIN
        if key not in _sessions:
            _sessions[key] = TokenSession(name, token, place)
        return _sessions[key]


def _configured(label: str | None, tokens: Mapping[str, Token]) -> tuple[str, Token]:
    if label is None and len(tokens) == 1:
        return next(iter(tokens.items()))
    if label is None:
        raise UsageFault("the URI of the key names no token", remedy="write hsm:ID?label=TOKEN")
    if label not in tokens:
        known = ", ".join(f"'{each}'" for each in tokens) or "none"
        raise UsageFault(
            f"keys.toml has no [tokens] entry for the token '{label}'; it has {known}",
            remedy=f"assay keys token '{label}' --module LIBRARY --pin-file FILE",
        )
    return label, tokens[label]


def _pkcs11() -> Any:
    try:
        import pkcs11
    except ImportError as error:
        raise ToolMissing(
            "keys in a token need the extra 'hsm' (python-pkcs11)",
            remedy="in the project's folder: pip install -e '.[hsm]'",
        ) from error
    return pkcs11
