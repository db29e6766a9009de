// SPDX-License-Identifier: Apache-2.0
// Guards the flash chip: bounds, alignment, erased-only programming, read-back. What bytes mean is the callers' matter.
#include "flash.h"

#include "bytes.h"
#include "port.h"

#define AREA(name) {AREA_##name##_OFFSET, AREA_##name##_SIZE}
static const struct {
    uint32_t offset, size;
} areas[AREA_COUNT] = {
    [AREA_BOOT] = AREA(BOOT),         [AREA_PRIMARY] = AREA(PRIMARY), [AREA_SECONDARY] = AREA(SECONDARY),
    [AREA_SCRATCH] = AREA(SCRATCH),   [AREA_STATUS] = AREA(STATUS),   [AREA_COUNTERS] = AREA(COUNTERS),
    [AREA_NOTES] = AREA(NOTES),       [AREA_IDENTITY] = AREA(IDENTITY), [AREA_OTP] = AREA(OTP),
    [AREA_PATCH] = AREA(PATCH),       [AREA_RADIO_PRIMARY] = AREA(RADIO_PRIMARY),
    [AREA_RADIO_SECONDARY] = AREA(RADIO_SECONDARY),
};

#define ALIGNED(name) \
    _Static_assert(AREA_##name##_OFFSET % FLASH_ERASE_SIZE == 0 && AREA_##name##_SIZE % FLASH_ERASE_SIZE == 0, \
                   "area " #name " is not made of whole sectors"); \
    _Static_assert(AREA_##name##_OFFSET + AREA_##name##_SIZE <= FLASH_SIZE, "area " #name " ends beyond the flash")
ALIGNED(BOOT);
ALIGNED(PRIMARY);
ALIGNED(SECONDARY);
ALIGNED(SCRATCH);
ALIGNED(STATUS);
ALIGNED(COUNTERS);
ALIGNED(NOTES);
ALIGNED(IDENTITY);
ALIGNED(OTP);
ALIGNED(PATCH);
ALIGNED(RADIO_PRIMARY);
ALIGNED(RADIO_SECONDARY);
_Static_assert(AREA_SCRATCH_SIZE == FLASH_ERASE_SIZE, "the scratch area holds one sector");

static result_t check(enum area area, uint32_t offset, uint32_t length) {
    if ((uint32_t)area >= AREA_COUNT) return RESULT_OF(ERROR_FLASH);
    if (offset > areas[area].size || length > areas[area].size - offset) return RESULT_OF(ERROR_FLASH);
    return RESULT_OK;
}

uint32_t flash_area_size(enum area area) { return (uint32_t)area < AREA_COUNT ? areas[area].size : 0; }

result_t flash_read(enum area area, uint32_t offset, void *data, uint32_t length) {
    if (!result_ok(check(area, offset, length))) return RESULT_OF(ERROR_FLASH);
    return port_flash_read(areas[area].offset + offset, data, length);
}

result_t flash_blank(enum area area, uint32_t offset, uint32_t length) {
    static uint8_t chunk[FLASH_CHUNK];
    for (uint32_t done = 0; done < length;) {
        uint32_t part = smaller(length - done, FLASH_CHUNK);
        result_t result = flash_read(area, offset + done, chunk, part);
        if (!result_ok(result)) return result;
        if (!bytes_are(chunk, FLASH_ERASED, part)) return RESULT_EMPTY;
        done += part;
    }
    return RESULT_OK;
}

static result_t program_page(enum area area, uint32_t offset, const uint8_t *data, uint32_t length) {
    static uint8_t page[FLASH_PROGRAM_SIZE], back[FLASH_PROGRAM_SIZE];
    uint32_t address = areas[area].offset + offset;
    uint32_t whole = FLASH_UNITS(length);
    memcpy(page, data, length);
    memset(page + length, FLASH_ERASED, whole - length);
    if (!result_ok(flash_blank(area, offset, whole))) return RESULT_OF(ERROR_FLASH);
    // Left alone: who looks at the sector later takes it for erased, and may program it.
    if (bytes_are(page, FLASH_ERASED, whole)) return RESULT_OK;
    if (!result_ok(port_flash_program(address, page, whole))) return RESULT_OF(ERROR_FLASH);
    if (!result_ok(port_flash_read(address, back, whole))) return RESULT_OF(ERROR_FLASH);
    return memcmp(back, page, whole) == 0 ? RESULT_OK : RESULT_OF(ERROR_FLASH);
}

result_t flash_program(enum area area, uint32_t offset, const void *data, uint32_t length) {
    if (area == AREA_OTP || !result_ok(check(area, offset, length))) return RESULT_OF(ERROR_FLASH);
    if (offset % FLASH_WRITE_SIZE != 0) return RESULT_OF(ERROR_FLASH);
    const uint8_t *from = data;
    for (uint32_t done = 0; done < length;) {
        uint32_t room = FLASH_PROGRAM_SIZE - (offset + done) % FLASH_PROGRAM_SIZE;
        uint32_t part = smaller(length - done, room);
        result_t result = program_page(area, offset + done, from + done, part);
        if (!result_ok(result)) return result;
        done += part;
    }
    return RESULT_OK;
}

static result_t erase(enum area area, uint32_t offset, uint32_t length, bool also_blank) {
    if (area == AREA_OTP || !result_ok(check(area, offset, length))) return RESULT_OF(ERROR_FLASH);
    if (offset % FLASH_ERASE_SIZE != 0 || length % FLASH_ERASE_SIZE != 0) return RESULT_OF(ERROR_FLASH);
    for (uint32_t at = offset; at < offset + length; at += FLASH_ERASE_SIZE) {
        if (!also_blank && result_ok(flash_blank(area, at, FLASH_ERASE_SIZE))) continue;
        if (!result_ok(port_flash_erase(areas[area].offset + at))) return RESULT_OF(ERROR_FLASH);
        if (!result_ok(flash_blank(area, at, FLASH_ERASE_SIZE))) return RESULT_OF(ERROR_FLASH);
    }
    return RESULT_OK;
}

result_t flash_erase(enum area area, uint32_t offset, uint32_t length) { return erase(area, offset, length, true); }

result_t flash_clear(enum area area, uint32_t offset, uint32_t length) { return erase(area, offset, length, false); }
