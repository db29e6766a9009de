// SPDX-License-Identifier: Apache-2.0
// Two images, updated together or not at all: the group's decision for every combination of marks, and power cuts at
// every operation of requests, swap, revert and confirmation. On a chip with one image only the decision is left.
#include <stdio.h>
#include <string.h>

#include "boot.h"
#include "check.h"
#include "counter.h"
#include "group.h"
#include "host_port.h"
#include "image_maker.h"
#include "notes.h"
#include "port.h"
#include "power_cut.h"
#include "upload.h"

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
        if (marks[i].waits && second->went_out == MARK_UNSET) waiting_new |= 1u << i;
        if (marks[i].waits && second->went_out != MARK_UNSET && came_in) waiting_old |= 1u << i;
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

#define ROUNDS_MAX 8u
#define SEEDS 500u
enum age { OLD, NEW, AGES };

static struct host_chip snapshot;
#define ROOM (AREA_PRIMARY_SIZE > AREA_RADIO_PRIMARY_SIZE ? AREA_PRIMARY_SIZE : AREA_RADIO_PRIMARY_SIZE)
static uint8_t bytes[IMAGE_COUNT][AGES][ROOM];
static uint32_t sizes[IMAGE_COUNT][AGES];

static uint32_t new_counters[IMAGE_COUNT] = {2, 6};

// App 1.0.0 needs nothing, app 2.0.0 the radio in version 1.2.0; the radio is 1.1.0 or 1.2.0.
static void make_all(void) {
    const struct recipe app = {.major = 2, .body_size = BODY_NEW, .counter = new_counters[0],
                               .board = BOARD_NAME, .lowest_revision = 1, .seed = test_seed, .dependencies = 1, .depends_on = 1,
                               .depends_minor = 2};
    struct recipe radio = {.major = 1, .minor = 1, .body_size = 700, .counter = 5, .board = BOARD_NAME,
                           .lowest_revision = 1, .seed = test_seed, .image = 1};
    sizes[0][OLD] = make_good(1, BODY_OLD, 1, bytes[0][OLD]);
    sizes[0][NEW] = make_image(&app, bytes[0][NEW]);
    sizes[1][OLD] = make_image(&radio, bytes[1][OLD]);
    radio.minor = 2;
    radio.counter = new_counters[1];
    radio.body_size = FLASH_ERASE_SIZE > 4096 ? 900 : FLASH_ERASE_SIZE + 300;
    sizes[1][NEW] = make_image(&radio, bytes[1][NEW]);
}

static uint8_t *place(enum area slot) {
    static const uint32_t offsets[AREA_COUNT] = {[AREA_PRIMARY] = AREA_PRIMARY_OFFSET,
                                                 [AREA_SECONDARY] = AREA_SECONDARY_OFFSET,
                                                 [AREA_RADIO_PRIMARY] = AREA_RADIO_PRIMARY_OFFSET,
                                                 [AREA_RADIO_SECONDARY] = AREA_RADIO_SECONDARY_OFFSET};
    return host_flash + offsets[slot];
}

static void put(uint32_t image, enum area slot, enum age age) {
    memcpy(place(slot), bytes[image][age], sizes[image][age]);
}

// Old images run, new ones wait, nothing is asked for.
static void ready(void) {
    if (sizes[0][OLD] == 0) make_all();
    blank_chip();
    host_power_on();
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        put(i, slots[i].primary, OLD);
        put(i, slots[i].secondary, NEW);
        (void)counter_raise(i, i == 0 ? 1 : 5);
    }
}

static result_t ask(uint32_t image) { return trailer_request(slots[image].secondary, false); }

static void do_requests(void) {
    (void)ask(0);
    (void)ask(1);
}

static result_t boot(struct boot_choice *choice) { return boot_choose(test_key, choice); }

static void do_boot(void) {
    struct boot_choice choice;
    (void)boot(&choice);
}

static bool holds(uint32_t image, enum area slot, enum age age) {
    return memcmp(place(slot), bytes[image][age], sizes[image][age]) == 0;
}

static bool all_are(enum age running) {
    const enum age other = running == OLD ? NEW : OLD;
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        if (!holds(i, slots[i].primary, running) || !holds(i, slots[i].secondary, other)) return false;
    }
    return true;
}

