// SPDX-License-Identifier: Apache-2.0
// Uploads over SMP: whole ones, ones that go on or begin anew, damaged ones, and ones that are refused.
#include <string.h>

#include "boot.h"
#include "cbor.h"
#include "check.h"
#include "counter.h"
#include "crc.h"
#include "image_maker.h"
#include "slots.h"
#include "smp_assay.h"
#include "smp_client.h"
#include "smp_scene.h"

static void test_in_chunks(void) {
    static const uint32_t chunks[] = {1, 32, 333, 512, 1900};
    for (uint32_t i = 0; i < 5; i++) {
        check_context("chunks of %u", chunks[i]);
        prepare();
        CHECK(upload_from(0, chunks[i]) == 0);
        CHECK(in_flash());
    }
}

static void test_resumes(void) {
    prepare();
    upload(0, 700, true);
    CHECK(number("off") == 700);
    upload(0, 700, true);  // the client starts again: it is told where the upload stands
    CHECK(number("off") == 700);
    upload(300, 100, true);  // sent twice
    CHECK(error() == 0 && number("off") == 700);
    upload(1400, 700, true);  // sent ahead of a lost one
    CHECK(error() == 0 && number("off") == 700);
    CHECK(upload_from(700, 700) == 0 && in_flash());
    upload(0, 700, true);  // the last answer was lost
    CHECK(number("off") == image_size);
    upload(image_size - 10, 10, true);
    CHECK(error() == 0 && number("off") == image_size);
}

static void test_starts_anew(void) {
    prepare();
    upload(0, 700, true);
    sha[0] ^= 1;  // another upload by its name
    upload(0, 600, true);
    CHECK(number("off") == 600);
    upload(0, 500, false);  // one without a name always begins
    CHECK(number("off") == 500);
    start_request(0);
    ask(true, GROUP_IMAGE, 5);
    CHECK(error() == 0);
    upload(500, 500, false);  // erased: nothing is under way
    CHECK(error() == ERROR_BAD_REQUEST);
}

// A frame with a checksum, changed afterwards at one byte of its body.
static void upload_damaged(uint32_t offset, uint32_t length, uint32_t at, uint8_t flip) {
    uint8_t head[4] = {(uint8_t)offset, (uint8_t)(offset >> 8), 0, 0};
    struct cbor_writer *out = start_request(3);
    cbor_put_number(out, "crc", crc32_of(crc32(head, 4), image + offset, length));
    cbor_put_number(out, "off", offset);
    cbor_put_bytes(out, "data", image + offset, length);
    request[SMP_HEADER_SIZE + at] ^= flip;
    ask(true, GROUP_IMAGE, 1);
}

// Wherever a frame is damaged, nothing of it is taken, unless the damage is to the word "crc" itself (then it is a
// frame without); what arrived before stays, and the whole frame is taken when it comes again.
static void test_damaged_frames(void) {
    prepare();
    upload(0, 700, true);
    upload_damaged(700, 500, 0, 0);
    CHECK(error() == 0 && number("off") == 1200);
    uint32_t length = body.used;
    for (uint32_t at = 0; at < length; at++) {
        if (at >= 1 && at <= 4) continue;  // the word
        for (uint32_t bit = 0; bit < 8; bit++) {
            check_context("byte %u, bit %u", at, bit);
            upload_damaged(1200, 500, at, (uint8_t)(1u << bit));
            CHECK(error() != 0 || number("off") == 1200);
        }
    }
    CHECK(upload_from(1200, 500) == 0 && in_flash());
}

static void test_of_what_is_there(void) {
    prepare();
    CHECK(upload_from(0, 500) == 0);
    smp_image_init(&app_image_stage);  // a reset: the device remembers no upload
    upload(0, 64, true);
    struct cbor_item match;
    CHECK(error() == 0 && number("off") == image_size && got("match", &match) && in_flash());
    smp_image_init(&app_image_stage);
    host_flash[AREA_SECONDARY_OFFSET + 3000] ^= 1;  // not the same file any more
    upload(0, 64, true);
    CHECK(error() == 0 && number("off") == 64);
    CHECK(upload_from(64, 500) == 0 && in_flash());
}

