// SPDX-License-Identifier: Apache-2.0
// The patch decoder: what it takes, and that it refuses everything else without reading or writing beside its memory.
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "delta.h"
#include "host_port.h"
#include "patch_maker.h"

#define OLD_SIZE 900u
#define NEW_SIZE 1300u
#define ROOM 4096u

static struct delta delta;
static uint8_t old_bytes[OLD_SIZE], new_bytes[NEW_SIZE], patch[ROOM], made[ROOM];
static uint32_t made_size;

static result_t append(void *context, const uint8_t *data, uint32_t length) {
    (void)context;
    if (length > sizeof made - made_size) return RESULT_OF(ERROR_TOO_LARGE);
    memcpy(made + made_size, data, length);
    made_size += length;
    return RESULT_OK;
}

// Copies of exactly these sizes, so that the sanitizer sees a read behind them.
static result_t apply_to(uint32_t old_size, const uint8_t *data, uint32_t size) {
    uint8_t *old = malloc(old_size ? old_size : 1), *copy = malloc(size ? size : 1);
    memcpy(old, old_bytes, old_size);
    memcpy(copy, data, size);
    struct image_source from = image_in_ram(old, old_size), source = image_in_ram(copy, size);
    made_size = 0;
    result_t result = delta_open(&delta, &source, 0, size);
    if (result_ok(result)) result = delta_run(&delta, &from, append, 0);
    free(old);
    free(copy);
    return result;
}

static result_t apply(const struct patch_writer *writer) { return apply_to(OLD_SIZE, writer->data, writer->used); }

static bool made_new(void) { return made_size == NEW_SIZE && memcmp(made, new_bytes, NEW_SIZE) == 0; }

static void prepare_images(void) {
    host_seed(1);
    for (uint32_t i = 0; i < OLD_SIZE; i++) old_bytes[i] = (uint8_t)host_random();
    for (uint32_t i = 0; i < NEW_SIZE; i++) new_bytes[i] = i < OLD_SIZE ? old_bytes[i] : (uint8_t)host_random();
    for (uint32_t i = 0; i < NEW_SIZE; i += 100) new_bytes[i] ^= 0x55;
}

static void test_none_and_crle(void) {
    prepare_images();
    for (uint32_t compression = 0; compression <= 2; compression += 2) {
        check_context("compression %u", compression);
        uint32_t size = make_patch(compression, old_bytes, OLD_SIZE, new_bytes, NEW_SIZE, patch);
        CHECK(apply_to(OLD_SIZE, patch, size) == RESULT_OK && made_new());
        CHECK(apply_to(OLD_SIZE - 1, patch, size) == RESULT_OF(ERROR_BAD_PATCH));
        patch[size] = 0;
        CHECK(apply_to(OLD_SIZE, patch, size + 1) == RESULT_OF(ERROR_BAD_PATCH));  // a byte too many
    }
}

static void test_truncations(void) {
    prepare_images();
    for (uint32_t compression = 0; compression <= 2; compression += 2) {
        uint32_t size = make_patch(compression, old_bytes, OLD_SIZE, new_bytes, NEW_SIZE, patch);
        for (uint32_t length = 0; length < size; length++) {
            check_context("compression %u, %u of %u bytes", compression, length, size);
            CHECK(apply_to(OLD_SIZE, patch, length) == RESULT_OF(ERROR_BAD_PATCH));
        }
    }
}

// Begins a patch for `size` bytes without compression.
static struct patch_writer begin(uint32_t size) {
    struct patch_writer writer = {patch, 0};
    patch_byte(&writer, 0);
    patch_number(&writer, size);
    patch_number(&writer, 0);
    return writer;
}

static void add_round(struct patch_writer *writer, int64_t diff, int64_t extra, int64_t step) {
    static const uint8_t zeros[64];
    patch_number(writer, diff);
    if (diff > 0 && diff <= 64) patch_bytes(writer, zeros, (uint32_t)diff);
    patch_number(writer, extra);
    if (extra > 0 && extra <= 64) patch_bytes(writer, zeros, (uint32_t)extra);
    patch_number(writer, step);
}