// After a boot: the app is started, and what runs is all old or all new.
static bool no_mixture(const struct boot_choice *choice) {
    enum age age = choice->image.version.major == 1 ? OLD : NEW;
    return memcmp(port_memory(RAM_APP_BASE), bytes[0][age], sizes[0][age]) == 0 &&
           result_ok(boot_verify_again(test_key, choice)) && all_are(age);
}

// What the host does: ask for both, test, confirm.
static bool complete(void) {
    for (uint32_t round = 0; round < ROUNDS_MAX; round++) {
        struct boot_choice choice;
        uint32_t app, radio;
        host_power_on();
        if (!result_ok(boot(&choice)) || !no_mixture(&choice)) return false;
        if (choice.image.version.major == 1) {
            if (choice.state != STATE_CONFIRMED || !result_ok(ask(0)) || !result_ok(ask(1))) return false;
        } else if (choice.state == STATE_TESTING) {
            if (!result_ok(group_confirm())) return false;
        } else {
            return result_ok(counter_read(0, &app)) && result_ok(counter_read(1, &radio)) && app == 2 && radio == 6;
        }
    }
    return false;
}

// Cuts `action` at every operation, in every way; then `expected`, and the update is completed.
static void check_every_cut(void (*action)(void), bool (*expected)(const struct boot_choice *choice)) {
    struct boot_choice choice;
    for (struct cuts at = every_cut(); next_cut(&at, action);) {
        CHECK(result_ok(boot(&choice)));
        CHECK(no_mixture(&choice) && expected(&choice));
        CHECK(complete());
    }
}

static bool old_or_tested(const struct boot_choice *choice) {
    return choice->state == (choice->image.version.major == 1 ? STATE_CONFIRMED : STATE_TESTING);
}
static bool is_old(const struct boot_choice *choice) { return choice->image.version.major == 1; }
static bool is_settled(const struct boot_choice *choice) { return choice->state == STATE_CONFIRMED; }
static bool is_new_for_good(const struct boot_choice *choice) {
    return choice->image.version.major == 2 && choice->state == STATE_CONFIRMED;
}

static void test_between_two_requests(void) {
    ready();
    check_every_cut(do_requests, old_or_tested);
}

static void test_swap(void) {
    uint32_t before = cuts_made;
    ready();
    do_requests();
    check_every_cut(do_boot, old_or_tested);
    printf("  swap of two images: %u cuts\n", cuts_made - before);
    CHECK(cuts_made - before > 200);
}

static void test_revert(void) {
    struct boot_choice choice;
    ready();
    do_requests();
    CHECK(result_ok(boot(&choice)) && all_are(NEW) && choice.state == STATE_TESTING);
    check_every_cut(do_boot, is_old);
}

static void test_for_good(void) {
    ready();
    CHECK(result_ok(trailer_request(AREA_SECONDARY, true)) && result_ok(trailer_request(AREA_RADIO_SECONDARY, true)));
    check_every_cut(do_boot, is_new_for_good);
}

static void do_confirm(void) { (void)group_confirm(); }

static void test_between_two_confirmations(void) {
    struct boot_choice choice;
    struct group_marks marks[IMAGE_COUNT];
    ready();
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
        ready();
        host_seed(seed);
        (void)cut(do_requests, host_random() % 6, (enum tear)(host_random() % TEAR_COUNT));
        do_requests();
        if (seed % 2 == 0) CHECK(result_ok(boot(&choice)));  // then it is a revert that is cut
        for (uint32_t i = 0; i < 3; i++)
            (void)cut(do_boot, host_random() % (i == 0 ? 160 : 40), (enum tear)(host_random() % TEAR_COUNT));
        CHECK(result_ok(boot(&choice)) && no_mixture(&choice));
        CHECK(complete());
    }
}

static uint32_t last_refusal(void) {
    struct record_cursor cursor;
    struct note note;
    uint32_t code = 0;
    for (result_t result = notes_start(&cursor); result_ok(result);) {
        result = notes_next(&cursor, &note);
        if (result_ok(result) && note.kind == NOTE_REFUSED) code = note.code;
    }
    return code;
}

