# SPDX-License-Identifier: Apache-2.0
"""What a trust file says of a signer beyond its role: since when, until when, for which modules, in which log.

Guards: a limit that is not set limits nothing, and one that is set is never passed over. Leaves to others: what is
checked against it (`formats.statement_verifier`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import AwareDatetime, Field

from assay.model.identifiers import FileSha256, Name, VersionText
from assay.model.value import Value

EMAIL_OR_URI = r"^\S+$"


class SignerLimits(Value):
    """Limits on a key or an identity.

    `valid_from`, `valid_until`: when statements of this signer were made, by a time that is proved (a time stamp),
    else by the time of asking; both ends included. `revoked`: nothing of this signer counts any more, whenever it was
    made. `modules` and `predicate_types`: what its statements may be about and say; empty is everything that the role
    may. `sigstore`: the services of the trust file whose log and time stamps count for this signer; with `log_required`
    a statement without an entry in that log is refused.
    """

    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None
    revoked: bool = False
    modules: tuple[Name, ...] = ()
    predicate_types: tuple[str, ...] = ()
    builder_ids: tuple[str, ...] = ()
    sigstore: Name | None = None
    log_required: bool = False

    @property
    def has_window(self) -> bool:
        """Whether it matters when a statement was made."""
        return self.valid_from is not None or self.valid_until is not None

    def window_holds(self, when: datetime) -> bool:
        """Whether `when` lies between the two ends."""
        early = self.valid_from is not None and when < self.valid_from
        late = self.valid_until is not None and when > self.valid_until
        return not early and not late


class TrustedServices(Value):
    """A Sigstore instance: its trusted root, as the Sigstore project writes it (`trusted_root.json`).

    `valid_until`: from then on its keys may be in other hands: what it vouches for counts only where an archive stamp
    of other services says that it was there by then.
    """

    name: Name
    trusted_root: str
    development: bool = False
    valid_until: AwareDatetime | None = None


class Threshold(Value):
    """How many distinct signers have to say the same of one subject before a statement of this type counts."""

    predicate_type: str
    count: int = Field(ge=2, le=16)


class SummaryPolicy(Value):
    """A policy whose verification summaries count: the pack `name`, and of it one `version` or the pack with one
    `sha256`, where they are said. `verified_from`: summaries that were derived before that do not count.
    """

    name: Name
    version: VersionText | None = None
    sha256: FileSha256 | None = None
    verified_from: AwareDatetime | None = None


@dataclass(frozen=True)
class ProvedTime:
    """A time that somebody trusted has signed: `source` is a time stamp authority or a log."""

    when: datetime
    source: str


@dataclass(frozen=True)
class LogPlace:
    """Where a signature is in a transparency log: the log's address, the entry, and the size that was proved."""

    log: str
    index: int
    size: int
