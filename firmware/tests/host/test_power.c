// SPDX-License-Identifier: Apache-2.0
// Power cuts in boots and uploads: the power goes at every flash operation, before it and torn in the middle in four
// ways; then the board starts again, must end with a verified image, and what was begun must come to its end.
#include <stdio.h>
#include <string.h>

#include "boot.h"
#include "check.h"
#include "counter.h"
#include "host_port.h"
#include "image_maker.h"
#include "notes.h"
#include "power_cut.h"
#include "slots.h"
#include "swap.h"
#include "update_scene.h"
#include "upload.h"

#ifndef DOUBLE_CUTS
#define DOUBLE_CUTS 3000u     // runs with up to three cuts, by seed
#endif

static struct host_chip snapshot;

static void check_every_cut_of_a_boot(bool (*expected)(const struct boot_choice *choice)) {
    struct boot_choice choice;
    for (struct cuts at = every_cut(); next_cut(&at, do_boot);) {
        CHECK(result_ok(boot(&choice)));
        CHECK(is_good(&choice));
        CHECK(both_whole());
        CHECK(expected(&choice));
        CHECK(complete_update());
    }
}

static bool old_or_new(const struct boot_choice *choice) {
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

static bool is_old(const struct boot_choice *choice) {
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

static bool is_new_for_good(const struct boot_choice *choice) {
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
    for (struct cuts at = every_cut(); next_cut(&at, ask_for_good);) {
        struct boot_choice choice;
        CHECK(result_ok(boot(&choice)) && is_good(&choice) && choice.state == STATE_CONFIRMED);
        CHECK(complete_update());
    }
}

// The primary image is broken, the secondary one is whole: the unit comes up with that, under test.
static void test_rescue(void) {
    ready_for_test();
    memset(host_flash + AREA_PRIMARY_OFFSET, 0, 64);
    CHECK(result_ok(trailer_erase(AREA_SECONDARY)));
    for (struct cuts at = every_cut(); next_cut(&at, do_boot);) {
        struct boot_choice choice;
        CHECK(result_ok(boot(&choice)) && is_good(&choice) && choice.image.version.major == NEW_VERSION);
    }
}

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

// Several cuts, one after another, in boots that make good the one before.
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
    CHECK(not_started == 0 && lost * 100 < runs && runs > 20 * UNSETTLED_RUNS);
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
    for (struct cuts at = every_cut(); next_cut(&at, do_confirm);) {
        uint32_t counter;
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

static struct upload upload;

// An image that fills the smaller slot to its last byte is updated like any other.
static void test_largest_image(void) {
    const uint32_t smaller_slot = AREA_PRIMARY_SIZE < AREA_SECONDARY_SIZE ? AREA_PRIMARY_SIZE : AREA_SECONDARY_SIZE;
    const uint32_t largest = smaller_slot - FLASH_ERASE_SIZE;
    ready_for_test();
    new_size = make_good(NEW_VERSION, BODY_NEW + largest - new_size, 2, new_image);
    CHECK(new_size == largest);
    CHECK(upload_begin(&upload, largest + 1, 0) == RESULT_OF(ERROR_TOO_LARGE));
    memcpy(host_flash + AREA_SECONDARY_OFFSET, new_image, new_size);
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
    for (struct cuts at = every_cut(); next_cut(&at, do_upload);) {
        CHECK(result_ok(boot(&choice)) && is_good(&choice) && choice.image.version.major == OLD_VERSION);
        CHECK(receive(AREA_SECONDARY));
        CHECK(complete_update());
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
    struct cuts at = every_cut();
    CHECK(!result_ok(boot(&choice)));
    while (next_cut(&at, do_recovery)) {
        if (result_ok(boot(&choice))) CHECK(is_good(&choice) && choice.image.version.major == NEW_VERSION);
        CHECK(receive(AREA_PRIMARY));
        CHECK(result_ok(boot(&choice)) && is_good(&choice) && choice.state == STATE_CONFIRMED);
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
    {"largest_image", test_largest_image},
    {"upload_in_the_app", test_upload_in_the_app},
    {"upload_in_recovery", test_upload_in_recovery},
    {0, 0},
};
