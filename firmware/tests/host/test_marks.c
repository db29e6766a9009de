// SPDX-License-Identifier: Apache-2.0
// What a boot makes of requests and of the marks in trailers: every combination of them, and each refusal by its number.
#include <string.h>

#include "boot.h"
#include "check.h"
#include "counter.h"
#include "host_port.h"
#include "image_maker.h"
#include "notes.h"
#include "power_cut.h"
#include "slots.h"
#include "update_scene.h"

static struct host_chip snapshot;

// An image that was confirmed raised the counter: the one before is refused from then on, and noted.
static void test_downgrade_is_refused(void) {
    struct boot_choice choice;
    struct record_cursor cursor;
    struct note note, last = {0};
    ready_for_test();
    CHECK(complete_update());
    CHECK(result_ok(trailer_request(AREA_SECONDARY, false)));
    CHECK(result_ok(boot(&choice)));
    CHECK(choice.image.version.major == NEW_VERSION && choice.state == STATE_CONFIRMED && choice.event == EVENT_NONE);
    CHECK(result_ok(notes_start(&cursor)));
    while (result_ok(notes_next(&cursor, &note))) last = note;
    CHECK(last.kind == NOTE_REFUSED && last.code == ERROR_DOWNGRADE && strcmp(last.reason, "downgrade") == 0);
}

// The counter is not raised by a test: the way back stays open.
static void test_counter_waits_for_confirmation(void) {
    struct boot_choice choice;
    uint32_t counter;
    ready_for_test();
    CHECK(result_ok(boot(&choice)) && choice.image.version.major == NEW_VERSION);
    CHECK(result_ok(counter_read(0, &counter)) && counter == 1);
    CHECK(result_ok(boot(&choice)) && choice.image.version.major == OLD_VERSION && choice.event == EVENT_REVERTED);
}

// A request for an image that does not verify is dropped, once, and the old one stays.
static void test_bad_secondary_is_refused(void) {
    static const uint32_t places[] = {0, 13, 0x200, 0x200 + BODY_NEW - 1, 0x200 + BODY_NEW + 150};
    for (uint32_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct boot_choice choice;
        struct trailer trailer;
        check_context("byte %u", places[i]);
        ready_for_test();
        host_flash[AREA_SECONDARY_OFFSET + places[i]] ^= 1;
        CHECK(result_ok(boot(&choice)) && choice.image.version.major == OLD_VERSION && choice.event == EVENT_NONE);
        CHECK(choice.state == STATE_CONFIRMED);
        CHECK(result_ok(trailer_read(AREA_SECONDARY, &trailer)) && trailer.magic == MARK_UNSET);
    }
}

static bool is_torn(const uint8_t *at, const uint8_t *set, uint32_t length) {
    uint32_t erased = 0;
    for (uint32_t i = 0; i < length; i++) erased += at[i] == FLASH_ERASED;
    return erased != length && memcmp(at, set, length) != 0;
}

// Sets a mark in flash: as it is erased, as it is set, or torn, in a random one of the ways in which it can be that.
static void put_mark(uint8_t *at, enum mark mark, const uint8_t *set, uint32_t length) {
    memset(at, FLASH_ERASED, length);
    if (mark == MARK_SET) memcpy(at, set, length);
    while (mark == MARK_BAD && !is_torn(at, set, length)) {
        for (uint32_t i = 0; i < length; i++) {
            uint8_t arrived = (uint8_t)(host_random() >> 9);
            at[i] = (uint8_t)((FLASH_ERASED & ~arrived) | (set[i] & arrived));
        }
    }
}

static void put_trailer(uint8_t *end, const struct trailer *trailer, const uint8_t *magic) {
    static const uint8_t flag[1] = {1};
    const uint32_t unit = FLASH_WRITE_SIZE > 8 ? FLASH_WRITE_SIZE : 8, room = (16 + unit - 1) / unit * unit;
    const bool one_bit = FLASH_ERASED == 0;  // such a flag cannot be torn, but it can have another value
    const enum mark flags[2] = {trailer->image_ok, trailer->copy_done};
    put_mark(end - 16, trailer->magic, magic, 16);
    for (uint32_t i = 0; i < 2; i++) {
        uint8_t *at = end - room - (i + 1) * unit;
        if (flags[i] == MARK_BAD && one_bit) *at = 3;
        else put_mark(at, flags[i], flag, 1);
    }
}

