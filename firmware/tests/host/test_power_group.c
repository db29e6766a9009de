// SPDX-License-Identifier: Apache-2.0
// Two images, updated together: power cuts at every operation of requests, swap, revert and confirmation. On a chip with
// one image there is none of it.
#include <stdio.h>
#include <string.h>

#include "boot.h"
#include "check.h"
#include "group.h"
#include "group_scene.h"
#include "image_maker.h"
#include "power_cut.h"
#include "update_scene.h"
#include "upload.h"

#if IMAGE_COUNT > 1

#define SEEDS 500u

// Cuts `action` at every operation, in every way; then `expected`, and the update is completed.
static void check_every_cut(void (*action)(void), bool (*expected)(const struct boot_choice *choice)) {
    struct boot_choice choice;
    for (struct cuts at = every_cut(); next_cut(&at, action);) {
        CHECK(result_ok(boot(&choice)));
        CHECK(no_mixture(&choice) && expected(&choice));
        CHECK(complete_group());
    }
}

static bool old_or_tested(const struct boot_choice *choice) {
    return choice->state == (choice->image.version.major == 1 ? STATE_CONFIRMED : STATE_TESTING);
}
static bool is_settled(const struct boot_choice *choice) { return choice->state == STATE_CONFIRMED; }

static void test_between_two_requests(void) {
    group_ready();
    check_every_cut(do_requests, old_or_tested);
}

static void test_swap(void) {
    uint32_t before = cuts_made;
    group_ready();
    do_requests();
    check_every_cut(do_boot, old_or_tested);
    printf("  swap of two images: %u cuts\n", cuts_made - before);
    CHECK(cuts_made - before > 200);
}

static void test_revert(void) {
    struct boot_choice choice;
    group_ready();
    do_requests();
    CHECK(result_ok(boot(&choice)) && all_are(NEW) && choice.state == STATE_TESTING);
    check_every_cut(do_boot, is_old);
}

static void test_for_good(void) {
    group_ready();
    CHECK(result_ok(trailer_request(AREA_SECONDARY, true)) && result_ok(trailer_request(AREA_RADIO_SECONDARY, true)));
    check_every_cut(do_boot, is_new_for_good);
}

static void do_confirm(void) { (void)group_confirm(); }

static void test_between_two_confirmations(void) {
    struct boot_choice choice;
    struct group_marks marks[IMAGE_COUNT];
    group_ready();
    do_requests();
    CHECK(result_ok(boot(&choice)) && choice.state == STATE_TESTING);
    check_every_cut(do_confirm, is_settled);
    host_chip = start_of_cuts;
    CHECK(cut(do_confirm, 1, TEAR_BEFORE));  // the app is confirmed, the radio is not
    CHECK(result_ok(boot(&choice)) && is_new_for_good(&choice) && all_are(NEW));
    CHECK(result_ok(group_read(marks)) && marks[1].primary.image_ok == MARK_SET);
}

// Several cuts, one after another, from the first request on.
static void test_many_cuts(void) {
    struct boot_choice choice;
    for (uint32_t seed = 1; seed <= SEEDS; seed++) {
        check_context("seed %u", seed);
        group_ready();
        host_seed(seed);
        (void)cut(do_requests, host_random() % 6, (enum tear)(host_random() % TEAR_COUNT));
        do_requests();
        if (seed % 2 == 0) CHECK(result_ok(boot(&choice)));  // then it is a revert that is cut
        for (uint32_t i = 0; i < 3; i++)
            (void)cut(do_boot, host_random() % (i == 0 ? 160 : 40), (enum tear)(host_random() % TEAR_COUNT));
        CHECK(result_ok(boot(&choice)) && no_mixture(&choice));
        CHECK(complete_group());
    }
}

static void do_ask_app(void) { (void)ask_for(0); }

