// SPDX-License-Identifier: Apache-2.0
// Writes patches for the tests, from the format and not from delta.c. Small in code, not in bytes.
#ifndef ASSAY_PATCH_MAKER_H
#define ASSAY_PATCH_MAKER_H

#include <stdint.h>

struct patch_writer {
    uint8_t *data;
    uint32_t used;
};

void patch_byte(struct patch_writer *writer, uint32_t value);
void patch_bytes(struct patch_writer *writer, const void *data, uint32_t length);

// A number as patches hold it: sign in the first byte.
void patch_number(struct patch_writer *writer, int64_t number);

// The patch that makes `new` out of `old`: one round, differences over the length that both have, then the rest.
// `compression` is 0 (none) or 2 (crle). Returns its size.
uint32_t make_patch(uint32_t compression, const uint8_t *old, uint32_t old_size, const uint8_t *new_image,
                    uint32_t new_size, uint8_t *patch);

#endif
