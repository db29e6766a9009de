// SPDX-License-Identifier: Apache-2.0
// Makes MCUboot images; see image_maker.h.
#include "image_maker.h"

#include <string.h>

#include "assay_crypto.h"
#include "board_layout.h"

const uint8_t test_seed[32] = {1, 2, 3};
const uint8_t other_seed[32] = {9, 9, 9};
uint8_t test_key[32];

void image_maker_init(void) { ed25519_public(test_key, test_seed); }

static uint8_t *put16(uint8_t *at, uint32_t value) {
    *at++ = (uint8_t)value;
    *at++ = (uint8_t)(value >> 8);
    return at;
}

static uint8_t *put32(uint8_t *at, uint32_t value) { return put16(put16(at, value), value >> 16); }

static uint8_t *put_tlv(uint8_t *at, uint32_t type, const void *value, uint32_t length) {
    at = put16(put16(at, type), length);
    memcpy(at, value, length);
    return at + length;
}

static const uint8_t zeros[64];

static uint8_t *put_protected(uint8_t *at, const struct recipe *recipe) {
    uint8_t number[4];
    uint8_t *start = at;
    at += 4;
    if (recipe->board && !recipe->board_unprotected)
        at = put_tlv(at, 0xA0, recipe->board, (uint32_t)strlen(recipe->board));
    if (recipe->board_twice) at = put_tlv(at, 0xA0, recipe->board, (uint32_t)strlen(recipe->board));
    put32(number, recipe->lowest_revision);
    at = put_tlv(at, 0xA1, number, 4);
    at = put_tlv(at, 0xA2, "test-module", 11);
    put32(number, recipe->image);
    if (recipe->image != 0) at = put_tlv(at, 0xA6, number, 4);
    put32(number, recipe->counter);
    if (recipe->base) {
        at = put_tlv(at, 0xA3, recipe->base, 32);
        if (!recipe->without_gives) at = put_tlv(at, 0xA4, recipe->gives, 32);
        uint8_t format[4];
        put32(format, recipe->patch_format);
        at = put_tlv(at, 0xA5, format, 4);
    }
    if (!recipe->without_counter) at = put_tlv(at, 0x50, number, 4);
    if (recipe->protected_tlv) at = put_tlv(at, recipe->protected_tlv, zeros, recipe->tlv_length);
    const uint8_t dependency[12] = {recipe->depends_on, 0, 0, 0, 1, recipe->depends_minor};
    for (uint32_t i = 0; i < recipe->dependencies; i++) at = put_tlv(at, 0x40, dependency, sizeof dependency);
    put16(put16(start, 0x6908), (uint32_t)(at - start) + (recipe->wrong_length ? 1 : 0));
    return at;
}

static void hash(const void *head, uint32_t head_size, const void *data, uint32_t size, uint8_t *digest) {
    struct sha256 state;
    sha256_init(&state);
    sha256_update(&state, head, head_size);
    sha256_update(&state, data, size);
    sha256_final(&state, digest);
}

static uint8_t *put_plain(uint8_t *at, const struct recipe *recipe, const uint8_t *digest) {
    static const uint8_t spki[12] = {0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00};
    uint8_t key[32], key_hash[32], signature[96] = {0};
    uint8_t *start = at;
    at += 4;
    if (!recipe->without_hash) at = put_tlv(at, 0x10, digest, 32);
    if (recipe->plain_tlv) at = put_tlv(at, recipe->plain_tlv, zeros, recipe->tlv_length);
    if (recipe->board && recipe->board_unprotected)
        at = put_tlv(at, 0xA0, recipe->board, (uint32_t)strlen(recipe->board));
    if (recipe->seed) {
        ed25519_public(key, recipe->seed);
        ed25519_sign(signature, digest, 32, recipe->seed);
        hash(spki, sizeof spki, key, sizeof key, key_hash);
        at = put_tlv(at, 0x01, key_hash, 32);
        at = put_tlv(at, 0x24, signature, recipe->signature_length ? recipe->signature_length : 64);
    }
    put16(put16(start, 0x6907), (uint32_t)(at - start));
    return at;
}

uint32_t make_image(const struct recipe *recipe, uint8_t *image) {
    uint8_t digest[32];
    uint8_t *body = image + 0x200;
    memset(image, 0, 0x200);
    for (uint32_t i = 0; i < recipe->body_size; i++) body[i] = (uint8_t)(i * 7 + (i >> 8) + recipe->major);
    if (recipe->body) memcpy(body, recipe->body, recipe->body_size);
    uint8_t *end = put_protected(body + recipe->body_size, recipe);
    put32(image, 0x96F3B83D);
    put16(image + 8, 0x200);
    put16(image + 10, (uint32_t)(end - body) - recipe->body_size);
    put32(image + 12, recipe->body_size);
    if (recipe->flag_alone || (recipe->base && !recipe->without_flag)) image[16] = 0x10;
    image[20] = recipe->major;
    image[21] = recipe->minor;
    hash(image, 0, image, (uint32_t)(end - image), digest);
    return (uint32_t)(put_plain(end, recipe, digest) - image);
}

uint32_t make_good(uint8_t major, uint32_t body_size, uint32_t counter, uint8_t *image) {
    const struct recipe recipe = {.major = major, .body_size = body_size, .counter = counter, .board = BOARD_NAME,
                                  .lowest_revision = 1, .seed = test_seed};
    return make_image(&recipe, image);
}