// A request for an old image for good becomes one for a test: its trailer is erased and written anew. Wherever the power
// goes in it, the image stays an old one, which does not go back without the other.
static void test_old_image_stays_old_when_cut(void) {
    struct boot_choice choice;
    new_counters[0] = 1;
    new_counters[1] = 5;
    make_group();
    group_ready();
    do_requests();
    bool there = result_ok(boot(&choice)) && result_ok(group_confirm()) && result_ok(boot(&choice)) && all_are(NEW);
    new_counters[0] = 2;
    new_counters[1] = 6;
    group_sizes[0][OLD] = 0;
    CHECK(there && result_ok(trailer_request(AREA_SECONDARY, true)));
    for (struct cuts at = every_cut(); next_cut(&at, do_ask_app);) {
        CHECK(result_ok(boot(&choice)) && all_are(NEW) && choice.state == STATE_CONFIRMED);
        CHECK(result_ok(ask_for(0)) && result_ok(boot(&choice)) && all_are(NEW));
        CHECK(result_ok(ask_for(1)) && result_ok(boot(&choice)) && all_are(OLD) && choice.state == STATE_TESTING);
    }
}

static uint32_t overwritten;  // image number of what another upload or an erase comes over

static result_t take_any(const struct image_source *source, struct image *image) { return image_parse(source, image); }

static struct upload upload_over(void) {
    struct upload upload;
    memset(&upload, 0, sizeof upload);
    upload.image = overwritten;
    upload.slot = slots[overwritten].secondary;
    upload.judge = take_any;
    return upload;
}

// Without a name, so that it is begun anew although the same image is there.
static void do_upload_over(void) {
    static struct upload upload;
    bool done;
    upload = upload_over();
    if (!result_ok(upload_begin(&upload, group_sizes[overwritten][NEW], 0))) return;
    (void)upload_take(&upload, group_bytes[overwritten][NEW], group_sizes[overwritten][NEW], &done);
}

static void do_erase_over(void) {
    static struct upload upload;
    upload = upload_over();
    (void)upload_erase(&upload, upload.slot);
}

static bool same_age_runs(const struct boot_choice *choice) {
    enum age age = choice->image.version.major == 1 ? OLD : NEW;
    return result_ok(boot_verify_again(test_key, choice)) && holds(0, AREA_PRIMARY, age) &&
           holds(1, AREA_RADIO_PRIMARY, age);
}

// Both were asked for, and one of them is overwritten before the reset: the other does not go alone.
static void check_overwritten(void (*action)(void)) {
    struct boot_choice choice;
    for (overwritten = 0; overwritten < IMAGE_COUNT; overwritten++) {
        group_ready();
        do_requests();
        action();
        host_power_on();
        CHECK(result_ok(boot(&choice)) && is_old(&choice) && same_age_runs(&choice));
        group_ready();
        do_requests();
        for (struct cuts at = every_cut(); next_cut(&at, action);) {
            CHECK(result_ok(boot(&choice)) && same_age_runs(&choice) && old_or_tested(&choice));
            if (!is_old(&choice)) continue;  // cut before anything was withdrawn
            host_power_on();
            do_upload_over();
            CHECK(result_ok(ask_for(overwritten)) && result_ok(boot(&choice)) && is_old(&choice) && same_age_runs(&choice));
            do_requests();
            CHECK(complete_group());
        }
    }
}

static void test_overwritten_by_an_upload(void) { check_overwritten(do_upload_over); }
static void test_erased(void) { check_overwritten(do_erase_over); }

#endif

const struct test tests_power_group[] = {
#if IMAGE_COUNT > 1
    {"between_two_requests", test_between_two_requests},
    {"swap", test_swap},
    {"revert", test_revert},
    {"for_good", test_for_good},
    {"between_two_confirmations", test_between_two_confirmations},
    {"many_cuts", test_many_cuts},
    {"old_image_stays_old_when_cut", test_old_image_stays_old_when_cut},
    {"overwritten_by_an_upload", test_overwritten_by_an_upload},
    {"erased", test_erased},
#endif
    {0, 0},
};
