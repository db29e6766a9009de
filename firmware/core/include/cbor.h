// SPDX-License-Identifier: Apache-2.0
// The part of CBOR (RFC 8949) that SMP and the evidence need: reading values out of one map, and writing in order.
#ifndef ASSAY_CBOR_H
#define ASSAY_CBOR_H

#include <stdbool.h>
#include <stdint.h>

enum cbor_type { CBOR_UNSIGNED, CBOR_NEGATIVE, CBOR_BYTES, CBOR_TEXT, CBOR_ARRAY, CBOR_MAP, CBOR_TAG, CBOR_SIMPLE };

struct cbor_item {
    enum cbor_type type;
    uint32_t value;       // of an integer or simple value; bytes of a string; items of an array or map
    const uint8_t *data;  // of a string
};

#define CBOR_DEPTH_MAX 8u   // levels that are skipped over; SMP requests have two
#define CBOR_ITEMS_MAX 64u  // items in one request; SMP requests have up to six pairs

// Looks up a text key in the map that `data` starts with. False if it is missing, or anything before it is malformed.
bool cbor_find(const uint8_t *data, uint32_t length, const char *key, struct cbor_item *item);

// True if `data` starts with a well-formed map of text keys that ends within `length`.
bool cbor_is_map(const uint8_t *data, uint32_t length);

#define CBOR_FALSE 20u
#define CBOR_TRUE 21u

struct cbor_writer {
    uint8_t *data;
    uint32_t size, used;
    bool full;  // something did not fit; what was written is not whole
};

void cbor_start(struct cbor_writer *writer, uint8_t *data, uint32_t size);
void cbor_head(struct cbor_writer *writer, enum cbor_type type, uint32_t value);
void cbor_bytes(struct cbor_writer *writer, const void *data, uint32_t length);
void cbor_text(struct cbor_writer *writer, const char *text, uint32_t length);
void cbor_string(struct cbor_writer *writer, const char *text);  // up to its NUL
void cbor_bool(struct cbor_writer *writer, bool value);

// A text key and its value.
void cbor_put_number(struct cbor_writer *writer, const char *key, uint32_t value);
void cbor_put_string(struct cbor_writer *writer, const char *key, const char *text);
void cbor_put_bytes(struct cbor_writer *writer, const char *key, const void *data, uint32_t length);
void cbor_put_bool(struct cbor_writer *writer, const char *key, bool value);

#endif