static void test_rounds(void) {
    static const struct {
        int64_t first[3], second[3];
        bool good;
    } rows[] = {
        {{10, 0, 0}, {10, 0, 0}, true},        {{10, 0, -10}, {10, 0, 0}, true},
        {{0, 0, 890}, {10, 10, 0}, true},      {{0, 0, 891}, {10, 10, 0}, false},
        {{10, 0, -11}, {10, 0, 0}, false},     {{0, 10, 901}, {0, 10, 0}, false},
        {{0, 0, 0}, {0, 0, 0}, false},         {{21, 0, 0}, {0, 0, 0}, false},
        {{0, 21, 0}, {0, 0, 0}, false},        {{10, 11, 0}, {0, 0, 0}, false},
        {{-1, 0, 0}, {10, 10, 0}, false},      {{0, -1, 0}, {10, 10, 0}, false},
        {{10, 0, 0}, {10, 0, -21}, false},     {{10, 0, 0}, {10, 0, 880}, true},
        {{10, 0, 0}, {10, 0, 881}, false},     {{0, 10, 0x7FFFFFFF}, {0, 10, 0}, false},
        {{0, 10, -0x7FFFFFFF}, {0, 10, 0}, false}, {{0, 10, 0x80000000}, {0, 10, 0}, false},
    };
    prepare_images();
    for (uint32_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_context("row %u", i);
        struct patch_writer writer = begin(20);
        add_round(&writer, rows[i].first[0], rows[i].first[1], rows[i].first[2]);
        add_round(&writer, rows[i].second[0], rows[i].second[1], rows[i].second[2]);
        result_t result = apply(&writer);
        CHECK(result == (rows[i].good ? RESULT_OK : RESULT_OF(ERROR_BAD_PATCH)));
        CHECK(!rows[i].good || made_size == 20);
    }
    struct patch_writer more = begin(20);  // more than it said, and then it ends
    add_round(&more, 10, 11, 0);
    CHECK(apply(&more) == RESULT_OF(ERROR_BAD_PATCH));
}

static void test_heads(void) {
    static const struct {
        uint8_t bytes[12];
        uint32_t size;
        bool good;
    } rows[] = {
        {{0x00, 0x00}, 2, true},                                      // nothing, out of anything
        {{0x00, 0x00, 0x00}, 3, false},                               // and a byte too many
        {{0x04, 0x00, 0x44}, 3, false},                               // the same with heatshrink
        {{0x10, 0x00}, 2, false},                                     // in-place
        {{0x20, 0x00}, 2, false},                                     // hdiffpatch
        {{0x80, 0x00}, 2, false},                                     // the bit that is padding
        {{0x01, 0x01, 0x00}, 3, false},                               // lzma
        {{0x00, 0x41}, 2, false},                                     // a size below zero
        {{0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0x1F}, 6, false},             // 2^31 and more
        {{0x00, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00}, 7, false},       // a number without end
        {{0x00, 0x01, 0x01, 0x00, 0x01, 0x00, 0x00}, 7, false},       // a data format patch
        {{0x00, 0x01, 0x00, 0x00, 0x01, 0x00, 0x00}, 7, true},        // one byte of its own
        {{0x02, 0x01, 0x02, 0x00}, 4, false},                         // crle: an unknown kind
        {{0x02, 0x01, 0x00, 0x05, 0x00, 0x00, 0x01, 0x00, 0x00}, 9, true},
        {{0x02, 0x01, 0x00, 0x06, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00}, 10, false},  // crle: a segment that is too long
        {{0x02, 0x01, 0x01, 0x00, 0x00, 0x01, 0x00, 0x00, 0x01, 0x00, 0x00}, 11, false},  // segments without content
        {{0x02, 0x01, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0x00}, 9, false},               // 2^32 zeros
        {{0x02, 0x01, 0x01, 0x1F, 0x00, 0x00, 0x04, 0x00, 0x01, 0x00, 0x00}, 11, false},  // ten rounds of nothing
        {{0x02, 0x01, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0x07, 0x00}, 9, false},  // 2^31 - 1 zeros: rounds of nothing
        {{0x04, 0x01}, 2, false},                                     // heatshrink: without its sizes
        {{0x04, 0x01, 0x80, 0x80, 0x40, 0x20, 0x30, 0x08, 0x00}, 9, true},   // a window of 2^12
        {{0x04, 0x01, 0x90, 0x80, 0x40, 0x20, 0x30, 0x08, 0x00}, 9, false},  // of 2^13
        {{0x04, 0x01, 0x01}, 3, false},                               // counts as long as the window
    };
    prepare_images();
    for (uint32_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_context("row %u", i);
        result_t result = apply_to(OLD_SIZE, rows[i].bytes, rows[i].size);
        CHECK(result == (rows[i].good ? RESULT_OK : RESULT_OF(ERROR_BAD_PATCH)));
    }
}

