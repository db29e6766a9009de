// SPDX-License-Identifier: Apache-2.0
// Two images, updated together or not at all: the group's decision for every combination of marks, and what a boot makes
// of requests, bad images and images that do not belong together. On a chip with one image only the decision is left.
#include <string.h>

#include "boot.h"
#include "check.h"
#include "counter.h"
#include "group.h"
#include "group_scene.h"
#include "image_maker.h"
#include "power_cut.h"
#include "update_scene.h"

// The group's decision, in words again: what was asked for moves if nothing that belongs to it stays behind; what came
// in together goes back together, unless one of it is confirmed.
static void check_decision(const struct group_marks marks[IMAGE_COUNT]) {
    struct group_decision decision = group_decide(marks);
    uint32_t asked = 0, waiting_new = 0, waiting_old = 0, came = 0, open = 0;
    bool test = false;
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        const struct trailer *first = &marks[i].primary, *second = &marks[i].secondary;
        if (second->magic == MARK_SET) asked |= 1u << i;
        if (second->magic == MARK_SET && second->image_ok != MARK_SET) test = true;
        bool came_in = first->magic == MARK_SET && first->copy_done == MARK_SET;
        if (marks[i].waits && second->went_out != MARK_SET) waiting_new |= 1u << i;
        if (marks[i].waits && second->went_out == MARK_SET && came_in) waiting_old |= 1u << i;
        if (came_in) came |= 1u << i;
        if (came_in && first->image_ok == MARK_UNSET) open |= 1u << i;
    }
    bool split = (waiting_new & ~asked) != 0 || ((waiting_old & asked) != 0 && (waiting_old & ~asked) != 0);
    if (asked != 0 && !split) {
        CHECK(decision.action == (test ? BOOT_SWAP_TEST : BOOT_SWAP_FOR_GOOD) && decision.images == asked);
        CHECK(decision.incomplete == 0 && decision.unconfirmed == 0);
        return;
    }
    CHECK(decision.incomplete == asked);
    bool back = open != 0 && open == came;
    CHECK(decision.action == (back ? BOOT_REVERT : BOOT_KEEP) && decision.images == (back ? came : 0));
    CHECK(decision.unconfirmed == (back ? 0 : open));
}

#define MARKS_OF_ONE (27u * 27u * 2u)

static void set_marks(struct group_marks *marks, uint32_t n) {
    marks->primary = (struct trailer){(enum mark)(n % 3), (enum mark)(n / 3 % 3), (enum mark)(n / 9 % 3), MARK_UNSET};
    n /= 27;
    marks->secondary = (struct trailer){(enum mark)(n % 3), (enum mark)(n / 3 % 3), MARK_UNSET, (enum mark)(n / 9 % 3)};
    marks->waits = n / 27 % 2 != 0;
}

static void test_every_combination(void) {
    struct group_marks marks[IMAGE_COUNT];
    for (uint32_t n = 0; n < MARKS_OF_ONE; n++) {
        set_marks(&marks[0], n);
#if IMAGE_COUNT > 1
        for (uint32_t k = 0; k < MARKS_OF_ONE; k++) {
            set_marks(&marks[1], k);
            check_context("combination %u, %u", n, k);
            check_decision(marks);
        }
#else
        check_context("combination %u", n);
        check_decision(marks);
        CHECK(group_decide(marks).action == boot_decide(&marks[0].primary, &marks[0].secondary));
        CHECK(group_state(marks) == boot_state_of(&marks[0].primary));
#endif
    }
}

#if IMAGE_COUNT > 1

static struct host_chip snapshot;

// One that was asked for waits for the other one that lies there; asked for or erased, that ends the wait.
static void test_one_waits_for_the_other(void) {
    for (uint32_t first = 0; first < IMAGE_COUNT; first++) {
        struct boot_choice choice;
        check_context("image %u first", first);
        group_ready();
        CHECK(result_ok(ask_for(first)) && result_ok(boot(&choice)) && is_old(&choice) && all_are(OLD));
        CHECK(last_refusal() == ERROR_GROUP_INCOMPLETE);
        CHECK(result_ok(ask_for(1 - first)) && result_ok(boot(&choice)) && all_are(NEW) && choice.state == STATE_TESTING);
        CHECK(complete_group());
    }
}

