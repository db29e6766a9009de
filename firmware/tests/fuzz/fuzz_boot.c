// SPDX-License-Identifier: Apache-2.0
// A board that is switched on with anything in its flash: it ends in an image that was signed for it, or in recovery;
// never twice in another one, and never in recovery because of a trailer.
#include <string.h>

#include "boot.h"
#include "bytes.h"
#include "chip.h"
#include "delta.h"
#include "fuzz.h"
#include "host_port.h"
#include "image_maker.h"
#include "patch_maker.h"
#include "port.h"
#include "trailer.h"

#define CONFIRM 0x80u  // in the first byte: after each boot
#define BOOTS 3u  // in a row, as a person would try

// Good images of one and of three sectors, one that nobody signed, and a patch from the first to the second.
enum { NONE, OLD, NEW, UNSIGNED, PATCH, IMAGES };
static uint8_t images[IMAGES][16384];
static uint32_t sizes[IMAGES];

static void hash_of(uint32_t which, uint8_t hash[SHA256_SIZE]) {
    struct image image;
    struct image_source source = image_in_ram(images[which], sizes[which]);
    HOLDS(result_ok(image_parse(&source, &image)));
    memcpy(hash, image.hash, SHA256_SIZE);
}

static void make_patch_image(void) {
    static uint8_t body[16384], base[SHA256_SIZE], gives[SHA256_SIZE];
    hash_of(OLD, base);
    hash_of(NEW, gives);
    struct recipe recipe = {.major = 2, .counter = 2, .board = BOARD_NAME, .lowest_revision = 1, .seed = test_seed,
                            .base = base, .gives = gives, .body = body, .patch_format = 1};
    recipe.body_size = make_patch(DELTA_CRLE, images[OLD], sizes[OLD], images[NEW], sizes[NEW], body);
    sizes[PATCH] = make_image(&recipe, images[PATCH]);
}

static void make_images(void) {
    sizes[OLD] = make_good(1, 800, 1, images[OLD]);
    sizes[NEW] = make_good(2, 9000, 2, images[NEW]);
    sizes[UNSIGNED] = make_good(9, 700, 9, images[UNSIGNED]);
    images[UNSIGNED][sizes[UNSIGNED] - 40] ^= 1;  // of the signature, which comes last
    make_patch_image();
}

static void put_image(uint32_t offset, uint32_t which) { memcpy(host_flash + offset, images[which], sizes[which]); }

static bool runs(const struct boot_choice *choice, uint32_t which) {
    return choice->loaded == sizes[which] && memcmp(port_memory(RAM_APP_BASE), images[which], sizes[which]) == 0;
}

void fuzz_boot(const uint8_t *data, uint32_t size) {
    struct feed feed = {data, data + size};
    uint8_t otp[AREA_OTP_SIZE];
    if (sizes[OLD] == 0) make_images();
    host_blank();
    uint32_t first = feed_number(&feed, 1);
    uint32_t which = first & 0x7Fu;
    put_image(AREA_PRIMARY_OFFSET, which % IMAGES);
    put_image(AREA_SECONDARY_OFFSET, which / IMAGES % IMAGES);
    uint32_t touched = chip_fill(&feed);
    memcpy(otp, host_flash + AREA_OTP_OFFSET, sizeof otp);
    // What decides for recovery: images, the journal of a swap, the counter. Trailers, notes and what else is there do not.
    bool must_run = (which % IMAGES == OLD || which % IMAGES == NEW) &&
                    (touched & (TOUCHED(AREA_PRIMARY) | TOUCHED(AREA_STATUS) | TOUCHED(AREA_COUNTERS))) == 0;
    for (uint32_t i = 0; i < BOOTS; i++) {
        struct boot_choice choice;
        host_power_on();
        result_t result = boot_choose(test_key, &choice);
        HOLDS(result_ok(result) || !must_run);
        HOLDS(!result_ok(result) || runs(&choice, OLD) || runs(&choice, NEW));
        HOLDS(!result_ok(result) || result_ok(boot_verify_again(test_key, &choice)));
        HOLDS(memcmp(otp, host_flash + AREA_OTP_OFFSET, sizeof otp) == 0);
        if ((first & CONFIRM) != 0 && result_ok(result)) (void)trailer_confirm(AREA_PRIMARY);
    }
}

static uint32_t put_trailer(uint8_t *at, enum area area, bool copy_done, bool image_ok) {
    static const uint8_t magic[16] = {0x77, 0xC2, 0x95, 0xF3, 0x60, 0xD2, 0xEF, 0x7F,
                                      0x35, 0x52, 0x50, 0x0F, 0x2C, 0xB6, 0x79, 0x80};
    uint8_t trailer[32];
    memset(trailer, FLASH_ERASED, sizeof trailer);
    if (copy_done) trailer[0] = 1;
    if (image_ok) trailer[8] = 1;
    memcpy(trailer + 16, magic, sizeof magic);
    return chip_put(at, area, flash_area_size(area) - sizeof trailer, trailer, sizeof trailer);
}

// The wish, the way back, and a swap that was cut behind its second sector.
uint32_t seed_boot(uint32_t number, uint8_t *data) {
    uint32_t used = 1;
    data[0] = OLD + NEW * IMAGES;
    switch (number) {
        case 0: return used + put_trailer(data + used, AREA_SECONDARY, false, false);
        case 1: return used + put_trailer(data + used, AREA_SECONDARY, false, true);
        case 2: return used + put_trailer(data + used, AREA_PRIMARY, true, false);
        case 3: return used + put_trailer(data + used, AREA_SECONDARY, true, true);
        case 4:
            used += chip_put_head(data + used, AREA_STATUS, 0, 1, 1, 3);
            return used + chip_put(data + used, AREA_STATUS, 64, "\0\0\0\0\0\0", 6);
        case 5: data[0] = UNSIGNED + NEW * IMAGES; return used;
        case 6:
            data[0] = OLD + UNSIGNED * IMAGES + CONFIRM;
            return used + put_trailer(data + used, AREA_SECONDARY, false, true);
        case 7: return used + chip_put_head(data + used, AREA_STATUS, 1, 3, 3, 2);
        case 8:
            data[0] = OLD + PATCH * IMAGES;
            return used + put_trailer(data + used, AREA_SECONDARY, false, false);
        default: return 0;
    }
}
