// SPDX-License-Identifier: Apache-2.0
// Any bytes as a patch: it ends, gives as many bytes as it promised, and reads neither patch nor old image beyond them.
#include "delta.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "fuzz.h"
#include "patch_maker.h"

#define OLD_MAX 1024u
#define ROOM 8192u  // bytes: what a slot would take

static uint8_t old_bytes[OLD_MAX], new_bytes[OLD_MAX];
static uint32_t given;

static void make_bytes(void) {
    for (uint32_t i = 0; i < OLD_MAX; i++) {
        old_bytes[i] = (uint8_t)(i * 11 + (i >> 6));
        new_bytes[i] = (uint8_t)(old_bytes[i] + (i % 90 == 0));
    }
}

static result_t count(void *context, const uint8_t *data, uint32_t length) {
    volatile uint8_t last = length != 0 ? data[length - 1] : 0;
    (void)context;
    (void)last;
    if (length > ROOM - given) return RESULT_OF(ERROR_TOO_LARGE);
    given += length;
    return RESULT_OK;
}

void fuzz_delta(const uint8_t *data, uint32_t size) {
    static struct delta delta;
    struct feed feed = {data, data + size};
    uint32_t old_size = feed_number(&feed, 2) % (OLD_MAX + 1);
    uint32_t skip = size - feed_left(&feed);
    make_bytes();
    uint8_t *old = malloc(old_size + (old_size == 0));  // of exactly its size, so that the sanitizer sees a byte too many
    if (!old) return;
    memcpy(old, old_bytes, old_size);
    struct image_source base = image_in_ram(old, old_size), patch = image_in_ram(data, size);
    given = 0;
    result_t result = delta_open(&delta, &patch, skip, feed_left(&feed));
    if (result_ok(result)) {
        result = delta_run(&delta, &base, count, 0);
        HOLDS(!result_ok(result) || given == delta.size);
        HOLDS(given <= delta.size && delta.at <= delta.end && delta.end <= size);
    }
    HOLDS(result_ok(result) || result_error(result) != ERROR_UNKNOWN);
    free(old);
}

uint32_t seed_delta(uint32_t number, uint8_t *data) {
    static const uint32_t compressions[] = {DELTA_NONE, DELTA_CRLE, DELTA_CRLE};
    if (number >= sizeof compressions / sizeof compressions[0]) return 0;
    make_bytes();
    uint32_t old_size = number == 2 ? 1 : OLD_MAX - 24;
    data[0] = (uint8_t)old_size;
    data[1] = (uint8_t)(old_size >> 8);
    return 2 + make_patch(compressions[number], old_bytes, old_size, new_bytes, OLD_MAX, data + 2);
}
