// SPDX-License-Identifier: Apache-2.0
// The board's slots; see slots.h.
#include "slots.h"

#define SMALLER(a, b) ((a) < (b) ? (a) : (b))
#define SLOTS(first, second) \
    {AREA_##first, AREA_##second, SMALLER(AREA_##first##_SIZE, AREA_##second##_SIZE) - FLASH_ERASE_SIZE}

const struct slots slots[IMAGE_COUNT] = {
    SLOTS(PRIMARY, SECONDARY),
#if IMAGE_COUNT > 1
    SLOTS(RADIO_PRIMARY, RADIO_SECONDARY),
#endif
};
_Static_assert(AREA_PRIMARY_SIZE >= 2 * FLASH_ERASE_SIZE && AREA_SECONDARY_SIZE >= 2 * FLASH_ERASE_SIZE,
               "a slot holds an image and a trailer");
#if IMAGE_COUNT > 1
_Static_assert(AREA_RADIO_PRIMARY_SIZE >= 2 * FLASH_ERASE_SIZE && AREA_RADIO_SECONDARY_SIZE >= 2 * FLASH_ERASE_SIZE,
               "a slot holds an image and a trailer");
#endif

uint32_t slot_trailer_at(enum area slot) { return flash_area_size(slot) - FLASH_ERASE_SIZE; }

uint32_t slot_image(enum area slot) {
    for (uint32_t i = 1; i < IMAGE_COUNT; i++) {
        if (slot == slots[i].primary || slot == slots[i].secondary) return i;
    }
    return 0;
}
