// SPDX-License-Identifier: Apache-2.0
// The SMP server: what a client gets for good requests, bad ones, and ones in the wrong order.
#include <stdio.h>
#include <string.h>

#include "boot.h"
#include "cbor.h"
#include "check.h"
#include "counter.h"
#include "crc.h"
#include "host_port.h"
#include "image_maker.h"
#include "notes.h"
#include "slots.h"
#include "smp_assay.h"
#include "smp_image.h"
#include "smp_client.h"

static uint8_t image[AREA_SECONDARY_SIZE], sha[32];
static uint32_t image_size;

void prepare(void) {
    struct sha256 hash;
    host_power_on();
    host_blank();
    memcpy(host_flash + AREA_OTP_OFFSET, "ASSYOTP10123456789abcdef", 24);
    (void)make_good(1, 5000, 1, host_flash + AREA_PRIMARY_OFFSET);
    image_size = make_good(2, 6000, 1, image);
    sha256_init(&hash);
    sha256_update(&hash, image, image_size);
    sha256_final(&hash, sha);
    assay_stage.state = STATE_CONFIRMED;
    smp_image_init(&app_image_stage);
}

static uint32_t image_number;

static void upload(uint32_t offset, uint32_t length, bool named) {
    struct cbor_writer *out = start_request(offset == 0 ? (named ? 5 : 4) : 2);
    cbor_put_number(out, "off", offset);
    cbor_put_bytes(out, "data", image + offset, length);
    if (offset == 0) {
        cbor_put_number(out, "image", image_number);
        cbor_put_number(out, "len", image_size);
        if (named) cbor_put_bytes(out, "sha", sha, 32);
    }
    ask(true, GROUP_IMAGE, 1);
}

// Sends on from `offset` until all is there or an error comes.
static uint32_t upload_from(uint32_t offset, uint32_t chunk) {
    while (offset < image_size) {
        uint32_t part = image_size - offset < chunk ? image_size - offset : chunk;
        upload(offset, part, true);
        if (error() != 0) return error();
        if (number("off") <= offset) return 996;
        offset = number("off");
    }
    return 0;
}

static bool in_flash(void) { return memcmp(host_flash + AREA_SECONDARY_OFFSET, image, image_size) == 0; }

static void test_os_group(void) {
    struct cbor_item item;
    prepare();
    for (int write = 0; write < 2; write++) {
        cbor_put_string(start_request(1), "d", "hello");
        ask(write, GROUP_OS, 0);
        CHECK(got("r", &item) && item.value == 5 && memcmp(item.data, "hello", 5) == 0);
        CHECK(answer[0] == (1u << 3 | (write ? 3 : 1)) && answer[6] == 42 && answer[7] == 0);
    }
    start_request(0);
    ask(false, GROUP_OS, 6);
    CHECK(number("buf_size") == 6144 && number("buf_count") == 3);
}

static void test_errors_of_both_versions(void) {
    struct cbor_item item;
    prepare();
    start_request(0);
    ask(true, GROUP_OS, 0);
    CHECK(error() == ERROR_BAD_REQUEST);
    ask_version(0, true, GROUP_OS, 0);
    CHECK(error() == 0 && number("rc") == 3 && got("rsn", &item) && memcmp(item.data, "bad-request", 11) == 0);
    ask(false, GROUP_OS, 99);
    CHECK(number("rc") == 8);
    ask(false, 77, 0);
    CHECK(number("rc") == 8);
    ask(true, GROUP_ASSAY, 0);
    CHECK(number("rc") == 8);
    request[0] = 1 << 3 | 1;  // an answer is not answered
    CHECK(smp_answer(request, 9, answer, sizeof answer) == 0);
    request[0] = 1 << 3;
    CHECK(smp_answer(request, 8, answer, sizeof answer) == 0);  // shorter than its header says
    body.used = 0;
    ask(false, GROUP_OS, 6);
    CHECK(number("buf_size") == 6144);  // no body at all reads as {}
}

