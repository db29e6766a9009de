// SPDX-License-Identifier: Apache-2.0
// The boot table for all images together; see group.h. With one image this is the table itself.
#include "group.h"

#include "bytes.h"
#include "image.h"

static bool asked(enum boot_action action) { return action == BOOT_SWAP_TEST || action == BOOT_SWAP_FOR_GOOD; }

static bool came_in(const struct trailer *primary) {
    return primary->magic == MARK_SET && primary->copy_done == MARK_SET;
}

uint32_t group_of_last_swap(const struct group_marks marks[IMAGE_COUNT]) {
    uint32_t images = 0;
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        if (came_in(&marks[i].primary)) images |= GROUP_BIT(i);
    }
    return images;
}

// Images that must be asked for if those of `wanted` are: all that are new, and of the old ones that went out by the
// last swap all or none. What went out by an earlier one belongs to nothing that is still here. A trailer whose erase
// was cut says nothing: its image is a new one, which cannot be left behind.
static uint32_t belongs_to(uint32_t wanted, const struct group_marks marks[IMAGE_COUNT]) {
    uint32_t fresh = 0, old = 0;
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        if (!marks[i].waits) continue;
        if (marks[i].secondary.went_out != MARK_SET) fresh |= GROUP_BIT(i);
        else if (came_in(&marks[i].primary)) old |= GROUP_BIT(i);
    }
    return fresh | ((wanted & old) != 0 ? old : 0);
}

// Of the last swap: goes back if none of its images is confirmed, and is confirmed as a whole if one is.
static void decide_test(const struct group_marks marks[IMAGE_COUNT], struct group_decision *decision) {
    static const struct trailer nothing_asked = {MARK_UNSET, MARK_UNSET, MARK_UNSET, MARK_UNSET};
    uint32_t tested = group_of_last_swap(marks), open = 0;
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        if (boot_decide(&marks[i].primary, &nothing_asked) == BOOT_REVERT) open |= GROUP_BIT(i);
    }
    if (open != tested) {
        decision->unconfirmed = open;
    } else if (open != 0) {
        decision->action = BOOT_REVERT;
        decision->images = open;
    }
}

struct group_decision group_decide(const struct group_marks marks[IMAGE_COUNT]) {
    struct group_decision decision = {.action = BOOT_KEEP};
    uint32_t wanted = 0;
    enum boot_action action = BOOT_SWAP_FOR_GOOD;
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        enum boot_action alone = boot_decide(&marks[i].primary, &marks[i].secondary);
        if (!asked(alone)) continue;
        wanted |= GROUP_BIT(i);
        if (alone == BOOT_SWAP_TEST) action = BOOT_SWAP_TEST;  // one that is to be tested: all of them are
    }
    if (wanted != 0 && (belongs_to(wanted, marks) & ~wanted) == 0) {
        decision.action = action;
        decision.images = wanted;
        return decision;
    }
    decision.incomplete = wanted;
    decide_test(marks, &decision);
    return decision;
}

enum boot_state group_state(const struct group_marks marks[IMAGE_COUNT]) {
    struct group_decision decision = group_decide(marks);
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        bool confirmed = (decision.unconfirmed & GROUP_BIT(i)) != 0;
        if (!confirmed && boot_state_of(&marks[i].primary) == STATE_TESTING) return STATE_TESTING;
    }
    return STATE_CONFIRMED;
}

result_t group_read(struct group_marks marks[IMAGE_COUNT]) {
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        static struct image image;
        struct image_source source = image_in_flash(slots[i].secondary, slots[i].limit);
        result_t result = trailer_read(slots[i].primary, &marks[i].primary);
        if (result_ok(result)) result = trailer_read(slots[i].secondary, &marks[i].secondary);
        if (!result_ok(result)) return result;
        marks[i].waits = result_ok(image_parse(&source, &image));
        marks[i].hash_start = le32(image.hash);
    }
    return RESULT_OK;
}

result_t group_confirm(void) {
    result_t result = RESULT_OK;
    for (uint32_t i = 0; i < IMAGE_COUNT && result_ok(result); i++) result = trailer_confirm(slots[i].primary);
    return result;
}