// One that was asked for waits for the other one that lies there; asked for or erased, that ends the wait.
static void test_one_waits_for_the_other(void) {
    for (uint32_t first = 0; first < IMAGE_COUNT; first++) {
        struct boot_choice choice;
        check_context("image %u first", first);
        ready();
        CHECK(result_ok(ask(first)) && result_ok(boot(&choice)) && is_old(&choice) && all_are(OLD));
        CHECK(last_refusal() == ERROR_GROUP_INCOMPLETE);
        CHECK(result_ok(ask(1 - first)) && result_ok(boot(&choice)) && all_are(NEW) && choice.state == STATE_TESTING);
        CHECK(complete());
    }
}

static void test_radio_alone(void) {
    struct boot_choice choice;
    uint32_t app, radio;
    ready();
    CHECK(result_ok(flash_erase(AREA_SECONDARY, 0, AREA_SECONDARY_SIZE)) && result_ok(ask(1)));
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
    ready();
    sizes[0][OLD] = 0;
    make_all();
    do_requests();
    CHECK(complete());
    snapshot = host_chip;
    CHECK(result_ok(ask(1)) && result_ok(boot(&choice)) && is_new_for_good(&choice) && all_are(NEW));
    CHECK(last_refusal() == ERROR_GROUP_INCOMPLETE);
    host_chip = snapshot;
    CHECK(result_ok(flash_erase(AREA_RADIO_SECONDARY, 0, AREA_RADIO_SECONDARY_SIZE)));
    put(1, AREA_RADIO_SECONDARY, NEW);
    CHECK(result_ok(ask(1)) && result_ok(boot(&choice)));
    CHECK(choice.state == STATE_TESTING && choice.event == EVENT_SWAPPED);
}

static void test_dependency(void) {
    struct boot_choice choice;
    struct trailer trailer;
    ready();
    CHECK(result_ok(flash_erase(AREA_RADIO_SECONDARY, 0, AREA_RADIO_SECONDARY_SIZE)) && result_ok(ask(0)));
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
        ready();
        do_requests();
        place(slots[bad].secondary)[0x210] ^= 1;
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
            ready();
            do_requests();
            CHECK(result_ok(boot(&choice)) && all_are(NEW));
            if (confirmed) CHECK(result_ok(group_confirm()));
            place(slots[bad].primary)[0x210] ^= 1;
            CHECK(result_ok(boot(&choice)) && choice.image.version.major == 1);
            CHECK(holds(0, AREA_PRIMARY, OLD) && holds(1, AREA_RADIO_PRIMARY, OLD));
        }
    }
}

// An update of one image later, the old images of the other ones are no partners of its old one: they went out before.
static void test_old_images_of_different_swaps(void) {
    static uint8_t third[ROOM];
    struct boot_choice choice;
    ready();
    sizes[0][OLD] = 0;
    make_all();
    do_requests();
    CHECK(complete());
    uint32_t size = make_good(3, BODY_OLD, 2, third);
    CHECK(result_ok(flash_erase(AREA_SECONDARY, 0, AREA_SECONDARY_SIZE)));
    memcpy(place(AREA_SECONDARY), third, size);
    CHECK(result_ok(ask(0)) && result_ok(boot(&choice)) && choice.image.version.major == 3);
    CHECK(result_ok(group_confirm()) && result_ok(boot(&choice)) && choice.state == STATE_CONFIRMED);
    CHECK(holds(0, AREA_SECONDARY, NEW) && holds(1, AREA_RADIO_SECONDARY, OLD));
    CHECK(result_ok(ask(0)) && result_ok(boot(&choice)) && choice.image.version.major == 2);
    CHECK(choice.event == EVENT_SWAPPED && holds(1, AREA_RADIO_PRIMARY, NEW));
}