static void test_radio_alone(void) {
    struct boot_choice choice;
    uint32_t app, radio;
    group_ready();
    CHECK(result_ok(flash_erase(AREA_SECONDARY, 0, AREA_SECONDARY_SIZE)) && result_ok(ask_for(1)));
    CHECK(result_ok(boot(&choice)) && choice.state == STATE_TESTING && choice.image.version.major == 1);
    CHECK(holds(1, AREA_RADIO_PRIMARY, NEW) && result_ok(counter_read(1, &radio)) && radio == 5);
    snapshot = host_chip;
    CHECK(result_ok(boot(&choice)) && choice.event == EVENT_REVERTED && holds(1, AREA_RADIO_PRIMARY, OLD));
    host_chip = snapshot;
    CHECK(result_ok(group_confirm()) && result_ok(boot(&choice)) && choice.state == STATE_CONFIRMED);
    CHECK(holds(1, AREA_RADIO_PRIMARY, NEW) && result_ok(counter_read(1, &radio)) && radio == 6);
    CHECK(result_ok(counter_read(0, &app)) && app == 1);
}

// After an update of both, the old images lie in the secondary slots. They are no obstacle for an update of one image,
// and neither of them goes back without the other.
static void test_old_images_belong_together(void) {
    struct boot_choice choice;
    group_ready();
    group_sizes[0][OLD] = 0;
    make_group();
    do_requests();
    CHECK(complete_group());
    snapshot = host_chip;
    CHECK(result_ok(ask_for(1)) && result_ok(boot(&choice)) && is_new_for_good(&choice) && all_are(NEW));
    CHECK(last_refusal() == ERROR_GROUP_INCOMPLETE);
    host_chip = snapshot;
    CHECK(result_ok(flash_erase(AREA_RADIO_SECONDARY, 0, AREA_RADIO_SECONDARY_SIZE)));
    put_image(1, AREA_RADIO_SECONDARY, NEW);
    CHECK(result_ok(ask_for(1)) && result_ok(boot(&choice)));
    CHECK(choice.state == STATE_TESTING && choice.event == EVENT_SWAPPED);
}

static void test_dependency(void) {
    struct boot_choice choice;
    struct trailer trailer;
    group_ready();
    CHECK(result_ok(flash_erase(AREA_RADIO_SECONDARY, 0, AREA_RADIO_SECONDARY_SIZE)) && result_ok(ask_for(0)));
    CHECK(result_ok(boot(&choice)) && choice.image.version.major == 1 && choice.event == EVENT_NONE);
    CHECK(last_refusal() == ERROR_DEPENDENCY);
    CHECK(result_ok(trailer_read(AREA_SECONDARY, &trailer)) && trailer.magic == MARK_UNSET);
}

// One that does not verify: neither moves, and both requests are dropped.
static void test_one_bad_image(void) {
    for (uint32_t bad = 0; bad < IMAGE_COUNT; bad++) {
        struct boot_choice choice;
        struct trailer trailer;
        check_context("image %u is bad", bad);
        group_ready();
        do_requests();
        slot_bytes(slots[bad].secondary)[0x210] ^= 1;
        CHECK(result_ok(boot(&choice)) && is_old(&choice) && choice.event == EVENT_NONE);
        CHECK(last_refusal() == ERROR_BAD_HASH);
        for (uint32_t i = 0; i < IMAGE_COUNT; i++)
            CHECK(result_ok(trailer_read(slots[i].secondary, &trailer)) && trailer.magic == MARK_UNSET);
    }
}

// Under test, one of the new images breaks: both old ones come back.
static void test_rescue(void) {
    for (uint32_t bad = 0; bad < IMAGE_COUNT; bad++) {
        for (int confirmed = 0; confirmed < 2; confirmed++) {
            struct boot_choice choice;
            check_context("image %u is bad, confirmed %d", bad, confirmed);
            group_ready();
            do_requests();
            CHECK(result_ok(boot(&choice)) && all_are(NEW));
            if (confirmed) CHECK(result_ok(group_confirm()));
            slot_bytes(slots[bad].primary)[0x210] ^= 1;
            CHECK(result_ok(boot(&choice)) && choice.image.version.major == 1);
            CHECK(holds(0, AREA_PRIMARY, OLD) && holds(1, AREA_RADIO_PRIMARY, OLD));
        }
    }
}

