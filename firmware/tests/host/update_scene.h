// SPDX-License-Identifier: Apache-2.0
// A unit in the field, and its update from an OLD image to a NEW one.
#ifndef ASSAY_UPDATE_SCENE_H
#define ASSAY_UPDATE_SCENE_H

#include "boot.h"
#include "host_port.h"

#define OLD_VERSION 1
#define NEW_VERSION 2

extern uint8_t old_image[AREA_PRIMARY_SIZE], new_image[AREA_PRIMARY_SIZE];
extern uint32_t old_size, new_size;

// The unit runs OLD confirmed and has NEW in its secondary slot, asked for test.
void ready_for_test(void);

result_t boot(struct boot_choice *choice);
void do_boot(void);

// What was chosen is OLD or NEW, whole in RAM, and verifies again.
bool is_good(const struct boot_choice *choice);

// What the host does with a unit that answers: ask for NEW, test it, confirm it. False if that does not come to its end.
bool complete_update(void);

// Both images are whole, each in one slot: nothing got lost on the way.
bool both_whole(void);

#endif