static void test_refusals(void) {
    prepare();
    image[700] ^= 1;
    CHECK(upload_from(0, 500) == ERROR_BAD_HASH);
    CHECK(host_flash[AREA_SECONDARY_OFFSET] == FLASH_ERASED);  // its first page never came
    image[700] ^= 1;
    CHECK(upload_from(0, 500) == 0 && in_flash());  // and the session goes on
    uint32_t size = image_size;
    image_size = slots[0].limit + 1;
    upload(0, 100, true);
    CHECK(error() == ERROR_TOO_LARGE);
    image_size = size;
    assay_stage.state = STATE_TESTING;
    upload(0, 100, false);
    CHECK(error() == ERROR_BUSY);
    start_request(0);
    ask(true, GROUP_IMAGE, 5);
    CHECK(error() == ERROR_BUSY);
    assay_stage.state = STATE_CONFIRMED;
    cbor_put_number(start_request(1), "slot", 0);
    ask(true, GROUP_IMAGE, 5);
    CHECK(error() == ERROR_NOT_HERE);
}

static void test_refuses_by_board_and_counter(void) {
    const struct recipe foreign = {.major = 2, .body_size = 3000, .counter = 1, .board = "other", .seed = test_seed};
    struct sha256 hash;
    prepare();
    image_size = make_image(&foreign, image);
    sha256_init(&hash);
    sha256_update(&hash, image, image_size);
    sha256_final(&hash, sha);
    CHECK(upload_from(0, 500) == ERROR_BOARD_MISMATCH);
    prepare();
    CHECK(result_ok(counter_raise(0, 5)));
    CHECK(upload_from(0, 500) == ERROR_DOWNGRADE);
}

// What lies behind an image is refused, and a trailer among it by a number of its own.
static void test_refuses_what_is_behind_an_image(void) {
    static const uint8_t magic[16] = {0x77, 0xC2, 0x95, 0xF3, 0x60, 0xD2, 0xEF, 0x7F,
                                      0x35, 0x52, 0x50, 0x0F, 0x2C, 0xB6, 0x79, 0x80};
    prepare();
    memset(image + image_size, FLASH_ERASED, 64);
    image_size += 64;
    name_upload();
    CHECK(upload_from(0, 500) == ERROR_WRONG_LENGTH);
    memcpy(image + image_size - 16, magic, 16);
    name_upload();
    CHECK(upload_from(0, 500) == ERROR_LYING_TRAILER);
    image_size -= 65;
    uint32_t size = image_size;
    image_size = AREA_SECONDARY_SIZE;
    upload(0, 500, true);
    CHECK(error() == ERROR_LYING_TRAILER);
    image_size = size;
    name_upload();
    CHECK(upload_from(0, 500) == ERROR_WRONG_LENGTH);
    CHECK(host_flash[AREA_SECONDARY_OFFSET] == FLASH_ERASED);
}

static void test_refuses_by_tlv(void) {
    const struct recipe unknown = {.major = 2, .body_size = 3000, .counter = 1, .board = BOARD_NAME, .seed = test_seed,
                                   .protected_tlv = 0xB0, .tlv_length = 4};
    const struct recipe lonely = {.major = 2, .body_size = 3000, .counter = 1, .board = BOARD_NAME, .seed = test_seed,
                                  .dependencies = 1, .depends_on = IMAGE_COUNT};
    const struct recipe newer = {.major = 2, .body_size = 3000, .counter = 1, .board = BOARD_NAME, .seed = test_seed,
                                 .lowest_revision = BOARD_REVISION + 1};
    static const uint32_t wanted[] = {ERROR_UNKNOWN_TLV, ERROR_DEPENDENCY, ERROR_REVISION};
    const struct recipe *recipes[] = {&unknown, &lonely, &newer};
    for (uint32_t i = 0; i < 3; i++) {
        prepare();
        image_size = make_image(recipes[i], image);
        name_upload();
        CHECK(upload_from(0, 500) == wanted[i]);
    }
}

const struct test tests_smp_upload[] = {
    {"in_chunks", test_in_chunks},
    {"resumes", test_resumes},
    {"starts_anew", test_starts_anew},
    {"damaged_frames", test_damaged_frames},
    {"of_what_is_there", test_of_what_is_there},
    {"refusals", test_refusals},
    {"refuses_by_board_and_counter", test_refuses_by_board_and_counter},
    {"refuses_what_is_behind_an_image", test_refuses_what_is_behind_an_image},
    {"refuses_by_tlv", test_refuses_by_tlv},
    {0, 0},
};