struct bits {
    struct patch_writer *writer;
    uint32_t value, count;
};

static void put_bits(struct bits *bits, uint32_t value, uint32_t count) {
    for (uint32_t i = count; i-- > 0;) {
        bits->value = bits->value << 1 | (value >> i & 1u);
        if (++bits->count % 8 == 0) patch_byte(bits->writer, bits->value & 0xFF);
    }
}

static void put_literal(struct bits *bits, uint32_t value) { put_bits(bits, 0x100 | value, 9); }

// Window 2^8, counts of 7 bits: a copy that reads what it writes, and one from before the first byte (zeros).
static void write_heatshrink(uint32_t filler) {
    struct patch_writer writer = {patch, 0};
    patch_byte(&writer, 4);
    patch_number(&writer, 60);
    patch_byte(&writer, 0x44);
    struct bits bits = {&writer, 0, 0};
    put_bits(&bits, 0, 1);  // the data format and the number of differences: two zeros, from before the start
    put_bits(&bits, 99, 8);
    put_bits(&bits, 1, 7);
    put_literal(&bits, 60);  // bytes as they are: 60, of which "abc" comes 20 times
    put_literal(&bits, 'a');
    put_literal(&bits, 'b');
    put_literal(&bits, 'c');
    put_bits(&bits, 0, 1);
    put_bits(&bits, 2, 8);
    put_bits(&bits, 56, 7);
    put_literal(&bits, 0);
    while (bits.count % 8 != 0) put_bits(&bits, filler, 1);
    made_size = writer.used;
}

static void test_heatshrink(void) {
    prepare_images();
    write_heatshrink(0);
    uint32_t size = made_size;
    CHECK(apply_to(OLD_SIZE, patch, size) == RESULT_OK && made_size == 60);
    for (uint32_t i = 0; i < 60; i++) CHECK(made[i] == "abc"[i % 3]);
    for (uint32_t length = 0; length < size; length++) {
        check_context("%u of %u bytes", length, size);
        CHECK(apply_to(OLD_SIZE, patch, length) == RESULT_OF(ERROR_BAD_PATCH));
    }
    patch[size] = 0;
    CHECK(apply_to(OLD_SIZE, patch, size + 1) == RESULT_OF(ERROR_BAD_PATCH));
    write_heatshrink(1);
    CHECK(apply_to(OLD_SIZE, patch, size) == RESULT_OF(ERROR_BAD_PATCH));  // bits that nobody wrote
}

// Damage at random: whatever comes out, nothing beside the memory is touched, and the work ends.
static void test_damage(void) {
    for (uint32_t run = 0; run < 30000; run++) {
        check_context("run %u", run);
        prepare_images();
        uint32_t size;
        if (run % 3 == 2) {
            write_heatshrink(0);
            size = made_size;
        } else {
            size = make_patch(run % 3 * 2, old_bytes, OLD_SIZE, new_bytes, NEW_SIZE, patch);
        }
        host_seed(run + 1);
        uint32_t span = run % 2 ? size : 12;  // the numbers at the start are few bytes: half of the runs aim at them
        for (uint32_t i = 0; i <= host_random() % 3; i++) patch[host_random() % span] = (uint8_t)host_random();
        (void)apply_to(OLD_SIZE, patch, size);
        CHECK(made_size <= sizeof made);
    }
}

const struct test tests_delta[] = {
    {"none_and_crle", test_none_and_crle}, {"truncations", test_truncations}, {"rounds", test_rounds},
    {"heads", test_heads}, {"heatshrink", test_heatshrink}, {"damage", test_damage},
    {0, 0},
};