// A request for old images that is refused leaves them what they were: old, and no obstacle for what comes. That they
// went out is said by their trailers and by the journal, each of which is enough.
static void test_refused_old_images_stay_old(void) {
    for (uint32_t without = 0; without < 3; without++) {
        struct boot_choice choice;
        check_context("neither, trailers, journal: without %u", without);
        ready();
        sizes[0][OLD] = 0;
        make_all();
        do_requests();
        CHECK(complete());
        if (without == 1) CHECK(result_ok(trailer_erase(AREA_SECONDARY)) && result_ok(trailer_erase(AREA_RADIO_SECONDARY)));
        if (without == 2) CHECK(result_ok(flash_erase(AREA_STATUS, 0, AREA_STATUS_SIZE)));
        do_requests();
        CHECK(result_ok(boot(&choice)) && is_new_for_good(&choice) && all_are(NEW));
        CHECK(last_refusal() == ERROR_DOWNGRADE);
        CHECK(result_ok(flash_erase(AREA_SECONDARY, 0, AREA_SECONDARY_SIZE)));
        put(0, AREA_SECONDARY, NEW);
        CHECK(result_ok(ask(0)) && result_ok(boot(&choice)));
        CHECK(choice.state == STATE_TESTING && choice.event == EVENT_SWAPPED);
    }
}

static void do_ask_app(void) { (void)ask(0); }

// A request for an old image for good becomes one for a test: its trailer is erased and written anew. Wherever the power
// goes in it, the image stays an old one, which does not go back without the other.
static void test_old_image_stays_old_when_cut(void) {
    struct boot_choice choice;
    new_counters[0] = 1;
    new_counters[1] = 5;
    make_all();
    ready();
    do_requests();
    bool there = result_ok(boot(&choice)) && result_ok(group_confirm()) && result_ok(boot(&choice)) && all_are(NEW);
    new_counters[0] = 2;
    new_counters[1] = 6;
    sizes[0][OLD] = 0;
    CHECK(there && result_ok(trailer_request(AREA_SECONDARY, true)));
    for (struct cuts at = every_cut(); next_cut(&at, do_ask_app);) {
        CHECK(result_ok(boot(&choice)) && all_are(NEW) && choice.state == STATE_CONFIRMED);
        CHECK(result_ok(ask(0)) && result_ok(boot(&choice)) && all_are(NEW));
        CHECK(result_ok(ask(1)) && result_ok(boot(&choice)) && all_are(OLD) && choice.state == STATE_TESTING);
    }
}

// The last swap moved the radio alone. When the app breaks later, what helps is the app that waits.
static void test_rescue_of_what_did_not_move(void) {
    struct boot_choice choice;
    ready();
    CHECK(result_ok(flash_erase(AREA_SECONDARY, 0, AREA_SECONDARY_SIZE)) && result_ok(ask(1)));
    CHECK(result_ok(boot(&choice)) && result_ok(group_confirm()) && result_ok(boot(&choice)));
    CHECK(choice.state == STATE_CONFIRMED && holds(1, AREA_RADIO_PRIMARY, NEW));
    put(0, AREA_SECONDARY, NEW);
    place(AREA_PRIMARY)[0x210] ^= 1;
    CHECK(result_ok(boot(&choice)) && choice.image.version.major == 2 && holds(1, AREA_RADIO_PRIMARY, NEW));
}

// A radio that needs another app than the one that runs is as good as none, and no reason not to start that app.
static void test_radio_with_other_needs(void) {
    struct recipe radio = {.major = 1, .minor = 3, .body_size = 600, .counter = 9, .board = BOARD_NAME,
                           .lowest_revision = 1, .seed = test_seed, .dependencies = 1, .depends_minor = 7,
                           .image = 1};
    struct boot_choice choice;
    uint32_t counter;
    ready();
    CHECK(result_ok(flash_erase(AREA_RADIO_PRIMARY, 0, AREA_RADIO_PRIMARY_SIZE)));
    CHECK(result_ok(flash_erase(AREA_SECONDARY, 0, AREA_SECONDARY_SIZE)));
    CHECK(result_ok(flash_erase(AREA_RADIO_SECONDARY, 0, AREA_RADIO_SECONDARY_SIZE)));
    (void)make_image(&radio, place(AREA_RADIO_PRIMARY));
    CHECK(result_ok(boot(&choice)) && is_old(&choice) && last_refusal() == ERROR_DEPENDENCY);
    CHECK(result_ok(counter_read(1, &counter)) && counter == 5);
}

