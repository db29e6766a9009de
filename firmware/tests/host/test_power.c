// SPDX-License-Identifier: Apache-2.0
// Power cuts in boots and uploads: the power goes at every flash operation, before it and torn in the middle in three
// ways; then the board starts again, must end with a verified image, and what was begun must come to its end.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot.h"
#include "check.h"
#include "counter.h"
#include "host_port.h"
#include "image_maker.h"
#include "notes.h"
#include "port.h"
#include "power_cut.h"
#include "slots.h"
#include "swap.h"
#include "upload.h"

#ifndef DOUBLE_CUTS
#define DOUBLE_CUTS 3000u     // runs with up to three cuts, by seed
#endif
#define ROUNDS_MAX 8u         // boots within which an update must be done
#define OLD_VERSION 1
#define NEW_VERSION 2

static struct host_chip snapshot;
static uint8_t old_image[AREA_PRIMARY_SIZE], new_image[AREA_PRIMARY_SIZE];
static uint32_t old_size, new_size;

static void put(uint32_t offset, const uint8_t *data, uint32_t size) { memcpy(host_flash + offset, data, size); }

// A unit in the field that runs OLD confirmed and has NEW in its secondary slot, asked for test.
static void ready_for_test(void) {
    old_size = make_good(OLD_VERSION, BODY_OLD, 1, old_image);
    new_size = make_good(NEW_VERSION, BODY_NEW, 2, new_image);
    blank_chip();
    put(AREA_PRIMARY_OFFSET, old_image, old_size);
    put(AREA_SECONDARY_OFFSET, new_image, new_size);
    host_power_on();
    (void)counter_raise(0, 1);
    (void)trailer_request(AREA_SECONDARY, false);
}

static result_t boot(struct boot_choice *choice) { return boot_choose(test_key, choice); }

static void do_boot(void) {
    struct boot_choice choice;
    (void)boot(&choice);
}

static bool is_good(const struct boot_choice *choice) {
    uint8_t major = choice->image.version.major;
    const uint8_t *image = major == OLD_VERSION ? old_image : new_image;
    uint32_t size = major == OLD_VERSION ? old_size : new_size;
    return choice->loaded == size && memcmp(port_memory(RAM_APP_BASE), image, size) == 0 &&
           result_ok(boot_verify_again(test_key, choice));
}

// What the host does with a unit that answers: ask for NEW, test it, confirm it. Counts the boots.
static bool complete_update(void) {
    struct boot_choice choice;
    for (uint32_t round = 0; round < ROUNDS_MAX; round++) {
        host_power_on();
        if (!result_ok(boot(&choice)) || !is_good(&choice)) return false;
        if (choice.image.version.major == OLD_VERSION) {
            if (choice.state != STATE_CONFIRMED) return false;
            if (!result_ok(trailer_request(AREA_SECONDARY, false))) return false;
        } else if (choice.state == STATE_TESTING) {
            if (!result_ok(trailer_confirm(AREA_PRIMARY)) || !result_ok(counter_raise(0, 2))) return false;
        } else {
            uint32_t counter;
            return result_ok(counter_read(0, &counter)) && counter == 2;
        }
    }
    return false;
}

// Both images are whole, each in one slot: nothing got lost on the way.
static bool both_whole(void) {
    const uint8_t *primary = host_flash + AREA_PRIMARY_OFFSET, *secondary = host_flash + AREA_SECONDARY_OFFSET;
    bool plain = memcmp(primary, old_image, old_size) == 0 && memcmp(secondary, new_image, new_size) == 0;
    bool swapped = memcmp(primary, new_image, new_size) == 0 && memcmp(secondary, old_image, old_size) == 0;
    return plain || swapped;
}

static void check_every_cut_of_a_boot(bool (*expected)(const struct boot_choice *choice, uint32_t n)) {
    struct boot_choice choice;
    snapshot = host_chip;
    for (int tear = TEAR_BEFORE; tear < TEAR_COUNT; tear++) {
        for (uint32_t n = 0;; n++) {
            check_context("cut in operation %u, tear %d", n, tear);
            host_chip = snapshot;
            host_seed(n * 4 + (uint32_t)tear + 1);
            if (!cut(do_boot, n, (enum tear)tear)) break;
            CHECK(result_ok(boot(&choice)));
            CHECK(is_good(&choice));
            CHECK(both_whole());
            CHECK(expected(&choice, n));
            CHECK(complete_update());
        }
    }
}

static bool old_or_new(const struct boot_choice *choice, uint32_t n) {
    (void)n;
    bool new_one = choice->image.version.major == NEW_VERSION;
    return new_one ? choice->state == STATE_TESTING : choice->state == STATE_CONFIRMED;
}

