// SPDX-License-Identifier: Apache-2.0
// Updates by a patch, and power cuts in them: at every flash operation, before it and torn in four ways. After each
// cut one boot ends with the new image under test: neither patch nor request is lost. A patch that cannot be applied
// leaves the confirmed image, and says why.
#include <stdio.h>
#include <string.h>

#include "boot.h"
#include "check.h"
#include "counter.h"
#include "host_port.h"
#include "image_maker.h"
#include "notes.h"
#include "patch.h"
#include "patch_maker.h"
#include "port.h"
#include "power_cut.h"
#include "slots.h"
#include "upload.h"

#define CUT_RUNS (DOUBLE_CUTS / 5)  // runs with up to three cuts, by seed
#ifndef DOUBLE_CUTS
#define DOUBLE_CUTS 3000u
#endif
#define OLD_VERSION 1
#define NEW_VERSION 2
#define OTHER_VERSION 3
#define OLD_BODY 4300u
#define NEW_BODY 5600u

struct made {
    uint8_t bytes[AREA_PRIMARY_SIZE];
    uint32_t size;
    uint8_t hash[32];
};

static struct made old_image, new_image, other_image, patch_image;
static struct host_chip snapshot;
static uint8_t patch_body[AREA_PRIMARY_SIZE];

static void read_hash(struct made *made) {
    struct image image;
    struct image_source source = image_in_ram(made->bytes, made->size);
    (void)image_parse(&source, &image);
    memcpy(made->hash, image.hash, sizeof made->hash);
}

static void make(struct made *made, uint8_t major, uint32_t body, uint32_t counter) {
    made->size = make_good(major, body, counter, made->bytes);
    read_hash(made);
}

static struct recipe patch_recipe(uint32_t body_size) {
    return (struct recipe){.major = NEW_VERSION, .body_size = body_size, .counter = 2, .board = BOARD_NAME,
                           .lowest_revision = 1, .seed = test_seed, .base = old_image.hash, .gives = new_image.hash,
                           .patch_format = 1, .body = patch_body};
}

static void seal_patch(const struct recipe *recipe) {
    patch_image.size = make_image(recipe, patch_image.bytes);
    read_hash(&patch_image);
}

// The patch image from OLD to `to`.
static void make_patch_to(const struct made *to) {
    uint32_t size = make_patch(0, old_image.bytes, old_image.size, to->bytes, to->size, patch_body);
    struct recipe recipe = patch_recipe(size);
    recipe.gives = to->hash;
    seal_patch(&recipe);
}

static void put_patch(void) {
    (void)flash_erase(AREA_SECONDARY, 0, AREA_SECONDARY_SIZE);
    memcpy(host_flash + AREA_SECONDARY_OFFSET, patch_image.bytes, patch_image.size);
}

static result_t boot(struct boot_choice *choice) {
    host_power_on();
    return boot_choose(test_key, choice);
}

static void do_boot(void) {
    struct boot_choice choice;
    (void)boot_choose(test_key, &choice);
}

// A unit in the field that runs OLD confirmed, and once tried another patch: its area is not blank.
static void make_unit(void) {
    struct boot_choice choice;
    make(&old_image, OLD_VERSION, OLD_BODY, 1);
    make(&new_image, NEW_VERSION, NEW_BODY, 2);
    make(&other_image, OTHER_VERSION, NEW_BODY, 2);
    blank_chip();
    memcpy(host_flash + AREA_PRIMARY_OFFSET, old_image.bytes, old_image.size);
    host_power_on();
    (void)counter_raise(0, 1);
    make_patch_to(&other_image);
    put_patch();
    (void)trailer_request(AREA_SECONDARY, false);
    (void)boot(&choice);
    (void)boot(&choice);
}

// ... and has the patch from OLD to NEW in its secondary slot, asked for.
static void ready_for_patch(bool permanent) {
    make_unit();
    make_patch_to(&new_image);
    put_patch();
    (void)trailer_request(AREA_SECONDARY, permanent);
}

