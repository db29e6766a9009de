# SPDX-License-Identifier: Apache-2.0
"""A licence in a manifest: an SPDX expression (SPDX specification, annex "SPDX License Expressions").

Guards: it has the grammar, and its names are those of the SPDX list or its writer's own (`LicenseRef-...`).
Leaves to others: what it permits. It is kept as it was written.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from assay.model.plain_text import LINE_LENGTH_MAX

if TYPE_CHECKING:
    from license_expression import Licensing

_OWN = re.compile(r"(DocumentRef-[A-Za-z0-9.-]+:)?LicenseRef-[A-Za-z0-9.-]+")
_OWN_EXCEPTION = re.compile(r"(DocumentRef-[A-Za-z0-9.-]+:)?AdditionRef-[A-Za-z0-9.-]+")
_FORM = re.compile(r"[A-Za-z0-9.+:() -]+")
_NONE = ("NONE", "NOASSERTION")


def check_licence(text: str) -> str:
    """`text`, if it is an SPDX expression. Raises `ValueError`."""
    if text in _NONE:
        raise ValueError(f"{text!r} is no licence: name it, or write one of your own as LicenseRef-NAME")
    if _OWN.fullmatch(text):
        return text
    if not _FORM.fullmatch(text) or text != text.strip():
        raise ValueError(f"{text!r} is no SPDX expression: it has letters, digits and . - + : ( ) and blanks")
    for licence, exception in _parsed(text):
        _check_names(text, licence, exception)
    return text


def _parsed(text: str) -> list[tuple[str, str | None]]:
    """Each licence in `text`, with its exception if it has one. Raises `ValueError`."""
    from license_expression import LicenseWithExceptionSymbol

    try:
        parsed = _spdx().parse(text, simple=True)
        found = list(parsed.literals) if parsed is not None else []
    except Exception as error:  # of what is wrong also IndexError and AttributeError ("MIT AND", "()")
        raise ValueError(f"{text!r} is no SPDX expression, such as MIT or Apache-2.0 OR MIT") from error
    if not found:
        raise ValueError("there is no licence: write an SPDX expression, such as MIT or Apache-2.0 OR MIT")
    return [
        (each.license_symbol.key, each.exception_symbol.key)
        if isinstance(each, LicenseWithExceptionSymbol)
        else (each.key, None)
        for each in found
    ]


def _check_names(text: str, licence: str, exception: str | None) -> None:
    if not _OWN.fullmatch(licence) and not _known(licence.removesuffix("+"), exception=False):
        raise ValueError(
            f"{text!r}: {licence!r} is no licence of the SPDX list: write LicenseRef-NAME for one of your own"
        )
    if exception is not None and not _OWN_EXCEPTION.fullmatch(exception) and not _known(exception, exception=True):
        raise ValueError(f"{text!r}: {exception!r} is no exception of the SPDX list")


def _known(name: str, *, exception: bool) -> bool:
    found = _names().get(name.lower())
    if found is not None:
        return found == exception
    from cyclonedx.spdx import is_supported_id  # its list is of another day, has deprecated names, and both kinds

    return is_supported_id(name)


@functools.cache
def _spdx() -> Licensing:
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()


@functools.cache
def _names() -> dict[str, bool]:
    """Names of the SPDX list, in lower case since expressions are compared without case, and which are exceptions."""
    return {symbol.key.lower(): bool(symbol.is_exception) for symbol in _spdx().known_symbols.values()}


SpdxLicence = Annotated[
    str,
    Field(min_length=1, max_length=LINE_LENGTH_MAX, description="an SPDX expression"),
    AfterValidator(check_licence),
]
"""An SPDX expression."""
