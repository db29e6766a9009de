// SPDX-License-Identifier: Apache-2.0
// All images of a board as one group: they are swapped, confirmed and reverted together or not at all. A power cut
// between two requests, or between two confirmations, never leaves a mixture of old and new.
#ifndef ASSAY_GROUP_H
#define ASSAY_GROUP_H

#include "boot_table.h"
#include "slots.h"

#define GROUP_BIT(number) (1u << (number))
#define GROUP_ALL (GROUP_BIT(IMAGE_COUNT) - 1u)

struct group_marks {
    struct trailer primary, secondary;
    bool waits;  // the secondary slot holds an image, asked for or not
    uint32_t hash_start;  // of that image: the first four bytes, little-endian
};

struct group_decision {
    enum boot_action action;
    uint32_t images;       // the ones that move, a bit each
    uint32_t unconfirmed;  // those whose confirmation was cut off: another one of the same swap has it
    uint32_t incomplete;   // those that were asked for while another one waits that was not: nothing moves
};

// A pure function of what is in flash.
struct group_decision group_decide(const struct group_marks marks[IMAGE_COUNT]);

// Under test as long as one of the images is.
enum boot_state group_state(const struct group_marks marks[IMAGE_COUNT]);

// Those that came in by the last swap.
uint32_t group_of_last_swap(const struct group_marks marks[IMAGE_COUNT]);

result_t group_read(struct group_marks marks[IMAGE_COUNT]);

// Marks all running images as good. The first mark decides; the bootloader sets the others if the power goes between.
result_t group_confirm(void);

#endif