static void test_test_swap(void) {
    ready_for_test();
    uint32_t before = cuts_made;
    check_every_cut_of_a_boot(old_or_new);
    printf("  test swap: %u cuts\n", cuts_made - before);
    CHECK(cuts_made - before > 200);
}

static bool is_old(const struct boot_choice *choice, uint32_t n) {
    (void)n;
    return choice->image.version.major == OLD_VERSION && choice->state == STATE_CONFIRMED;
}

// NEW ran under test and was not confirmed: the next boot goes back.
static void test_revert(void) {
    struct boot_choice choice;
    ready_for_test();
    CHECK(result_ok(boot(&choice)) && choice.event == EVENT_SWAPPED && choice.state == STATE_TESTING);
    uint32_t before = cuts_made;
    check_every_cut_of_a_boot(is_old);
    printf("  revert: %u cuts\n", cuts_made - before);
    CHECK(cuts_made - before > 200);
}

static bool is_new_for_good(const struct boot_choice *choice, uint32_t n) {
    (void)n;
    return choice->image.version.major == NEW_VERSION && choice->state == STATE_CONFIRMED;
}

static void test_swap_for_good(void) {
    ready_for_test();
    CHECK(result_ok(trailer_request(AREA_SECONDARY, true)));
    check_every_cut_of_a_boot(is_new_for_good);
}

static void ask_for_good(void) { (void)trailer_request(AREA_SECONDARY, true); }

// A request that was cut is none: an image that was meant for good is never one under test.
static void test_request_for_good(void) {
    ready_for_test();
    CHECK(result_ok(trailer_erase(AREA_SECONDARY)));
    snapshot = host_chip;
    for (int tear = TEAR_BEFORE; tear < TEAR_COUNT; tear++) {
        for (uint32_t n = 0;; n++) {
            struct boot_choice choice;
            check_context("cut in operation %u, tear %d", n, tear);
            host_chip = snapshot;
            host_seed(n * 4 + (uint32_t)tear + 1);
            if (!cut(ask_for_good, n, (enum tear)tear)) break;
            CHECK(result_ok(boot(&choice)) && is_good(&choice) && choice.state == STATE_CONFIRMED);
            CHECK(complete_update());
        }
    }
}

// The primary image is broken, the secondary one is whole: the unit comes up with that, under test.
static void test_rescue(void) {
    ready_for_test();
    memset(host_flash + AREA_PRIMARY_OFFSET, 0, 64);
    CHECK(result_ok(trailer_erase(AREA_SECONDARY)));
    snapshot = host_chip;
    for (int tear = TEAR_BEFORE; tear < TEAR_COUNT; tear++) {
        for (uint32_t n = 0;; n++) {
            struct boot_choice choice;
            check_context("cut in operation %u, tear %d", n, tear);
            host_chip = snapshot;
            if (!cut(do_boot, n, (enum tear)tear)) break;
            CHECK(result_ok(boot(&choice)) && is_good(&choice) && choice.image.version.major == NEW_VERSION);
        }
    }
}

// Several cuts, one after another, in boots that make good the one before.
// The flash refuses one operation of a swap. Nothing is started from what is half done: it has no trailer yet, and
// would count as confirmed. The swap comes to its end at a later boot, and the way back stays open.
static void test_swap_that_cannot_go_on(void) {
    struct boot_choice choice;
    uint32_t counter, refused = 0;
    ready_for_test();
    snapshot = host_chip;
    host_power_on();
    (void)boot(&choice);
    uint32_t operations = host_operations;
    for (uint32_t n = 0; n < operations; n++) {
        check_context("flash refuses operation %u", n);
        host_chip = snapshot;
        host_power_on();
        host_fail_at(n);
        bool started = result_ok(boot(&choice));
        refused += !started;
        CHECK(!started || (is_good(&choice) && both_whole()));
        if (!started || choice.image.version.major == OLD_VERSION) CHECK(result_ok(boot(&choice)) && is_good(&choice));
        CHECK(choice.image.version.major == NEW_VERSION && choice.state == STATE_TESTING);
        CHECK(result_ok(counter_read(0, &counter)) && counter == 1);
        CHECK(result_ok(boot(&choice)) && is_good(&choice) && choice.image.version.major == OLD_VERSION);
    }
    CHECK(refused > operations / 2);
}

static void test_double_cuts(void) {
    struct boot_choice choice;
    for (uint32_t seed = 1; seed <= DOUBLE_CUTS; seed++) {
        check_context("seed %u", seed);
        ready_for_test();
        host_seed(seed);
        if (seed % 2 == 0) {
            CHECK(result_ok(boot(&choice)));  // then it is a revert that is cut
        }
        uint32_t cuts = 2 + host_random() % 2;
        for (uint32_t i = 0; i < cuts; i++) {
            uint32_t span = i == 0 ? 130 : 40;
            (void)cut(do_boot, host_random() % span, (enum tear)(host_random() % TEAR_COUNT));
        }
        CHECK(result_ok(boot(&choice)) && is_good(&choice));
        CHECK(both_whole());
        CHECK(complete_update());
    }
}

