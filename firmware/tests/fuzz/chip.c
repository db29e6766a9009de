// SPDX-License-Identifier: Apache-2.0
// Fills the chip from an input; see chip.h.
#include "chip.h"

#include <string.h>

#include "bytes.h"
#include "crc.h"
#include "host_port.h"
#include "turn.h"

#define HEAD 0x80u  // in the first byte of a write: a valid head, and not bytes

// A random magic never comes by: so heads are made valid here, with any words in them.
static const struct {
    enum area area;
    uint32_t magic;
} stores[] = {
    {AREA_STATUS, 0x50575341u}, {AREA_COUNTERS, 0x52544341u}, {AREA_NOTES, 0x45544E41u}, {AREA_IDENTITY, 0x4E444941u}};
#define STORES (sizeof stores / sizeof stores[0])

static const uint32_t starts[AREA_COUNT] = {
    [AREA_BOOT] = AREA_BOOT_OFFSET,         [AREA_PRIMARY] = AREA_PRIMARY_OFFSET,
    [AREA_SECONDARY] = AREA_SECONDARY_OFFSET, [AREA_SCRATCH] = AREA_SCRATCH_OFFSET,
    [AREA_STATUS] = AREA_STATUS_OFFSET,     [AREA_COUNTERS] = AREA_COUNTERS_OFFSET,
    [AREA_NOTES] = AREA_NOTES_OFFSET,       [AREA_IDENTITY] = AREA_IDENTITY_OFFSET,
    [AREA_OTP] = AREA_OTP_OFFSET};

static uint32_t put_head(struct feed *feed, uint32_t which) {
    uint32_t store = which % STORES;
    struct turn turn = {stores[store].area, stores[store].magic};
    struct turn_head head = {.magic = turn.magic};
    uint32_t half = feed_number(feed, 1) & 1u;
    head.generation = feed_number(feed, 1) * (half + 1u) + 1u;
    head.words[0] = feed_number(feed, 4);
    head.words[1] = feed_number(feed, 4);
    head.crc = crc32(&head, sizeof head - 4);
    memcpy(host_flash + starts[turn.area] + turn_offset(&turn, half), &head, sizeof head);
    return TOUCHED(turn.area);
}

// Offsets count from the end with the top bit set: trailers lie there.
static uint32_t put_bytes(struct feed *feed, uint32_t which) {
    static const enum area areas[] = {AREA_PRIMARY, AREA_SECONDARY, AREA_SCRATCH, AREA_STATUS,
                                      AREA_COUNTERS, AREA_NOTES,    AREA_IDENTITY, AREA_OTP};
    enum area area = areas[which % (sizeof areas / sizeof areas[0])];
    uint32_t size = flash_area_size(area);
    uint32_t offset = feed_number(feed, 2);
    offset = (offset & 0x8000u) ? size - 1 - (offset & 0x7FFFu) % size : offset % size;
    uint32_t length = feed_number(feed, 1);
    length = smaller(length, size - offset);
    for (uint32_t i = 0; i < length; i++) host_flash[starts[area] + offset + i] = (uint8_t)feed_number(feed, 1);
    bool trailer = (area == AREA_PRIMARY || area == AREA_SECONDARY) && offset >= size - FLASH_ERASE_SIZE;
    return trailer ? 0 : TOUCHED(area);
}

uint32_t chip_fill(struct feed *feed) {
    uint32_t touched = 0;
    while (feed_left(feed) != 0) {
        uint32_t which = feed_number(feed, 1);
        touched |= (which & HEAD) ? put_head(feed, which & 0x7Fu) : put_bytes(feed, which);
    }
    return touched;
}

uint32_t chip_put(uint8_t *at, enum area area, uint32_t offset, const void *bytes, uint32_t length) {
    static const uint8_t numbers[AREA_COUNT] = {[AREA_PRIMARY] = 0, [AREA_SECONDARY] = 1, [AREA_SCRATCH] = 2,
                                                [AREA_STATUS] = 3,  [AREA_COUNTERS] = 4,  [AREA_NOTES] = 5,
                                                [AREA_IDENTITY] = 6, [AREA_OTP] = 7};
    uint32_t size = flash_area_size(area);
    at[0] = numbers[area];
    uint32_t place = offset >= size - FLASH_ERASE_SIZE ? 0x8000u | (size - 1 - offset) : offset;
    at[1] = (uint8_t)place;
    at[2] = (uint8_t)(place >> 8);
    at[3] = (uint8_t)length;
    memcpy(at + 4, bytes, length);
    return 4 + length;
}

uint32_t chip_put_head(uint8_t *at, enum area area, uint32_t half, uint32_t generation, uint32_t first,
                       uint32_t second) {
    uint32_t store = 0;
    while (store < STORES - 1 && stores[store].area != area) store++;
    at[0] = (uint8_t)(HEAD | store);
    at[1] = (uint8_t)half;
    at[2] = (uint8_t)((generation - 1u) / (half + 1u));
    put_le32(at + 3, first);
    put_le32(at + 7, second);
    return 11;
}
