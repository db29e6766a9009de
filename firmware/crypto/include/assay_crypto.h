// SPDX-License-Identifier: Apache-2.0
// SHA-256 and Ed25519 (RFC 8032) as the firmware sees them; crypto/crypto.zig implements them.
// Success is CRYPTO_OK and nothing else: compare with it, never with zero.
#ifndef ASSAY_CRYPTO_H
#define ASSAY_CRYPTO_H

#include <stddef.h>
#include <stdint.h>

#define CRYPTO_OK 0x5AC3693Cu
#define CRYPTO_FAIL 0xA53C96C3u

#define SHA256_SIZE 32u
#define SHA256_CONTEXT_SIZE 128u  // bytes; the Zig side checks at compile time that its state fits
#define ED25519_SEED_SIZE 32u
#define ED25519_PUBLIC_SIZE 32u
#define ED25519_SIGNATURE_SIZE 64u

struct sha256 {
    _Alignas(16) uint8_t state[SHA256_CONTEXT_SIZE];
};

void sha256_init(struct sha256 *hash);
void sha256_update(struct sha256 *hash, const void *data, size_t length);
void sha256_final(struct sha256 *hash, uint8_t digest[SHA256_SIZE]);

uint32_t ed25519_verify(const uint8_t signature[ED25519_SIGNATURE_SIZE], const void *message, size_t length,
                        const uint8_t public_key[ED25519_PUBLIC_SIZE]);
uint32_t ed25519_public(uint8_t public_key[ED25519_PUBLIC_SIZE], const uint8_t seed[ED25519_SEED_SIZE]);
uint32_t ed25519_sign(uint8_t signature[ED25519_SIGNATURE_SIZE], const void *message, size_t length,
                      const uint8_t seed[ED25519_SEED_SIZE]);

#endif
