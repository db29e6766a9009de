# SPDX-License-Identifier: Apache-2.0
"""Evidence that lies inside another record: what a unit signed before and after a test, and after an update.

Guards: it is verified again, from the record, the unit's certificate and the trust file alone, and has to say what the
record says that the unit ran. Leaves to others: evidence itself (`stages.field.evidence`), records of evidence
(`trace_update`).
"""

from __future__ import annotations

from assay.model.predicates import DeviceReport, EvidenceQuote
from assay.pipeline.trace_life import Life
from assay.pipeline.trace_link import Link
from assay.stages.field.evidence import verify_quote

NO_CERTIFICATE = "no provisioning record gives the certificate that the unit's evidence has to be verified with"


def check_quote(link: Link, quote: EvidenceQuote, said: DeviceReport, checkpoint: str, life: Life, when: str) -> None:
    """Check on `link` that `quote`, asked with `checkpoint`, is the unit's and says `said`; `when` in words."""
    if life.certificate is None:
        link.fault(NO_CERTIFICATE)
        return
    der = life.certificate.der
    verified = link.attempt(lambda: verify_quote(quote, checkpoint.encode(), der, life.trust))
    if verified is not None:
        link.take(verified.checks)
        life.must_be_fresh(link, quote.nonce_hex)
        link.expect(
            verified.report == said,
            f"the unit's own evidence says what it ran {when}",
            f"the unit's own evidence says something else about {when} than the record",
        )