static bool runs(const struct boot_choice *choice, const struct made *made) {
    return choice->loaded == made->size && memcmp(port_memory(RAM_APP_BASE), made->bytes, made->size) == 0 &&
           result_ok(boot_verify_again(test_key, choice));
}

static bool holds(uint32_t offset, const struct made *made) {
    return memcmp(host_flash + offset, made->bytes, made->size) == 0;
}

// NEW under test, OLD beside it; then NEW confirmed.
static bool is_done(const struct boot_choice *choice) {
    struct boot_choice again;
    uint32_t counter;
    if (!runs(choice, &new_image) || choice->state != STATE_TESTING || choice->event != EVENT_SWAPPED) return false;
    if (!holds(AREA_PRIMARY_OFFSET, &new_image) || !holds(AREA_SECONDARY_OFFSET, &old_image)) return false;
    if (!result_ok(trailer_confirm(AREA_PRIMARY)) || !result_ok(boot(&again))) return false;
    if (!runs(&again, &new_image) || again.state != STATE_CONFIRMED) return false;
    return result_ok(counter_read(0, &counter)) && counter == 2;
}

static uint32_t count_notes(enum note_kind kind, struct note *last) {
    struct record_cursor cursor;
    struct note note;
    uint32_t count = 0;
    if (!result_ok(notes_start(&cursor))) return 0;
    while (result_ok(notes_next(&cursor, &note))) {
        if (note.kind != (uint32_t)kind) continue;
        *last = note;
        count++;
    }
    return count;
}

static void test_update(void) {
    struct boot_choice choice;
    struct note note;
    ready_for_patch(false);
    CHECK(result_ok(boot(&choice)) && is_done(&choice));
    CHECK(count_notes(NOTE_PATCHED, &note) == 2 && memcmp(note.hash, patch_image.hash, NOTE_HASH_SIZE) == 0);
    CHECK(strlen(note.reason) == 33 && note.reason[16] == '>');
    ready_for_patch(true);
    CHECK(result_ok(boot(&choice)) && runs(&choice, &new_image) && choice.state == STATE_CONFIRMED);
}

// Not confirmed: the next boot goes back to the image that the patch was applied to.
static void test_revert(void) {
    struct boot_choice choice;
    ready_for_patch(false);
    CHECK(result_ok(boot(&choice)) && runs(&choice, &new_image) && choice.state == STATE_TESTING);
    CHECK(result_ok(boot(&choice)) && runs(&choice, &old_image) && choice.event == EVENT_REVERTED);
}

// NEW under test; or, when the very last operation was cut, that test was cut, and the unit is back at OLD.
static bool done_or_tested(const struct boot_choice *choice, bool last) {
    if (last && runs(choice, &old_image)) return choice->event == EVENT_REVERTED && choice->state == STATE_CONFIRMED;
    return is_done(choice);
}

// As above, or the way back was cut at its very end and this boot had nothing to do any more: its note is there.
static bool done_or_went_back(const struct boot_choice *choice) {
    struct note note;
    bool back = runs(choice, &old_image) && choice->state == STATE_CONFIRMED;
    back = back && holds(AREA_SECONDARY_OFFSET, &new_image);
    if (back && choice->event == EVENT_NONE) return count_notes(NOTE_REVERTED, &note) == 2;
    return done_or_tested(choice, true);
}

static uint32_t operations_of_a_boot(void) {
    struct boot_choice choice;
    (void)boot(&choice);
    return host_operations;
}

static void test_every_cut(void) {
    struct boot_choice choice;
    struct note note;
    uint32_t before = cuts_made;
    ready_for_patch(false);
    struct cuts at = every_cut();
    uint32_t last = operations_of_a_boot() - 1;
    while (next_cut(&at, do_boot)) {
        CHECK(result_ok(boot(&choice)) && done_or_tested(&choice, at.n == last));
        CHECK(count_notes(NOTE_PATCHED, &note) == 2);
    }
    printf("  delta: %u cuts\n", cuts_made - before);
    CHECK(cuts_made - before > 200);
}

