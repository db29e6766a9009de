// SPDX-License-Identifier: Apache-2.0
// The two images of a board and their update; see group_scene.h.
#include "group_scene.h"

#if IMAGE_COUNT > 1

#include <string.h>

#include "counter.h"
#include "group.h"
#include "image_maker.h"
#include "notes.h"
#include "port.h"
#include "power_cut.h"
#include "update_scene.h"

#define ROUNDS_MAX 8u  // boots within which an update must be done

uint8_t group_bytes[IMAGE_COUNT][AGES][GROUP_ROOM];
uint32_t group_sizes[IMAGE_COUNT][AGES];

uint32_t new_counters[IMAGE_COUNT] = {2, 6};

void make_group(void) {
    const struct recipe app = {.major = 2, .body_size = BODY_NEW, .counter = new_counters[0],
                               .board = BOARD_NAME, .lowest_revision = 1, .seed = test_seed, .dependencies = 1, .depends_on = 1,
                               .depends_minor = 2};
    struct recipe radio = {.major = 1, .minor = 1, .body_size = 700, .counter = 5, .board = BOARD_NAME,
                           .lowest_revision = 1, .seed = test_seed, .image = 1};
    group_sizes[0][OLD] = make_good(1, BODY_OLD, 1, group_bytes[0][OLD]);
    group_sizes[0][NEW] = make_image(&app, group_bytes[0][NEW]);
    group_sizes[1][OLD] = make_image(&radio, group_bytes[1][OLD]);
    radio.minor = 2;
    radio.counter = new_counters[1];
    radio.body_size = FLASH_ERASE_SIZE > 4096 ? 900 : FLASH_ERASE_SIZE + 300;
    group_sizes[1][NEW] = make_image(&radio, group_bytes[1][NEW]);
}

uint8_t *slot_bytes(enum area slot) {
    static const uint32_t offsets[AREA_COUNT] = {[AREA_PRIMARY] = AREA_PRIMARY_OFFSET,
                                                 [AREA_SECONDARY] = AREA_SECONDARY_OFFSET,
                                                 [AREA_RADIO_PRIMARY] = AREA_RADIO_PRIMARY_OFFSET,
                                                 [AREA_RADIO_SECONDARY] = AREA_RADIO_SECONDARY_OFFSET};
    return host_flash + offsets[slot];
}

void put_image(uint32_t image, enum area slot, enum age age) {
    memcpy(slot_bytes(slot), group_bytes[image][age], group_sizes[image][age]);
}

void group_ready(void) {
    if (group_sizes[0][OLD] == 0) make_group();
    blank_chip();
    host_power_on();
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        put_image(i, slots[i].primary, OLD);
        put_image(i, slots[i].secondary, NEW);
        (void)counter_raise(i, i == 0 ? 1 : 5);
    }
}

result_t ask_for(uint32_t image) { return trailer_request(slots[image].secondary, false); }

void do_requests(void) {
    (void)ask_for(0);
    (void)ask_for(1);
}

bool holds(uint32_t image, enum area slot, enum age age) {
    return memcmp(slot_bytes(slot), group_bytes[image][age], group_sizes[image][age]) == 0;
}

bool all_are(enum age running) {
    const enum age other = running == OLD ? NEW : OLD;
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        if (!holds(i, slots[i].primary, running) || !holds(i, slots[i].secondary, other)) return false;
    }
    return true;
}

bool no_mixture(const struct boot_choice *choice) {
    enum age age = choice->image.version.major == 1 ? OLD : NEW;
    return memcmp(port_memory(RAM_APP_BASE), group_bytes[0][age], group_sizes[0][age]) == 0 &&
           result_ok(boot_verify_again(test_key, choice)) && all_are(age);
}

bool complete_group(void) {
    for (uint32_t round = 0; round < ROUNDS_MAX; round++) {
        struct boot_choice choice;
        uint32_t app, radio;
        host_power_on();
        if (!result_ok(boot(&choice)) || !no_mixture(&choice)) return false;
        if (choice.image.version.major == 1) {
            if (choice.state != STATE_CONFIRMED || !result_ok(ask_for(0)) || !result_ok(ask_for(1))) return false;
        } else if (choice.state == STATE_TESTING) {
            if (!result_ok(group_confirm())) return false;
        } else {
            return result_ok(counter_read(0, &app)) && result_ok(counter_read(1, &radio)) && app == 2 && radio == 6;
        }
    }
    return false;
}

bool is_old(const struct boot_choice *choice) { return choice->image.version.major == 1; }
bool is_new_for_good(const struct boot_choice *choice) {
    return choice->image.version.major == 2 && choice->state == STATE_CONFIRMED;
}

uint32_t last_refusal(void) {
    struct record_cursor cursor;
    struct note note;
    uint32_t code = 0;
    for (result_t result = notes_start(&cursor); result_ok(result);) {
        result = notes_next(&cursor, &note);
        if (result_ok(result) && note.kind == NOTE_REFUSED) code = note.code;
    }
    return code;
}

#endif