// An update of one image later, the old images of the other ones are no partners of its old one: they went out before.
static void test_old_images_of_different_swaps(void) {
    static uint8_t third[GROUP_ROOM];
    struct boot_choice choice;
    group_ready();
    group_sizes[0][OLD] = 0;
    make_group();
    do_requests();
    CHECK(complete_group());
    uint32_t size = make_good(3, BODY_OLD, 2, third);
    CHECK(result_ok(flash_erase(AREA_SECONDARY, 0, AREA_SECONDARY_SIZE)));
    memcpy(slot_bytes(AREA_SECONDARY), third, size);
    CHECK(result_ok(ask_for(0)) && result_ok(boot(&choice)) && choice.image.version.major == 3);
    CHECK(result_ok(group_confirm()) && result_ok(boot(&choice)) && choice.state == STATE_CONFIRMED);
    CHECK(holds(0, AREA_SECONDARY, NEW) && holds(1, AREA_RADIO_SECONDARY, OLD));
    CHECK(result_ok(ask_for(0)) && result_ok(boot(&choice)) && choice.image.version.major == 2);
    CHECK(choice.event == EVENT_SWAPPED && holds(1, AREA_RADIO_PRIMARY, NEW));
}

// A request for old images that is refused leaves them what they were: old, and no obstacle for what comes. That they
// went out is said by their trailers and by the journal, each of which is enough.
static void test_refused_old_images_stay_old(void) {
    for (uint32_t without = 0; without < 3; without++) {
        struct boot_choice choice;
        check_context("neither, trailers, journal: without %u", without);
        group_ready();
        group_sizes[0][OLD] = 0;
        make_group();
        do_requests();
        CHECK(complete_group());
        if (without == 1) CHECK(result_ok(trailer_erase(AREA_SECONDARY)) && result_ok(trailer_erase(AREA_RADIO_SECONDARY)));
        if (without == 2) CHECK(result_ok(flash_erase(AREA_STATUS, 0, AREA_STATUS_SIZE)));
        do_requests();
        CHECK(result_ok(boot(&choice)) && is_new_for_good(&choice) && all_are(NEW));
        CHECK(last_refusal() == ERROR_DOWNGRADE);
        CHECK(result_ok(flash_erase(AREA_SECONDARY, 0, AREA_SECONDARY_SIZE)));
        put_image(0, AREA_SECONDARY, NEW);
        CHECK(result_ok(ask_for(0)) && result_ok(boot(&choice)));
        CHECK(choice.state == STATE_TESTING && choice.event == EVENT_SWAPPED);
    }
}

// The last swap moved the radio alone. When the app breaks later, what helps is the app that waits.
static void test_rescue_of_what_did_not_move(void) {
    struct boot_choice choice;
    group_ready();
    CHECK(result_ok(flash_erase(AREA_SECONDARY, 0, AREA_SECONDARY_SIZE)) && result_ok(ask_for(1)));
    CHECK(result_ok(boot(&choice)) && result_ok(group_confirm()) && result_ok(boot(&choice)));
    CHECK(choice.state == STATE_CONFIRMED && holds(1, AREA_RADIO_PRIMARY, NEW));
    put_image(0, AREA_SECONDARY, NEW);
    slot_bytes(AREA_PRIMARY)[0x210] ^= 1;
    CHECK(result_ok(boot(&choice)) && choice.image.version.major == 2 && holds(1, AREA_RADIO_PRIMARY, NEW));
}

// A radio that needs another app than the one that runs is as good as none, and no reason not to start that app.
static void test_radio_with_other_needs(void) {
    struct recipe radio = {.major = 1, .minor = 3, .body_size = 600, .counter = 9, .board = BOARD_NAME,
                           .lowest_revision = 1, .seed = test_seed, .dependencies = 1, .depends_minor = 7,
                           .image = 1};
    struct boot_choice choice;
    uint32_t counter;
    group_ready();
    CHECK(result_ok(flash_erase(AREA_RADIO_PRIMARY, 0, AREA_RADIO_PRIMARY_SIZE)));
    CHECK(result_ok(flash_erase(AREA_SECONDARY, 0, AREA_SECONDARY_SIZE)));
    CHECK(result_ok(flash_erase(AREA_RADIO_SECONDARY, 0, AREA_RADIO_SECONDARY_SIZE)));
    (void)make_image(&radio, slot_bytes(AREA_RADIO_PRIMARY));
    CHECK(result_ok(boot(&choice)) && is_old(&choice) && last_refusal() == ERROR_DEPENDENCY);
    CHECK(result_ok(counter_read(1, &counter)) && counter == 5);
}