static void test_double_cuts(void) {
    struct boot_choice choice;
    ready_for_patch(false);
    snapshot = host_chip;
    for (uint32_t seed = 1; seed <= CUT_RUNS; seed++) {
        check_context("seed %u", seed);
        host_chip = snapshot;
        host_seed(seed);
        bool whole = false;
        for (uint32_t i = 0; i < 3 && !whole; i++)
            whole = !cut(do_boot, host_random() % 60, (enum tear)(host_random() % TEAR_COUNT));
        if (whole) continue;  // the update was done before the last cut
        CHECK(result_ok(boot(&choice)) && done_or_went_back(&choice));
    }
}

#define SLOT_LIMIT (slots[0].limit)

// What is refused, and the number that the note holds. False where a slot has no room for such a patch.
static bool make_wrong_patch(uint32_t which, uint32_t *error) {
    struct patch_writer head = {patch_body, 1};
    uint32_t size = make_patch(0, old_image.bytes, old_image.size, new_image.bytes, new_image.size, patch_body);
    struct recipe recipe = patch_recipe(size);
    switch (which) {
        case 0: recipe.base = other_image.hash, *error = ERROR_WRONG_BASE; break;
        case 1: recipe.gives = other_image.hash, *error = ERROR_BAD_HASH; break;
        case 2: patch_body[size / 2] ^= 1, *error = ERROR_BAD_HASH; break;
        case 3: recipe.body_size--, *error = ERROR_BAD_PATCH; break;
        case 4: recipe.patch_format = 2, *error = ERROR_BAD_PATCH; break;
        case 5: recipe.seed = other_seed, *error = ERROR_BAD_SIGNATURE; break;
        case 6: recipe.counter = 0, *error = ERROR_DOWNGRADE; break;
        case 7: recipe.body_size = PATCH_ROOM, *error = ERROR_TOO_LARGE; break;
        case 8: recipe.board = "another", *error = ERROR_BOARD_MISMATCH; break;
        default: patch_number(&head, SLOT_LIMIT + 1), *error = ERROR_TOO_LARGE; break;  // more than a slot
    }
    if (recipe.body_size + 1024 > SLOT_LIMIT && which == 7) return false;
    seal_patch(&recipe);
    return true;
}
#define WRONG_PATCHES 10u

static bool is_refused(const struct boot_choice *choice, uint32_t error) {
    struct trailer trailer;
    struct note note = {0};
    if (!runs(choice, &old_image) || choice->state != STATE_CONFIRMED || choice->event != EVENT_NONE) return false;
    if (!result_ok(trailer_read(AREA_SECONDARY, &trailer)) || trailer.magic == MARK_SET) return false;
    return count_notes(NOTE_REFUSED, &note) == 1 && note.code == error;
}

static void test_refusals(void) {
    for (uint32_t which = 0; which < WRONG_PATCHES; which++) {
        struct boot_choice choice;
        uint32_t error = 0;
        check_context("wrong patch %u", which);
        make_unit();
        if (!make_wrong_patch(which, &error)) continue;
        put_patch();
        CHECK(result_ok(trailer_request(AREA_SECONDARY, false)));
        CHECK(result_ok(boot(&choice)) && is_refused(&choice, error));
        CHECK(result_ok(boot(&choice)) && is_refused(&choice, error));
        // ... and an update that follows is one as ever.
        make_patch_to(&new_image);
        put_patch();
        CHECK(result_ok(trailer_request(AREA_SECONDARY, false)));
        CHECK(result_ok(boot(&choice)) && is_done(&choice));
    }
}

