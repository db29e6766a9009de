// SPDX-License-Identifier: Apache-2.0
// CBOR: what is well formed is read, what is not ends the reading, and nothing is read behind the end.
#include <stdlib.h>
#include <string.h>

#include "cbor.h"
#include "check.h"
#include "host_port.h"

// In a buffer of exactly this size, so that the sanitizer sees a read behind it.
static bool is_map(const void *data, uint32_t length) {
    uint8_t *copy = malloc(length ? length : 1);
    memcpy(copy, data, length);
    struct cbor_item item;
    bool good = cbor_is_map(copy, length);
    (void)cbor_find(copy, length, "x", &item);
    free(copy);
    return good;
}

#define MAP(bytes) is_map(bytes, sizeof(bytes) - 1)

static void test_forms(void) {
    CHECK(MAP("\xA0"));
    CHECK(MAP("\xA1\x61" "a\x01"));
    CHECK(MAP("\xBF\x61" "a\x01\xFF"));           // indefinite outer map
    CHECK(!MAP("\xBF\x61" "a\x01"));              // without its end
    CHECK(!MAP("\xA1\x61" "a\x9F\x01\xFF"));      // indefinite inside: no client sends it
    CHECK(!MAP("\xA1\x01\x01"));                  // a key that is no text
    CHECK(!MAP("\xA2\x61" "a\x01"));              // fewer pairs than said
    CHECK(!MAP("\x81\x01"));                      // no map
    CHECK(!MAP("\xA1\x61" "a\x1C"));              // reserved
    CHECK(!MAP("\xA1\x61" "a\x1B\x00\x00\x00\x01\x00\x00\x00\x00"));  // more than 32 bits
    CHECK(MAP("\xA1\x61" "a\x1B\x00\x00\x00\x00\xFF\xFF\xFF\xFF"));   // a long form of a number that fits
    CHECK(!MAP("\xA1\x61" "a\x5A\xFF\xFF\xFF\xFF" "b"));              // a string longer than everything
    CHECK(MAP("\xA1\x61" "a\x82\xA1\x61" "b\xC1\x01\xF5"));           // nested
    CHECK(!MAP("\xA1\x61" "a\x81\x81\x81\x81\x81\x81\x81\x81\x81\x01"));  // too deep
    CHECK(!MAP("\xA1\x61" "a\x9A\xFF\xFF\xFF\xFF"));
    CHECK(!MAP(""));
}

static void test_values(void) {
    static const uint8_t map[] = "\xA4\x61" "a\x18\x2A\x61" "b\x43xyz\x61" "c\xF5\x62" "aa\x01";
    struct cbor_item item;
    uint32_t length = sizeof map - 1;
    CHECK(cbor_find(map, length, "a", &item) && item.type == CBOR_UNSIGNED && item.value == 42);
    CHECK(cbor_find(map, length, "b", &item) && item.type == CBOR_BYTES && item.value == 3 && item.data[2] == 'z');
    CHECK(cbor_find(map, length, "c", &item) && item.type == CBOR_SIMPLE && item.value == CBOR_TRUE);
    CHECK(cbor_find(map, length, "aa", &item) && item.value == 1);
    CHECK(!cbor_find(map, length, "d", &item) && !cbor_find(map, length, "", &item));
}

static void test_random_bytes(void) {
    static const uint8_t good[] = "\xA4\x61" "a\x18\x2A\x61" "b\x43xyz\x61" "c\xF5\x62" "aa\x82\x01\xA1\x61q\x02";
    uint8_t data[sizeof good];
    unsigned accepted = 0;
    host_seed(3);
    for (uint32_t run = 0; run < 100000; run++) {
        memcpy(data, good, sizeof good);
        for (uint32_t i = 0; i < 1 + run % 3; i++) data[host_random() % (sizeof good - 1)] = (uint8_t)host_random();
        accepted += is_map(data, host_random() % sizeof good);
    }
    CHECK(accepted < 100000);
    CHECK(is_map(good, sizeof good - 1));
    for (uint32_t length = 0; length < sizeof good - 1; length++) CHECK(!is_map(good, length));
}

static void test_writer(void) {
    uint8_t data[16];
    struct cbor_writer out;
    static const struct {
        uint32_t value, length;
        const char *bytes;
    } numbers[] = {{0, 1, "\x00"}, {23, 1, "\x17"}, {24, 2, "\x18\x18"}, {255, 2, "\x18\xFF"}, {256, 3, "\x19\x01\x00"},
                   {65535, 3, "\x19\xFF\xFF"}, {65536, 5, "\x1A\x00\x01\x00\x00"},
                   {0xFFFFFFFF, 5, "\x1A\xFF\xFF\xFF\xFF"}};
    for (uint32_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        cbor_start(&out, data, sizeof data);
        cbor_head(&out, CBOR_UNSIGNED, numbers[i].value);
        CHECK(out.used == numbers[i].length && memcmp(data, numbers[i].bytes, out.used) == 0);
    }
    cbor_start(&out, data, 4);
    cbor_bytes(&out, "abc", 3);
    CHECK(!out.full && out.used == 4);
    cbor_bool(&out, true);
    CHECK(out.full && out.used == 4);
}

const struct test tests_cbor[] = {
    {"forms", test_forms},
    {"values", test_values},
    {"random_bytes", test_random_bytes},
    {"writer", test_writer},
    {0, 0},
};
