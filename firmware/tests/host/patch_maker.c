// SPDX-License-Identifier: Apache-2.0
// Writes patches; see patch_maker.h.
#include "patch_maker.h"

#include <string.h>

#define CRLE 2u

void patch_byte(struct patch_writer *writer, uint32_t value) { writer->data[writer->used++] = (uint8_t)value; }

void patch_bytes(struct patch_writer *writer, const void *data, uint32_t length) {
    memcpy(writer->data + writer->used, data, length);
    writer->used += length;
}

void patch_number(struct patch_writer *writer, int64_t number) {
    uint64_t value = (uint64_t)(number < 0 ? -number : number);
    uint32_t first = (uint32_t)(value & 0x3F) | (number < 0 ? 0x40u : 0u);
    value >>= 6;
    patch_byte(writer, first | (value ? 0x80u : 0u));
    while (value) {
        uint32_t part = (uint32_t)(value & 0x7F);
        value >>= 7;
        patch_byte(writer, part | (value ? 0x80u : 0u));
    }
}

static void crle_size(struct patch_writer *writer, uint32_t size) {
    for (; size > 0x7F; size >>= 7) patch_byte(writer, (size & 0x7F) | 0x80u);
    patch_byte(writer, size);
}

static uint32_t run_at(const uint8_t *data, uint32_t length) {
    uint32_t run = 1;
    while (run < length && data[run] == data[0]) run++;
    return run;
}

static void crle(struct patch_writer *writer, const uint8_t *data, uint32_t length) {
    for (uint32_t at = 0; at < length;) {
        uint32_t run = run_at(data + at, length - at);
        uint32_t plain = 0;
        while (run < 6 && at + plain < length) {
            plain++;
            run = at + plain < length ? run_at(data + at + plain, length - at - plain) : 6;
        }
        patch_byte(writer, plain ? 0 : 1);
        crle_size(writer, plain ? plain : run);
        patch_bytes(writer, data + at, plain ? plain : 1);
        at += plain ? plain : run;
    }
}

uint32_t make_patch(uint32_t compression, const uint8_t *old, uint32_t old_size, const uint8_t *new_image,
                    uint32_t new_size, uint8_t *patch) {
    static uint8_t content[0x20000];
    struct patch_writer inner = {content, 0}, writer = {patch, 0};
    uint32_t both = old_size < new_size ? old_size : new_size;
    patch_number(&inner, 0);
    patch_number(&inner, both);
    for (uint32_t i = 0; i < both; i++) patch_byte(&inner, (uint32_t)(new_image[i] - old[i]));
    patch_number(&inner, new_size - both);
    patch_bytes(&inner, new_image + both, new_size - both);
    patch_number(&inner, 0);
    patch_byte(&writer, compression);
    patch_number(&writer, new_size);
    if (compression == CRLE) crle(&writer, content, inner.used);
    else patch_bytes(&writer, content, inner.used);
    return writer.used;
}