static void test_cuts_in_refusals(void) {
    for (uint32_t which = 0; which < WRONG_PATCHES; which++) {
        struct boot_choice choice;
        uint32_t error = 0;
        make_unit();
        if (!make_wrong_patch(which, &error)) continue;
        put_patch();
        CHECK(result_ok(trailer_request(AREA_SECONDARY, false)));
        for (struct cuts at = every_cut(); next_cut(&at, do_boot);) {
            check_context("wrong patch %u, cut in operation %u, tear %d", which, at.n, at.tear);
            CHECK(result_ok(boot(&choice)) && is_refused(&choice, error));
        }
    }
}

// The primary image rots in the middle of the work: the patch is for nothing then, and is never started itself.
static void test_never_started(void) {
    struct boot_choice choice;
    uint32_t refused = 0;
    for (uint32_t n = 0; n < 130; n += 10) {
        check_context("cut in operation %u", n);
        ready_for_patch(false);
        if (!cut(do_boot, n, TEAR_BEFORE) || !holds(AREA_PRIMARY_OFFSET, &old_image)) break;  // the swap has begun
        host_flash[AREA_PRIMARY_OFFSET + 0x300] ^= 1;
        bool started = result_ok(boot(&choice));
        CHECK(!started || runs(&choice, &new_image));  // then it was whole before the old one rotted
        refused += !started;
    }
    CHECK(refused >= 3);
}

static result_t judge_any(const struct image_source *source, struct image *image) {
    return boot_verify(source, test_key, image);
}

// Recovery needs an image: a patch is refused with a number of its own.
static void test_recovery_refuses(void) {
    static struct upload upload;
    bool done = false;
    ready_for_patch(false);
    memset(&upload, 0, sizeof upload);
    upload.slot = AREA_PRIMARY;
    upload.judge = judge_any;
    CHECK(result_ok(upload_begin(&upload, patch_image.size, 0)));
    CHECK(upload_take(&upload, patch_image.bytes, patch_image.size, &done) == RESULT_OF(ERROR_NOT_BOOTABLE) && !done);
}

static result_t judge_upload(const struct image_source *source, struct image *image) {
    return boot_verify(source, test_key, image);
}

static bool upload_other(void) {
    static struct upload upload;
    bool done = false;
    memset(&upload, 0, sizeof upload);
    upload.slot = AREA_SECONDARY;
    upload.judge = judge_upload;
    return result_ok(upload_begin(&upload, other_image.size, 0)) &&
           result_ok(upload_take(&upload, other_image.bytes, other_image.size, &done)) && done;
}

// The flash refuses up to four operations in a row, so that a patch fails and its work is not closed, either. What is
// uploaded and asked for afterwards is what runs: the patch is not applied over it.
static void test_upload_after_a_patch_that_failed(void) {
    struct boot_choice choice;
    ready_for_patch(false);
    snapshot = host_chip;
    (void)boot(&choice);
    uint32_t operations = host_operations, left_open = 0;
    for (uint32_t n = 0; n < operations; n++) {
        for (uint32_t times = 1; times <= 4; times++) {
            check_context("flash refuses %u operations from %u", times, n);
            host_chip = snapshot;
            host_power_on();
            host_fail_from(n, times);
            if (!result_ok(boot_choose(test_key, &choice)) || !runs(&choice, &old_image)) continue;
            left_open += result_ok(flash_blank(AREA_PATCH, PATCH_ROOM, PATCH_TAIL));
            host_power_on();
            CHECK(upload_other() && result_ok(trailer_request(AREA_SECONDARY, false)));
            CHECK(result_ok(boot(&choice)) && runs(&choice, &other_image) && choice.state == STATE_TESTING);
        }
    }
    CHECK(left_open > 10);
}

const struct test tests_power_delta[] = {
    {"update", test_update},
    {"revert", test_revert},
    {"every_cut", test_every_cut},
    {"double_cuts", test_double_cuts},
    {"refusals", test_refusals},
    {"cuts_in_refusals", test_cuts_in_refusals},
    {"upload_after_a_patch_that_failed", test_upload_after_a_patch_that_failed},
    {"never_started", test_never_started},
    {"recovery_refuses", test_recovery_refuses},
    {0, 0},
};