#define UNSETTLED_RUNS 20u  // for each operation

// The journal, or the sector of a trailer.
static bool is_mark(uint32_t address) {
    static const uint32_t trailers[] = {AREA_PRIMARY_OFFSET + AREA_PRIMARY_SIZE, AREA_SECONDARY_OFFSET + AREA_SECONDARY_SIZE};
    for (uint32_t i = 0; i < 2; i++) {
        if (address >= trailers[i] - FLASH_ERASE_SIZE && address < trailers[i]) return true;
    }
    return address >= AREA_STATUS_OFFSET && address < AREA_STATUS_OFFSET + AREA_STATUS_SIZE;
}

// The power goes in a mark, whose bits read otherwise at each power-on, and then twice more. In the end the unit runs a
// whole image. In a few cases the other image got lost: the last mark before the second cut read as set first and as
// not set then, so that a step was done again on which the next one had begun.
static void check_unsettled(uint32_t seed, uint32_t n, uint32_t *not_started, uint32_t *lost) {
    struct boot_choice choice;
    host_chip = snapshot;
    host_seed(seed);
    if (!cut(do_boot, n, (enum tear)(1 + host_random() % (TEAR_COUNT - 1)))) return;
    for (uint32_t i = 0; i < 2; i++)
        (void)cut(do_boot, host_random() % 40, (enum tear)(host_random() % TEAR_COUNT));
    host_power_on();
    bool started = result_ok(boot(&choice)) && is_good(&choice);
    *not_started += !started;
    *lost += started && (!both_whole() || !complete_update());
}

static void test_unsettled_marks(void) {
    uint32_t runs = 0, not_started = 0, lost = 0;
    host_leave_unsettled(true);
    for (uint32_t reverts = 0; reverts < 2; reverts++) {
        ready_for_test();
        if (reverts) do_boot();
        snapshot = host_chip;
        for (uint32_t n = 0;; n++) {
            host_chip = snapshot;
            if (!cut(do_boot, n, TEAR_BEFORE)) break;
            if (!is_mark(host_cut_address)) continue;
            for (uint32_t seed = 1; seed <= UNSETTLED_RUNS; seed++, runs++)
                check_unsettled(seed * 1000 + n, n, &not_started, &lost);
        }
    }
    host_leave_unsettled(false);
    printf("  unsettled marks: %u runs, %u not started, %u not completed\n", runs, not_started, lost);
    CHECK(not_started == 0 && lost * 50 < runs && runs > 20 * UNSETTLED_RUNS);
}

static void do_confirm(void) {
    (void)trailer_confirm(AREA_PRIMARY);
    (void)counter_raise(0, 2);
    (void)note_write(NOTE_CONFIRMED, 0, new_image, "2.0.0");
}

static void test_confirm(void) {
    struct boot_choice choice;
    ready_for_test();
    CHECK(result_ok(boot(&choice)) && choice.image.version.major == NEW_VERSION);
    snapshot = host_chip;
    for (int tear = TEAR_BEFORE; tear < TEAR_COUNT; tear++) {
        for (uint32_t n = 0;; n++) {
            uint32_t counter;
            check_context("cut in operation %u, tear %d", n, tear);
            host_chip = snapshot;
            host_seed(n + 1);
            if (!cut(do_confirm, n, (enum tear)tear)) break;
            struct trailer trailer;
            bool begun = result_ok(trailer_read(AREA_PRIMARY, &trailer)) && trailer.image_ok != MARK_UNSET;
            CHECK(result_ok(boot(&choice)) && is_good(&choice));
            CHECK(result_ok(counter_read(0, &counter)));
            bool new_one = choice.image.version.major == NEW_VERSION;
            CHECK(new_one == (counter == 2) && choice.state == STATE_CONFIRMED);
            CHECK(new_one == begun);  // once the mark is begun, the confirmation holds
            CHECK(complete_update());
        }
    }
}

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

static struct upload upload;

// An image that fills the smaller slot to its last byte is updated like any other.
static void test_largest_image(void) {
    const uint32_t smaller_slot = AREA_PRIMARY_SIZE < AREA_SECONDARY_SIZE ? AREA_PRIMARY_SIZE : AREA_SECONDARY_SIZE;
    const uint32_t largest = smaller_slot - FLASH_ERASE_SIZE;
    ready_for_test();
    new_size = make_good(NEW_VERSION, BODY_NEW + largest - new_size, 2, new_image);
    CHECK(new_size == largest);
    CHECK(upload_begin(&upload, largest + 1, 0) == RESULT_OF(ERROR_TOO_LARGE));
    put(AREA_SECONDARY_OFFSET, new_image, new_size);
    CHECK(result_ok(trailer_request(AREA_SECONDARY, false)));
    snapshot = host_chip;
    for (uint32_t n = 0; n < 40; n++) {
        struct boot_choice choice;
        check_context("cut in operation %u", n * 7);
        host_chip = snapshot;
        host_seed(n + 1);
        (void)cut(do_boot, n * 7, (enum tear)(n % TEAR_COUNT));
        CHECK(result_ok(boot(&choice)) && is_good(&choice) && both_whole());
        CHECK(complete_update());
    }
}