// What was signed for one processor of the board is nothing for the other one, whatever its version and counter.
static void test_image_in_the_slot_of_another(void) {
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        struct boot_choice choice;
        check_context("image %u in the other one's slot", i);
        ready();
        CHECK(result_ok(flash_erase(slots[i].secondary, 0, flash_area_size(slots[i].secondary))));
        enum area wrong = slots[1 - i].secondary;
        CHECK(result_ok(flash_erase(wrong, 0, flash_area_size(wrong))));
        memcpy(place(wrong), bytes[i][OLD], sizes[i][OLD]);
        CHECK(result_ok(ask(1 - i)) && result_ok(boot(&choice)) && is_old(&choice) && choice.event == EVENT_NONE);
        CHECK(last_refusal() == ERROR_BOARD_MISMATCH && holds(1, AREA_RADIO_PRIMARY, OLD));
    }
}

static bool tells(const struct boot_choice *choice, enum age age) {
    static struct image image;
    struct image_source source = image_in_ram(bytes[1][age], sizes[1][age]);
    source.number = 1;
    return result_ok(image_parse(&source, &image)) && choice->radio.number == 1 &&
           memcmp(choice->radio.hash, image.hash, SHA256_SIZE) == 0 && choice->radio.version.minor == 1 + age;
}

// What is handed over of the radio is what was verified: nothing where its signature is another's, or it is not there.
static void test_radio_that_is_told(void) {
    struct recipe foreign = {.major = 1, .minor = 1, .body_size = 700, .counter = 5, .board = BOARD_NAME,
                             .lowest_revision = 1, .seed = other_seed, .image = 1};
    struct boot_choice choice;
    ready();
    sizes[0][OLD] = 0;
    ready();
    CHECK(result_ok(boot(&choice)) && tells(&choice, OLD));
    do_requests();
    CHECK(result_ok(boot(&choice)) && all_are(NEW) && tells(&choice, NEW));
    ready();
    CHECK(result_ok(flash_erase(AREA_RADIO_PRIMARY, 0, AREA_RADIO_PRIMARY_SIZE)));
    CHECK(result_ok(boot(&choice)) && choice.radio.number == 0);
    (void)make_image(&foreign, place(AREA_RADIO_PRIMARY));
    CHECK(result_ok(boot(&choice)) && choice.radio.number == 0 && last_refusal() == ERROR_BAD_SIGNATURE);
}

// Without a radio image the app starts; a bad one is told, and not swapped for anything.
static void test_without_radio(void) {
    struct boot_choice choice;
    ready();
    CHECK(result_ok(flash_erase(AREA_RADIO_PRIMARY, 0, AREA_RADIO_PRIMARY_SIZE)));
    CHECK(result_ok(boot(&choice)) && is_old(&choice) && choice.state == STATE_CONFIRMED && last_refusal() == 0);
    ready();
    place(AREA_RADIO_PRIMARY)[0x210] ^= 1;
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
    {"between_two_requests", test_between_two_requests},
    {"swap", test_swap},
    {"revert", test_revert},
    {"for_good", test_for_good},
    {"between_two_confirmations", test_between_two_confirmations},
    {"many_cuts", test_many_cuts},
    {"one_waits_for_the_other", test_one_waits_for_the_other},
    {"radio_alone", test_radio_alone},
    {"old_images_belong_together", test_old_images_belong_together},
    {"dependency", test_dependency},
    {"one_bad_image", test_one_bad_image},
    {"rescue", test_rescue},
    {"old_images_of_different_swaps", test_old_images_of_different_swaps},
    {"refused_old_images_stay_old", test_refused_old_images_stay_old},
    {"old_image_stays_old_when_cut", test_old_image_stays_old_when_cut},
    {"rescue_of_what_did_not_move", test_rescue_of_what_did_not_move},
    {"radio_with_other_needs", test_radio_with_other_needs},
    {"image_in_the_slot_of_another", test_image_in_the_slot_of_another},
    {"radio_that_is_told", test_radio_that_is_told},
    {"without_radio", test_without_radio},
    {"counters_are_apart", test_counters_are_apart},
#endif
    {0, 0},
};
