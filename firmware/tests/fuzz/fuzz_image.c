// SPDX-License-Identifier: Apache-2.0
// Any bytes as an image: in RAM, in flash, and in flash with its first page still in a buffer, all three are judged
// alike; and only the one image that was signed for this board is good.
#include <string.h>

#include "boot.h"
#include "bytes.h"
#include "fuzz.h"
#include "host_port.h"
#include "image_maker.h"
#include "slots.h"

#define BODY 600u

static const uint8_t hash[32] = {1};
static const struct recipe recipes[] = {
    {.major = 1, .body_size = BODY, .counter = 1, .board = BOARD_NAME, .lowest_revision = 1, .seed = test_seed},
    {.major = 2, .body_size = 1, .counter = 1, .board = BOARD_NAME, .lowest_revision = 3, .seed = test_seed},
    {.major = 1, .body_size = 40, .counter = 1, .board = "other-one", .lowest_revision = 1, .seed = test_seed},
    {.major = 1, .body_size = 40, .board = BOARD_NAME, .lowest_revision = 1, .seed = other_seed},
    {.major = 1, .body_size = 40, .counter = 1, .board = BOARD_NAME, .lowest_revision = 1, .seed = test_seed,
     .base = hash, .gives = hash, .patch_format = 1},
    {.major = 1, .body_size = 40, .counter = 1, .board = BOARD_NAME, .lowest_revision = 1, .seed = test_seed,
     .dependencies = 1, .depends_on = 9},
    {.major = 1, .body_size = 40, .counter = 1, .board = BOARD_NAME, .lowest_revision = 1, .seed = test_seed,
     .plain_tlv = 0x30, .tlv_length = 20},
};
#define RECIPES (sizeof recipes / sizeof recipes[0])
static const uint32_t good_ones[] = {0, 6};
#define GOOD_ONES (sizeof good_ones / sizeof good_ones[0])

static uint8_t good[GOOD_ONES][FUZZ_INPUT_MAX];
static uint32_t signed_size[GOOD_ONES];

static void make_good_ones(void) {
    for (uint32_t i = 0; i < GOOD_ONES; i++) {
        (void)make_image(&recipes[good_ones[i]], good[i]);
        signed_size[i] = IMAGE_HEADER_SIZE + le32(good[i] + 12) + le16(good[i] + 10);
    }
}

// All that a signature covers: what follows may hold TLVs that nobody knows, in any order.
static bool is_good(const uint8_t *data, uint32_t size) {
    for (uint32_t i = 0; i < GOOD_ONES; i++) {
        if (size > signed_size[i] && memcmp(data, good[i], signed_size[i]) == 0) return true;
    }
    return false;
}

void fuzz_image(const uint8_t *data, uint32_t size) {
    struct image image;
    if (signed_size[0] == 0) make_good_ones();
    if (size > slots[0].limit) return;
    host_blank();
    host_power_on();
    memcpy(host_flash + AREA_SECONDARY_OFFSET, data, size);
    uint32_t overlay = smaller(size, FLASH_PROGRAM_SIZE);
    const struct image_source sources[] = {
        image_in_ram(data, size),
        image_in_flash(AREA_SECONDARY, size),
        image_in_flash_under(AREA_SECONDARY, size, data, overlay),
    };
    result_t first = boot_verify(&sources[0], test_key, &image);
    HOLDS(!result_ok(first) || is_good(data, size));
    HOLDS(!result_ok(first) || image.total_size <= size);
    HOLDS(result_error(first) != ERROR_UNKNOWN);
    for (uint32_t i = 1; i < sizeof sources / sizeof sources[0]; i++) {
        HOLDS(boot_verify(&sources[i], test_key, &image) == first);
    }
    memset(host_flash + AREA_SECONDARY_OFFSET, 0, overlay);  // under the buffer: is not looked at
    HOLDS(boot_verify(&sources[2], test_key, &image) == first);
}

uint32_t seed_image(uint32_t number, uint8_t *data) {
    static const uint8_t name[4] = {0xA2, 0, 11, 0};
    if (number < RECIPES) return make_image(&recipes[number], data);
    if (number != RECIPES) return 0;
    struct recipe long_name = recipes[0];
    long_name.dependencies = 30;
    uint32_t size = make_image(&long_name, data);
    for (uint32_t i = 0; i + sizeof name < size; i++) {
        if (memcmp(data + i, name, sizeof name) != 0) continue;
        data[i + 2] = 0xF3;  // 499 bytes: the TLVs that follow, too
        data[i + 3] = 1;
    }
    return size;
}