static result_t judge_any(const struct image_source *source, struct image *image) {
    return boot_verify(source, test_key, image);
}

static bool receive(enum area slot) {
    uint8_t sha[32];
    struct sha256 hash;
    bool done = false;
    sha256_init(&hash);
    sha256_update(&hash, new_image, new_size);
    sha256_final(&hash, sha);
    memset(&upload, 0, sizeof upload);
    upload.slot = slot;
    upload.judge = judge_any;
    if (!result_ok(swap_abandon()) || !result_ok(upload_begin(&upload, new_size, sha))) return false;
    if (upload.complete) return true;  // the power went behind the last write
    while (upload.reached < new_size && upload.active) {
        uint32_t part = new_size - upload.reached < 777 ? new_size - upload.reached : 777;
        if (!result_ok(upload_take(&upload, new_image + upload.reached, part, &done))) return false;
    }
    return done;
}

static void do_upload(void) { (void)receive(AREA_SECONDARY); }
static void do_recovery(void) { (void)receive(AREA_PRIMARY); }

// The app receives an update over an old image: a cut leaves the running one alone, and the upload can be done again.
static void test_upload_in_the_app(void) {
    struct boot_choice choice;
    ready_for_test();
    CHECK(result_ok(trailer_erase(AREA_SECONDARY)));
    snapshot = host_chip;
    for (int tear = TEAR_BEFORE; tear < TEAR_COUNT; tear++) {
        for (uint32_t n = 0;; n++) {
            check_context("cut in operation %u, tear %d", n, tear);
            host_chip = snapshot;
            host_seed(n + 1);
            if (!cut(do_upload, n, (enum tear)tear)) break;
            CHECK(result_ok(boot(&choice)) && is_good(&choice) && choice.image.version.major == OLD_VERSION);
            CHECK(receive(AREA_SECONDARY));
            CHECK(complete_update());
        }
    }
}

// Recovery of a unit whose slots are both bad, and that was in the middle of a swap: never boots half an image.
static void test_upload_in_recovery(void) {
    struct boot_choice choice;
    ready_for_test();
    (void)cut(do_boot, 60, TEAR_BEFORE);
    host_flash[AREA_SECONDARY_OFFSET + 0x300] ^= 1;
    host_flash[AREA_PRIMARY_OFFSET + 0x300] ^= 1;
    host_flash[AREA_SCRATCH_OFFSET + 0x300 % FLASH_ERASE_SIZE] ^= 1;
    snapshot = host_chip;
    CHECK(!result_ok(boot(&choice)));
    host_chip = snapshot;
    for (int tear = TEAR_BEFORE; tear < TEAR_COUNT; tear++) {
        for (uint32_t n = 0;; n++) {
            check_context("cut in operation %u, tear %d", n, tear);
            host_chip = snapshot;
            host_seed(n + 1);
            if (!cut(do_recovery, n, (enum tear)tear)) break;
            if (result_ok(boot(&choice))) CHECK(is_good(&choice) && choice.image.version.major == NEW_VERSION);
            CHECK(receive(AREA_PRIMARY));
            CHECK(result_ok(boot(&choice)) && is_good(&choice) && choice.state == STATE_CONFIRMED);
        }
    }
}

const struct test tests_power[] = {
    {"test_swap", test_test_swap},
    {"revert", test_revert},
    {"swap_for_good", test_swap_for_good},
    {"request_for_good", test_request_for_good},
    {"rescue", test_rescue},
    {"swap_that_cannot_go_on", test_swap_that_cannot_go_on},
    {"double_cuts", test_double_cuts},
    {"unsettled_marks", test_unsettled_marks},
    {"confirm", test_confirm},
    {"downgrade_is_refused", test_downgrade_is_refused},
    {"counter_waits_for_confirmation", test_counter_waits_for_confirmation},
    {"bad_secondary_is_refused", test_bad_secondary_is_refused},
    {"every_combination_of_marks", test_every_combination_of_marks},
    {"each_refusal_has_its_number", test_each_refusal_has_its_number},
    {"largest_image", test_largest_image},
    {"upload_in_the_app", test_upload_in_the_app},
    {"upload_in_recovery", test_upload_in_recovery},
    {0, 0},
};
