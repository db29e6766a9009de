# SPDX-License-Identifier: Apache-2.0
"""`keys.toml` as text: read with the line of each fault, and written so that it reads back as the same value.

Guards: a URI that holds a PIN is refused, and no fault repeats a value, which might be one.
Leaves to others: the file (`key_folder`).
"""

from __future__ import annotations

import json

from pydantic import ValidationError

from assay.errors import AssayError, ManifestFault
from assay.formats.key_uri import TOKEN_SCHEMES, parse_token_uri, scheme_of
from assay.formats.public_key import parse_public_key
from assay.formats.toml_document import KeyPath, TomlDocument
from assay.model.keys import KeyTable, PinSource, RoleKey, Token

REMEDY = "correct it, or restore it from a backup; `assay schema keys` says what may stand there"

_HEADER = """\
# Which key signs for which role. Written by `assay keys use` and `assay keys token`; comments of yours are not kept.
# A URI is file2:FILE, hsm:ID?label=TOKEN, pkcs11:token=TOKEN;object=LABEL, or one of securesystemslib's."""


def read(raw: bytes, file: str) -> KeyTable:
    """The table in `raw`; `file` is the name that faults show. Raises `ManifestFault` with file and line."""
    document = TomlDocument(raw, file)
    try:
        table = KeyTable.model_validate_json(json.dumps(document.data, default=str))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        path = tuple(part for part in first["loc"] if part != "[key]")
        what = first["msg"].removeprefix("Value error, ")
        raise _fault(document, path, f"{'.'.join(map(str, path)) or 'the file'}: {what}") from error
    for role, key in table.roles.items():
        try:
            _check(key)
        except AssayError as error:
            raise _fault(document, ("roles", role.value, "uri"), f"roles.{role}: {error.message}") from error
    return table


def encode(table: KeyTable) -> bytes:
    """The table as TOML."""
    lines = [_HEADER, f"schema = {_text(table.schema_)}", f"development = {_flag(table.development)}"]
    for label, token in table.tokens.items():
        lines += ["", f"[tokens.{_text(label)}]", *_token(token)]
    for role, key in sorted(table.roles.items()):
        parse_public_key(key.public)
        lines += ["", f"[roles.{role}]", f"uri = {_text(key.uri)}", f"name = {_text(key.name)}"]
        lines += [f"development = {_flag(key.development)}", f"public = '''\n{key.public}'''"]
    return ("\n".join(lines) + "\n").encode("utf-8")


def _check(key: RoleKey) -> None:
    if scheme_of(key.uri) in TOKEN_SCHEMES:
        parse_token_uri(key.uri)
    parse_public_key(key.public)


def _fault(document: TomlDocument, path: KeyPath, what: str) -> ManifestFault:
    return ManifestFault(document.file, document.line_of(path), what, remedy=REMEDY)


def _token(token: Token) -> list[str]:
    lines = [f"module = {_text(token.module)}", f"pin = {_pin(token.pin)}", f"timeout_s = {token.timeout_s!r}"]
    return lines + ([f"serial = {_text(token.serial)}"] if token.serial is not None else [])


def _pin(pin: PinSource) -> str:
    if pin.env is not None:
        return f"{{ env = {_text(pin.env)} }}"
    if pin.file is not None:
        return f"{{ file = {_text(pin.file)} }}"
    if pin.command is not None:
        return f"{{ command = [{', '.join(_text(word) for word in pin.command)}] }}"
    return "{ prompt = true }"


def _text(text: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's; DEL, which JSON leaves alone, is not allowed bare in TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _flag(value: bool) -> str:
    return "true" if value else "false"