// What was signed for one processor of the board is nothing for the other one, whatever its version and counter.
static void test_image_in_the_slot_of_another(void) {
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        struct boot_choice choice;
        check_context("image %u in the other one's slot", i);
        group_ready();
        CHECK(result_ok(flash_erase(slots[i].secondary, 0, flash_area_size(slots[i].secondary))));
        enum area wrong = slots[1 - i].secondary;
        CHECK(result_ok(flash_erase(wrong, 0, flash_area_size(wrong))));
        memcpy(slot_bytes(wrong), group_bytes[i][OLD], group_sizes[i][OLD]);
        CHECK(result_ok(ask_for(1 - i)) && result_ok(boot(&choice)) && is_old(&choice) && choice.event == EVENT_NONE);
        CHECK(last_refusal() == ERROR_BOARD_MISMATCH && holds(1, AREA_RADIO_PRIMARY, OLD));
    }
}

static bool tells(const struct boot_choice *choice, enum age age) {
    static struct image image;
    struct image_source source = image_in_ram(group_bytes[1][age], group_sizes[1][age]);
    source.number = 1;
    return result_ok(image_parse(&source, &image)) && choice->radio.number == 1 &&
           memcmp(choice->radio.hash, image.hash, SHA256_SIZE) == 0 && choice->radio.version.minor == 1 + age;
}

// What is handed over of the radio is what was verified: nothing where its signature is another's, or it is not there.
static void test_radio_that_is_told(void) {
    struct recipe foreign = {.major = 1, .minor = 1, .body_size = 700, .counter = 5, .board = BOARD_NAME,
                             .lowest_revision = 1, .seed = other_seed, .image = 1};
    struct boot_choice choice;
    group_ready();
    group_sizes[0][OLD] = 0;
    group_ready();
    CHECK(result_ok(boot(&choice)) && tells(&choice, OLD));
    do_requests();
    CHECK(result_ok(boot(&choice)) && all_are(NEW) && tells(&choice, NEW));
    group_ready();
    CHECK(result_ok(flash_erase(AREA_RADIO_PRIMARY, 0, AREA_RADIO_PRIMARY_SIZE)));
    CHECK(result_ok(boot(&choice)) && choice.radio.number == 0);
    (void)make_image(&foreign, slot_bytes(AREA_RADIO_PRIMARY));
    CHECK(result_ok(boot(&choice)) && choice.radio.number == 0 && last_refusal() == ERROR_BAD_SIGNATURE);
}

// Without a radio image the app starts; a bad one is told, and not swapped for anything.
static void test_without_radio(void) {
    struct boot_choice choice;
    group_ready();
    CHECK(result_ok(flash_erase(AREA_RADIO_PRIMARY, 0, AREA_RADIO_PRIMARY_SIZE)));
    CHECK(result_ok(boot(&choice)) && is_old(&choice) && choice.state == STATE_CONFIRMED && last_refusal() == 0);
    group_ready();
    slot_bytes(AREA_RADIO_PRIMARY)[0x210] ^= 1;
    CHECK(result_ok(boot(&choice)) && is_old(&choice) && last_refusal() == ERROR_BAD_HASH);
}

static void test_counters_are_apart(void) {
    uint32_t app, radio;
    blank_chip();
    host_power_on();
    CHECK(result_ok(counter_raise(1, 40)));
    for (uint32_t value = 1; value < 200; value++) CHECK(result_ok(counter_raise(0, value)));
    CHECK(result_ok(counter_read(0, &app)) && result_ok(counter_read(1, &radio)) && app == 199 && radio == 40);
    CHECK(!result_ok(counter_read(IMAGE_COUNT, &app)) && app == 0xFFFFFFFF);
    CHECK(!result_ok(counter_raise(IMAGE_COUNT, 1)));
}

#endif

const struct test tests_group[] = {
    {"every_combination", test_every_combination},
#if IMAGE_COUNT > 1
    {"one_waits_for_the_other", test_one_waits_for_the_other},
    {"radio_alone", test_radio_alone},
    {"old_images_belong_together", test_old_images_belong_together},
    {"dependency", test_dependency},
    {"one_bad_image", test_one_bad_image},
    {"rescue", test_rescue},
    {"old_images_of_different_swaps", test_old_images_of_different_swaps},
    {"refused_old_images_stay_old", test_refused_old_images_stay_old},
    {"rescue_of_what_did_not_move", test_rescue_of_what_did_not_move},
    {"radio_with_other_needs", test_radio_with_other_needs},
    {"image_in_the_slot_of_another", test_image_in_the_slot_of_another},
    {"radio_that_is_told", test_radio_that_is_told},
    {"without_radio", test_without_radio},
    {"counters_are_apart", test_counters_are_apart},
#endif
    {0, 0},
};
