// SPDX-License-Identifier: Apache-2.0
// The SMP server: what a client gets for good requests, bad ones, and ones in the wrong order.
#include <string.h>

#include "boot.h"
#include "cbor.h"
#include "check.h"
#include "image_maker.h"
#include "notes.h"
#include "slots.h"
#include "smp_assay.h"
#include "smp_client.h"
#include "smp_scene.h"

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