static void test_upload(void) {
    static const uint32_t chunks[] = {1, 32, 333, 512, 1900};
    for (uint32_t i = 0; i < 5; i++) {
        check_context("chunks of %u", chunks[i]);
        prepare();
        CHECK(upload_from(0, chunks[i]) == 0);
        CHECK(in_flash());
    }
}

static void test_upload_resumes(void) {
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

static void test_upload_starts_anew(void) {
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
static void test_upload_damaged_frames(void) {
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

static void test_upload_of_what_is_there(void) {
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

static void test_upload_refusals(void) {
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

static void test_upload_refuses_by_board_and_counter(void) {
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

static void name_upload(void) {
    struct sha256 hash;
    sha256_init(&hash);
    sha256_update(&hash, image, image_size);
    sha256_final(&hash, sha);
}

// What lies behind an image is refused, and a trailer among it by a number of its own.
static void test_upload_refuses_what_is_behind_an_image(void) {
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

static void test_upload_refuses_by_tlv(void) {
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

static void set_state(const uint8_t *hash, bool confirm) {
    struct cbor_writer *out = start_request(hash ? 2 : 1);
    if (hash) cbor_put_bytes(out, "hash", hash, 32);
    cbor_put_bool(out, "confirm", confirm);
    ask(true, GROUP_IMAGE, 0);
}

static void test_states(void) {
    struct image parsed;
    struct trailer trailer;
    prepare();
    CHECK(upload_from(0, 500) == 0);
    struct image_source source = image_in_flash(AREA_SECONDARY, slots[0].limit);
    CHECK(result_ok(image_parse(&source, &parsed)));
    set_state(sha, false);  // not the hash of an image that is there
    CHECK(error() == ERROR_NO_IMAGE);
    set_state(0, false);
    CHECK(error() == ERROR_BAD_REQUEST);
    set_state(parsed.hash, false);
    CHECK(error() == 0);
    CHECK(result_ok(trailer_read(AREA_SECONDARY, &trailer)) && trailer.magic == MARK_SET);
    CHECK(trailer.image_ok == MARK_UNSET);
    set_state(parsed.hash, false);  // the same again is fine
    CHECK(error() == 0);
    set_state(parsed.hash, true);
    CHECK(error() == 0);
    CHECK(result_ok(trailer_read(AREA_SECONDARY, &trailer)) && trailer.image_ok == MARK_SET);
    set_state(0, true);
    CHECK(error() == 0);
    source = image_in_flash(AREA_PRIMARY, slots[0].limit);
    CHECK(result_ok(image_parse(&source, &parsed)));
    set_state(parsed.hash, false);  // a running image cannot be tested
    CHECK(error() == ERROR_BUSY);
}

static void test_an_image_that_is_not_here(void) {
    prepare();
    image_number = IMAGE_COUNT;
    upload(0, 100, true);
    image_number = 0;
    CHECK(error() == ERROR_NO_IMAGE);
    cbor_put_number(start_request(1), "slot", 2 * IMAGE_COUNT);
    ask(true, GROUP_IMAGE, 5);
    CHECK(error() == ERROR_BAD_REQUEST);
}

#if IMAGE_COUNT > 1
// How often the last answer says this of an image: a text of the map's own bytes.
static uint32_t told(const char *what, uint32_t length) {
    uint32_t count = 0;
    for (uint32_t at = SMP_HEADER_SIZE; at + length <= answered; at++) count += memcmp(answer + at, what, length) == 0;
    return count;
}
#define TOLD(text) told(text, sizeof(text) - 1)

static uint32_t make_radio(uint8_t major, uint32_t body_size, uint8_t *to) {
    const struct recipe radio = {.major = major, .body_size = body_size, .counter = 1, .board = BOARD_NAME,
                                 .seed = test_seed, .image = 1};
    return make_image(&radio, to);
}

// Both are uploaded, asked for and confirmed over SMP, the radio as image 1.
static void test_two_images(void) {
    struct image parsed;
    struct trailer trailer;
    prepare();
    CHECK(upload_from(0, 500) == 0);
    upload(0, 100, true);
    CHECK(number("off") == image_size);  // there already
    image_number = 1;
    upload(0, 100, true);
    CHECK(error() == ERROR_TOO_LARGE || number("off") == 100);  // the same bytes for the other image: another upload
    image_size = make_radio(3, 600, image);
    name_upload();
    CHECK(upload_from(0, 500) == 0);
    image_number = 0;
    CHECK(memcmp(host_flash + AREA_RADIO_SECONDARY_OFFSET, image, image_size) == 0);
    start_request(0);
    ask(false, GROUP_IMAGE, 0);
    CHECK(TOLD("\x65image\x00") == 2 && TOLD("\x65image\x01\x64slot\x01") == 1 && TOLD("\x67pending\xF5") == 0);
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        struct image_source source = image_in_flash(slots[i].secondary, slots[i].limit);
        CHECK(result_ok(image_parse(&source, &parsed)));
        set_state(parsed.hash, false);
        CHECK(error() == 0 && TOLD("\x67pending\xF5") == i + 1);
        CHECK(result_ok(trailer_read(slots[i].secondary, &trailer)) && trailer.magic == MARK_SET);
    }
    CHECK(result_ok(trailer_swapped(AREA_PRIMARY, false)) && result_ok(trailer_swapped(AREA_RADIO_PRIMARY, false)));
    set_state(0, true);
    CHECK(error() == 0);
    for (uint32_t i = 0; i < IMAGE_COUNT; i++)
        CHECK(result_ok(trailer_read(slots[i].primary, &trailer)) && trailer.image_ok == MARK_SET);
    cbor_put_number(start_request(1), "slot", 3);
    ask(true, GROUP_IMAGE, 5);
    CHECK(error() == 0 && host_flash[AREA_RADIO_SECONDARY_OFFSET] == FLASH_ERASED);
    CHECK(host_flash[AREA_SECONDARY_OFFSET] != FLASH_ERASED);
}

// Asked for over SMP, an image that needs another one that is nowhere is refused at once.
static void test_dependency_over_smp(void) {
    const struct recipe needy = {.major = 2, .body_size = 3000, .counter = 1, .board = BOARD_NAME, .seed = test_seed,
                                 .dependencies = 1, .depends_on = 1, .depends_minor = 2};
    struct image parsed;
    prepare();
    image_size = make_image(&needy, image);
    name_upload();
    CHECK(upload_from(0, 500) == 0);
    struct image_source source = image_in_flash(AREA_SECONDARY, slots[0].limit);
    CHECK(result_ok(image_parse(&source, &parsed)));
    set_state(parsed.hash, false);
    CHECK(error() == ERROR_DEPENDENCY);
    (void)make_radio(1, 500, host_flash + AREA_RADIO_PRIMARY_OFFSET);  // 1.0.0: too old
    set_state(parsed.hash, false);
    CHECK(error() == ERROR_DEPENDENCY);
    (void)make_radio(2, 500, host_flash + AREA_RADIO_SECONDARY_OFFSET);  // 2.0.0 waits
    set_state(parsed.hash, false);
    CHECK(error() == 0);
}
#endif

static void test_measure(void) {
    struct cbor_item item;
    struct image parsed;
    prepare();
    struct image_source source = image_in_flash(AREA_PRIMARY, slots[0].limit);
    CHECK(result_ok(image_parse(&source, &parsed)));
    cbor_put_number(start_request(1), "slot", 0);
    ask(false, GROUP_ASSAY, 3);
    CHECK(got("hash", &item) && memcmp(item.data, parsed.hash, 32) == 0 && number("size") == parsed.total_size);
    host_flash[AREA_PRIMARY_OFFSET + 0x300] ^= 1;  // what is there is told, not what the TLV says
    ask(false, GROUP_ASSAY, 3);
    CHECK(got("hash", &item) && memcmp(item.data, parsed.hash, 32) != 0);
    cbor_put_number(start_request(1), "slot", 1);
    ask(false, GROUP_ASSAY, 3);
    CHECK(error() == ERROR_NO_IMAGE);
    cbor_put_number(start_request(1), "slot", IMAGE_COUNT > 1 ? 5 : 3);
    ask(false, GROUP_ASSAY, 3);
    CHECK(error() == ERROR_BAD_REQUEST);
}

// The value of "next", which ends the answer; the reader of the firmware does not read as many items as notes have.
static uint32_t next_note(void) {
    struct cbor_item item;
    for (uint32_t at = answered; at-- > SMP_HEADER_SIZE;) {
        if (memcmp(answer + at, "\x64next", 5) != 0) continue;
        uint8_t map[16] = {0xA1};
        memcpy(map + 1, answer + at, answered - at);
        return cbor_find(map, 1 + answered - at, "next", &item) ? item.value : 995;
    }
    return 994;
}

static void test_notes_pages(void) {
    uint32_t from = 0, pages = 0;
    struct cbor_item item;
    prepare();
    for (uint32_t i = 0; i < 40; i++) (void)note_write(NOTE_REFUSED, i, sha, "a reason that is as long as it may be..");
    (void)note_write(NOTE_REFUSED, 39, sha, "a reason that is as long as it may be..");  // the same: not written
    for (uint32_t last = 999; from != last && pages < 10; pages++) {
        last = from;
        cbor_put_number(start_request(1), "from", from);
        ask(false, GROUP_ASSAY, 6);
        CHECK(error() == 0);
        from = next_note();
    }
    CHECK(from == 40 && pages == 2);
    cbor_put_number(start_request(1), "from", 39);
    ask(false, GROUP_ASSAY, 6);
    CHECK(got("notes", &item) && item.value == 1);
}

// Requests that were changed at random: an answer or none, never a crash (the sanitizers watch).
static void test_random_requests(void) {
    prepare();
    host_seed(11);
    for (uint32_t run = 0; run < 20000; run++) {
        check_context("run %u", run);
        upload(0, 200, true);
        uint32_t length = SMP_HEADER_SIZE + body.used;
        request[4] = host_random() % 2 ? 0x41 : 0;
        request[5] = request[4] ? 0x53 : (uint8_t)(host_random() % 2);
        request[7] = (uint8_t)(host_random() % 8);
        request[0] = (uint8_t)(8 | (host_random() % 2 ? 2 : 0));
        for (uint32_t i = 0; i < 4; i++) request[SMP_HEADER_SIZE + host_random() % body.used] = (uint8_t)host_random();
        answered = smp_answer(request, length, answer, sizeof answer);
        CHECK(answered == 0 || cbor_is_map(answer + SMP_HEADER_SIZE, answered - SMP_HEADER_SIZE));
    }
}

const struct test tests_smp[] = {
    {"os_group", test_os_group},
    {"errors_of_both_versions", test_errors_of_both_versions},
    {"upload", test_upload},
    {"upload_resumes", test_upload_resumes},
    {"upload_starts_anew", test_upload_starts_anew},
    {"upload_damaged_frames", test_upload_damaged_frames},
    {"upload_of_what_is_there", test_upload_of_what_is_there},
    {"upload_refusals", test_upload_refusals},
    {"upload_refuses_by_board_and_counter", test_upload_refuses_by_board_and_counter},
    {"upload_refuses_what_is_behind_an_image", test_upload_refuses_what_is_behind_an_image},
    {"upload_refuses_by_tlv", test_upload_refuses_by_tlv},
    {"states", test_states},
    {"an_image_that_is_not_here", test_an_image_that_is_not_here},
#if IMAGE_COUNT > 1
    {"two_images", test_two_images},
    {"dependency_over_smp", test_dependency_over_smp},
#endif
    {"measure", test_measure},
    {"notes_pages", test_notes_pages},
    {"random_requests", test_random_requests},
    {0, 0},
};
