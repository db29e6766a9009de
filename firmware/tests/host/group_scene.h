// SPDX-License-Identifier: Apache-2.0
// A board of two images that are updated together: old ones run, new ones wait in the secondary slots.
#ifndef ASSAY_GROUP_SCENE_H
#define ASSAY_GROUP_SCENE_H

#include "boot.h"
#include "host_port.h"

#if IMAGE_COUNT > 1

enum age { OLD, NEW, AGES };

#define GROUP_ROOM (AREA_PRIMARY_SIZE > AREA_RADIO_PRIMARY_SIZE ? AREA_PRIMARY_SIZE : AREA_RADIO_PRIMARY_SIZE)
extern uint8_t group_bytes[IMAGE_COUNT][AGES][GROUP_ROOM];
extern uint32_t group_sizes[IMAGE_COUNT][AGES];

// Of the new images; who changes them makes the images again.
extern uint32_t new_counters[IMAGE_COUNT];

// App 1.0.0 needs nothing, app 2.0.0 the radio in version 1.2.0; the radio is 1.1.0 or 1.2.0.
void make_group(void);

// Old images run, new ones wait, nothing is asked for.
void group_ready(void);

uint8_t *slot_bytes(enum area slot);
void put_image(uint32_t image, enum area slot, enum age age);
bool holds(uint32_t image, enum area slot, enum age age);
bool all_are(enum age running);

// Asks for a test of what waits.
result_t ask_for(uint32_t image);
void do_requests(void);

// After a boot: the app is started, and what runs is all old or all new.
bool no_mixture(const struct boot_choice *choice);

// What the host does: ask for both, test, confirm. False if that does not come to its end.
bool complete_group(void);

bool is_old(const struct boot_choice *choice);
bool is_new_for_good(const struct boot_choice *choice);

// The error of the last note of a refusal; 0 if there is none.
uint32_t last_refusal(void);

#endif
#endif
