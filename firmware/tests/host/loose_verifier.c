// SPDX-License-Identifier: Apache-2.0
// Every call of ed25519_verify comes here first (ld's --wrap); see loose_verifier.h.
#include "loose_verifier.h"

#include <stddef.h>

#include "assay_crypto.h"

enum verifier_mood verifier_mood = VERIFIER_RIGHT;

uint32_t __real_ed25519_verify(const uint8_t *signature, const void *message, size_t length, const uint8_t *key);
uint32_t __wrap_ed25519_verify(const uint8_t *signature, const void *message, size_t length, const uint8_t *key);

uint32_t __wrap_ed25519_verify(const uint8_t *signature, const void *message, size_t length, const uint8_t *key) {
    switch (verifier_mood) {
        case VERIFIER_ACCEPTS_ANYTHING: return CRYPTO_OK;
        case VERIFIER_SAYS_NEITHER: return CRYPTO_OK ^ 1u;
        default: return __real_ed25519_verify(signature, message, length, key);
    }
}
