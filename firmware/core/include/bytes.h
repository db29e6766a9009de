// SPDX-License-Identifier: Apache-2.0
// Reading and writing integers in byte buffers, comparing and copying with a bound. Nothing here allocates.
#ifndef ASSAY_BYTES_H
#define ASSAY_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// From the toolchain's run-time library (crypto/ brings it); declared here since freestanding C has no <string.h>.
void *memcpy(void *restrict target, const void *restrict source, size_t length);
void *memmove(void *target, const void *source, size_t length);
void *memset(void *target, int value, size_t length);
int memcmp(const void *left, const void *right, size_t length);

static inline uint16_t le16(const uint8_t *p) { return (uint16_t)(p[0] | (p[1] << 8)); }
static inline uint32_t le32(const uint8_t *p) { return le16(p) | ((uint32_t)le16(p + 2) << 16); }
static inline uint16_t be16(const uint8_t *p) { return (uint16_t)((p[0] << 8) | p[1]); }

static inline void put_be16(uint8_t *p, uint32_t value) {
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static inline void put_le32(uint8_t *p, uint32_t value) {
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
    p[2] = (uint8_t)(value >> 16);
    p[3] = (uint8_t)(value >> 24);
}

static inline uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }

// Compares all bytes whatever they hold, so that its time tells nothing about where they differ.
bool bytes_equal(const void *left, const void *right, uint32_t length);

// True if every byte has the value.
bool bytes_are(const void *data, uint8_t value, uint32_t length);

// Length of a text, at most `limit`.
uint32_t text_length(const char *text, uint32_t limit);

#endif
