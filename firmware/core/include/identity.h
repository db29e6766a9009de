// SPDX-License-Identifier: Apache-2.0
// The device key, the serial number and the device certificate, in two copies.
#ifndef ASSAY_IDENTITY_H
#define ASSAY_IDENTITY_H

#include "assay_crypto.h"
#include "result.h"

#define SERIAL_MAX 64u         // bytes of UTF-8
#define CERTIFICATE_MAX 1024u  // bytes of DER
#define CHIP_ID_SIZE 16u

struct identity {
    uint8_t seed[ED25519_SEED_SIZE];
    uint32_t serial_length, certificate_length;  // 0: not provisioned yet
    char serial[SERIAL_MAX];
    uint8_t certificate[CERTIFICATE_MAX];
};

// The newest whole copy; RESULT_EMPTY if the device has no key yet.
result_t identity_load(struct identity *identity);

// Both copies; each is written whole before it counts.
result_t identity_store(const struct identity *identity);

// What the maker of the silicon wrote; all zero on a chip without it, which RESULT_EMPTY says.
result_t chip_id(uint8_t id[CHIP_ID_SIZE]);

#endif