// What the table says is what a boot does, for every combination of marks in flash, also torn ones: a row for each of
// the three things that can be asked for is reached, and whatever else there is keeps the confirmed image.
static void test_every_combination_of_marks(void) {
    uint8_t magic[16];
    uint32_t swapped = 0, for_good = 0, reverted = 0, kept = 0;
    ready_for_test();
    memcpy(magic, host_flash + AREA_SECONDARY_OFFSET + AREA_SECONDARY_SIZE - 16, sizeof magic);
    CHECK(result_ok(trailer_erase(AREA_SECONDARY)));
    snapshot = host_chip;
    for (uint32_t n = 0; n < 729; n++) {
        const struct trailer primary = {(enum mark)(n % 3), (enum mark)(n / 3 % 3), (enum mark)(n / 9 % 3), MARK_UNSET};
        const struct trailer second = {(enum mark)(n / 27 % 3), (enum mark)(n / 81 % 3), (enum mark)(n / 243),
                                       MARK_UNSET};
        struct trailer found;
        struct boot_choice choice;
        check_context("combination %u", n);
        host_chip = snapshot;
        host_seed(n + 1);
        put_trailer(host_flash + AREA_PRIMARY_OFFSET + AREA_PRIMARY_SIZE, &primary, magic);
        put_trailer(host_flash + AREA_SECONDARY_OFFSET + AREA_SECONDARY_SIZE, &second, magic);
        CHECK(result_ok(trailer_read(AREA_SECONDARY, &found)) && memcmp(&found, &second, sizeof found) == 0);
        CHECK(result_ok(trailer_read(AREA_PRIMARY, &found)) && memcmp(&found, &primary, sizeof found) == 0);
        CHECK(result_ok(boot(&choice)) && is_good(&choice) && both_whole());
        bool asked = second.magic == MARK_SET && second.copy_done == MARK_UNSET;
        bool back = second.magic != MARK_SET && primary.magic == MARK_SET && primary.image_ok == MARK_UNSET &&
                    primary.copy_done == MARK_SET;
        CHECK(choice.image.version.major == (asked || back ? NEW_VERSION : OLD_VERSION));
        CHECK(choice.event == (asked ? EVENT_SWAPPED : back ? EVENT_REVERTED : EVENT_NONE));
        if (asked) CHECK((choice.state == STATE_CONFIRMED) == (second.image_ok == MARK_SET));
        if (back) CHECK(choice.state == STATE_CONFIRMED);
        *(asked ? second.image_ok == MARK_SET ? &for_good : &swapped : back ? &reverted : &kept) += 1;
    }
    CHECK(swapped == 54 && for_good == 27 && reverted == 18 && kept == 630);
}

// What the bootloader refuses at the boot, each for a reason of its own, which its note tells.
static uint32_t refused_with(const struct recipe *recipe, bool lie) {
    struct boot_choice choice;
    struct record_cursor cursor;
    struct note note = {0};
    ready_for_test();
    CHECK_OR(result_ok(trailer_erase(AREA_SECONDARY)), 900);
    if (recipe) {
        CHECK_OR(result_ok(flash_erase(AREA_SECONDARY, 0, slot_trailer_at(AREA_SECONDARY))), 901);
        (void)make_image(recipe, host_flash + AREA_SECONDARY_OFFSET);
    }
    CHECK_OR(result_ok(trailer_request(AREA_SECONDARY, false)), 902);
    if (lie) CHECK_OR(result_ok(trailer_swapped(AREA_SECONDARY, true)), 903);
    CHECK_OR(result_ok(boot(&choice)) && is_good(&choice) && choice.image.version.major == OLD_VERSION, 904);
    struct trailer trailer;
    CHECK_OR(result_ok(trailer_read(AREA_SECONDARY, &trailer)) && trailer.magic == MARK_UNSET, 905);
    for (result_t result = notes_start(&cursor); result_ok(result);) result = notes_next(&cursor, &note);
    return note.kind == NOTE_REFUSED ? note.code : 906;
}

#define REFUSABLE .major = 2, .body_size = 1000, .counter = 1, .board = BOARD_NAME, .seed = test_seed

static void test_each_refusal_has_its_number(void) {
    CHECK(refused_with(&(struct recipe){REFUSABLE, .counter = 0}, false) == ERROR_DOWNGRADE);
    CHECK(refused_with(&(struct recipe){REFUSABLE, .board = "other"}, false) == ERROR_BOARD_MISMATCH);
    CHECK(refused_with(&(struct recipe){REFUSABLE, .lowest_revision = BOARD_REVISION + 1}, false) == ERROR_REVISION);
    CHECK(refused_with(&(struct recipe){REFUSABLE, .seed = other_seed}, false) == ERROR_BAD_SIGNATURE);
    CHECK(refused_with(&(struct recipe){REFUSABLE, .protected_tlv = 0xB0}, false) == ERROR_UNKNOWN_TLV);
    CHECK(refused_with(&(struct recipe){REFUSABLE, .wrong_length = true}, false) == ERROR_WRONG_LENGTH);
    CHECK(refused_with(&(struct recipe){REFUSABLE, .dependencies = 1, .depends_on = 9}, false) == ERROR_DEPENDENCY);
    CHECK(refused_with(0, true) == ERROR_LYING_TRAILER);
}

const struct test tests_marks[] = {
    {"downgrade_is_refused", test_downgrade_is_refused},
    {"counter_waits_for_confirmation", test_counter_waits_for_confirmation},
    {"bad_secondary_is_refused", test_bad_secondary_is_refused},
    {"every_combination_of_marks", test_every_combination_of_marks},
    {"each_refusal_has_its_number", test_each_refusal_has_its_number},
    {0, 0},
};
