// SPDX-License-Identifier: Apache-2.0
// The device's signed word about itself: COSE_Sign1 over EAT claims.
#ifndef ASSAY_EVIDENCE_H
#define ASSAY_EVIDENCE_H

#include "handoff.h"
#include "identity.h"

#define NONCE_MIN 8u
#define NONCE_MAX 64u
#define EVIDENCE_MAX 768u  // bytes; the longest names and nonce need about 560

// Writes the evidence to `out` (EVIDENCE_MAX bytes); `length` says how many bytes it has. `now` is the app's own word on
// the boot state, beside the one in the hand-off: it tells whether the app confirmed since.
result_t evidence_make(const struct identity *identity, const struct handoff *handoff, enum boot_state now,
                       const uint8_t *nonce, uint32_t nonce_length, uint8_t *out, uint32_t *length);

#endif
