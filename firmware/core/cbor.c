// SPDX-License-Identifier: Apache-2.0
// CBOR without a heap and without recursion; see cbor.h. Integers are at most 32 bits, which is what a request here can
// mean. Lengths may be definite or, for the outer map, indefinite: both kinds of client exist.
#include "cbor.h"

#include "bytes.h"

#define INDEFINITE 31u
#define BREAK 0xFFu

struct reader {
    const uint8_t *at, *end;
};

// Reads the head of one item. False if it is cut off, reserved, or more than 32 bits.
static bool read_head(struct reader *reader, struct cbor_item *item, bool *indefinite) {
    if (reader->at == reader->end) return false;
    uint8_t first = *reader->at++;
    uint32_t extra = first & 31u;
    item->type = (enum cbor_type)(first >> 5);
    item->value = extra;
    *indefinite = extra == INDEFINITE;
    if (extra < 24 || *indefinite) return true;
    if (extra > 27) return false;
    uint32_t bytes = 1u << (extra - 24);
    if ((uint32_t)(reader->end - reader->at) < bytes) return false;
    uint64_t value = 0;
    for (uint32_t i = 0; i < bytes; i++) value = (value << 8) | *reader->at++;
    item->value = (uint32_t)value;
    return value <= UINT32_MAX;
}

static bool read_item(struct reader *reader, struct cbor_item *item) {
    bool indefinite;
    if (!read_head(reader, item, &indefinite) || indefinite) return false;
    if (item->type != CBOR_BYTES && item->type != CBOR_TEXT) return true;
    if (item->value > (uint32_t)(reader->end - reader->at)) return false;
    item->data = reader->at;
    reader->at += item->value;
    return true;
}

// How many items follow the head of this one and belong to it. False if that is more than any request has.
static bool inner_items(const struct cbor_item *item, uint32_t *count) {
    *count = 0;
    if (item->type == CBOR_TAG) *count = 1;
    if (item->type == CBOR_ARRAY || item->type == CBOR_MAP) {
        if (item->value > CBOR_ITEMS_MAX) return false;
        *count = item->type == CBOR_MAP ? 2 * item->value : item->value;
    }
    return true;
}

// Skips what belongs to an item whose head was read.
static bool skip_inside(struct reader *reader, const struct cbor_item *item) {
    uint32_t left[CBOR_DEPTH_MAX];
    uint32_t depth = 0, seen = 0;
    if (!inner_items(item, &left[0])) return false;
    while (left[0] != 0 || depth != 0) {
        struct cbor_item inner;
        if (left[depth] == 0) {
            depth--;
            continue;
        }
        left[depth]--;
        if (++seen > CBOR_ITEMS_MAX || !read_item(reader, &inner)) return false;
        uint32_t count;
        if (!inner_items(&inner, &count)) return false;
        if (count == 0) continue;
        if (++depth == CBOR_DEPTH_MAX) return false;
        left[depth] = count;
    }
    return true;
}

struct map {
    struct reader reader;
    uint32_t pairs;  // that are still to come
    bool indefinite;
};

static bool open_map(const uint8_t *data, uint32_t length, struct map *map) {
    struct cbor_item head;
    map->reader = (struct reader){data, data + length};
    if (!read_head(&map->reader, &head, &map->indefinite) || head.type != CBOR_MAP) return false;
    map->pairs = map->indefinite ? CBOR_ITEMS_MAX : head.value;
    return map->pairs <= CBOR_ITEMS_MAX;
}

enum pair { PAIR_READ, PAIR_END, PAIR_BROKEN };

static enum pair next_pair(struct map *map, struct cbor_item *key, struct cbor_item *value) {
    struct reader *reader = &map->reader;
    if (map->indefinite && reader->at != reader->end && *reader->at == BREAK) return PAIR_END;
    if (map->pairs == 0) return map->indefinite ? PAIR_BROKEN : PAIR_END;
    map->pairs--;
    if (!read_item(reader, key) || key->type != CBOR_TEXT) return PAIR_BROKEN;
    return read_item(reader, value) && skip_inside(reader, value) ? PAIR_READ : PAIR_BROKEN;
}

bool cbor_is_map(const uint8_t *data, uint32_t length) {
    struct map map;
    struct cbor_item key, value;
    enum pair pair = PAIR_BROKEN;
    if (!open_map(data, length, &map)) return false;
    for (uint32_t i = 0; i <= CBOR_ITEMS_MAX; i++) {
        pair = next_pair(&map, &key, &value);
        if (pair != PAIR_READ) break;
    }
    return pair == PAIR_END;
}

bool cbor_find(const uint8_t *data, uint32_t length, const char *key, struct cbor_item *item) {
    struct map map;
    struct cbor_item name;
    uint32_t wanted = text_length(key, 64);
    if (!open_map(data, length, &map)) return false;
    for (uint32_t i = 0; i <= CBOR_ITEMS_MAX; i++) {
        if (next_pair(&map, &name, item) != PAIR_READ) return false;
        if (name.value == wanted && memcmp(name.data, key, wanted) == 0) return true;
    }
    return false;
}

void cbor_start(struct cbor_writer *writer, uint8_t *data, uint32_t size) {
    *writer = (struct cbor_writer){.data = data, .size = size};
}

static void add(struct cbor_writer *writer, const void *data, uint32_t length) {
    if (length > writer->size - writer->used) writer->full = true;
    if (writer->full) return;
    memcpy(writer->data + writer->used, data, length);
    writer->used += length;
}

// The shortest form, as deterministic CBOR wants it (RFC 8949 section 4.2.1).
void cbor_head(struct cbor_writer *writer, enum cbor_type type, uint32_t value) {
    uint8_t head[5];
    uint32_t bytes = value < 24 ? 0 : value <= 0xFF ? 1 : value <= 0xFFFF ? 2 : 4;
    uint32_t extra = bytes == 0 ? value : bytes == 1 ? 24 : bytes == 2 ? 25 : 26;
    head[0] = (uint8_t)(((uint32_t)type << 5) | extra);
    for (uint32_t i = 0; i < bytes; i++) head[1 + i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    add(writer, head, 1 + bytes);
}

void cbor_bytes(struct cbor_writer *writer, const void *data, uint32_t length) {
    cbor_head(writer, CBOR_BYTES, length);
    add(writer, data, length);
}

void cbor_text(struct cbor_writer *writer, const char *text, uint32_t length) {
    cbor_head(writer, CBOR_TEXT, length);
    add(writer, text, length);
}

void cbor_string(struct cbor_writer *writer, const char *text) { cbor_text(writer, text, text_length(text, 256)); }

void cbor_bool(struct cbor_writer *writer, bool value) {
    cbor_head(writer, CBOR_SIMPLE, value ? CBOR_TRUE : CBOR_FALSE);
}

void cbor_put_number(struct cbor_writer *writer, const char *key, uint32_t value) {
    cbor_string(writer, key);
    cbor_head(writer, CBOR_UNSIGNED, value);
}

void cbor_put_string(struct cbor_writer *writer, const char *key, const char *text) {
    cbor_string(writer, key);
    cbor_string(writer, text);
}

void cbor_put_bytes(struct cbor_writer *writer, const char *key, const void *data, uint32_t length) {
    cbor_string(writer, key);
    cbor_bytes(writer, data, length);
}

void cbor_put_bool(struct cbor_writer *writer, const char *key, bool value) {
    cbor_string(writer, key);
    cbor_bool(writer, value);
}
