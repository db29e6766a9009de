// SPDX-License-Identifier: Apache-2.0
// Reads and writes MCUboot trailers. What follows from them is the matter of boot_table.c.
#include "trailer.h"

#include "bytes.h"
#include "slots.h"

// Each flag has a unit of its own, and the magic has as many as it needs and ends with the last one.
#define UNIT_SIZE TRAILER_UNIT
#define MAGIC_SIZE TRAILER_MAGIC_SIZE
#define MAGIC_ROOM TRAILER_MAGIC_ROOM
enum {
    MAGIC_BEFORE_END = MAGIC_ROOM,
    IMAGE_OK_BEFORE_END = MAGIC_ROOM + UNIT_SIZE,
    COPY_DONE_BEFORE_END = MAGIC_ROOM + 2 * UNIT_SIZE,
    SWAP_INFO_BEFORE_END = MAGIC_ROOM + 3 * UNIT_SIZE,  // 1 says in MCUboot: no swap, which is what it means here
};
_Static_assert(TRAILER_ROOM <= FLASH_ERASE_SIZE, "the trailer fits a sector");
#define FLAG_SET 0x01u

#define MAGIC_OF_LARGE(unit) \
    {unit, 0x00, 0x2D, 0xE1, 0x5D, 0x29, 0x41, 0x0B, 0x8D, 0x77, 0x67, 0x9C, 0x11, 0x0F, 0x1F, 0x8A}

// That of units up to 8 bytes, and those of larger ones, which begin with the size of a unit: a bootloader made for
// other units does not take such a trailer for its own.
static const uint8_t magics[][MAGIC_SIZE] = {
    {0x77, 0xC2, 0x95, 0xF3, 0x60, 0xD2, 0xEF, 0x7F, 0x35, 0x52, 0x50, 0x0F, 0x2C, 0xB6, 0x79, 0x80},
    MAGIC_OF_LARGE(16),
    MAGIC_OF_LARGE(32),
};
#define MAGIC_COUNT (sizeof magics / sizeof magics[0])
static const uint8_t *const magic = magics[FLASH_WRITE_SIZE / 16u];

bool trailer_ends_with(const uint8_t bytes[TRAILER_MAGIC_SIZE]) {
    for (uint32_t i = 0; i < MAGIC_COUNT; i++) {
        if (memcmp(bytes, magics[i], MAGIC_SIZE) == 0) return true;
    }
    return false;
}

static uint32_t at(enum area slot, uint32_t before_end) { return flash_area_size(slot) - before_end; }

static result_t read_flag(enum area slot, uint32_t before_end, enum mark *mark) {
    uint8_t value;
    *mark = MARK_BAD;
    result_t result = flash_read(slot, at(slot, before_end), &value, sizeof value);
    if (!result_ok(result)) return result;
    if (value == FLAG_SET) *mark = MARK_SET;
    if (value == FLASH_ERASED) *mark = MARK_UNSET;
    return RESULT_OK;
}

result_t trailer_read(enum area slot, struct trailer *trailer) {
    uint8_t raw[MAGIC_SIZE];
    *trailer = (struct trailer){MARK_BAD, MARK_BAD, MARK_BAD, MARK_BAD};
    result_t result = flash_read(slot, at(slot, MAGIC_SIZE), raw, sizeof raw);
    if (!result_ok(result)) return result;
    if (memcmp(raw, magic, MAGIC_SIZE) == 0) trailer->magic = MARK_SET;
    if (bytes_are(raw, FLASH_ERASED, sizeof raw)) trailer->magic = MARK_UNSET;
    result = read_flag(slot, IMAGE_OK_BEFORE_END, &trailer->image_ok);
    if (!result_ok(result)) return result;
    result = read_flag(slot, COPY_DONE_BEFORE_END, &trailer->copy_done);
    if (!result_ok(result)) return result;
    return read_flag(slot, SWAP_INFO_BEFORE_END, &trailer->went_out);
}

static result_t set_flag(enum area slot, uint32_t before_end) {
    static const uint8_t set = FLAG_SET;
    return flash_program(slot, at(slot, before_end), &set, sizeof set);
}

static result_t set_magic(enum area slot) {
    uint8_t room[MAGIC_ROOM];
    memset(room, FLASH_ERASED, sizeof room);
    memcpy(room + MAGIC_ROOM - MAGIC_SIZE, magic, MAGIC_SIZE);
    return flash_program(slot, at(slot, MAGIC_BEFORE_END), room, sizeof room);
}

result_t trailer_erase(enum area slot) { return flash_erase(slot, slot_trailer_at(slot), FLASH_ERASE_SIZE); }

static result_t withdraw(enum area slot, const struct trailer *now) {
    result_t result = trailer_erase(slot);
    return result_ok(result) && now->went_out == MARK_SET ? set_flag(slot, SWAP_INFO_BEFORE_END) : result;
}

result_t trailer_withdraw(enum area slot) {
    struct trailer now;
    result_t result = trailer_read(slot, &now);
    return result_ok(result) ? withdraw(slot, &now) : result;
}

// Without an erase where none is needed: that an image went out is still said when the power goes.
static result_t make_room(enum area slot, bool permanent, struct trailer *now) {
    bool ok_fits = now->image_ok == MARK_UNSET || (permanent && now->image_ok == MARK_SET);
    if (now->magic != MARK_BAD && ok_fits && now->copy_done == MARK_UNSET) return RESULT_OK;
    now->magic = now->image_ok = MARK_UNSET;
    return withdraw(slot, now);
}

// The magic goes last: a request that was cut is no request.
result_t trailer_request(enum area slot, bool permanent) {
    struct trailer now;
    result_t result = trailer_read(slot, &now);
    if (result_ok(result)) result = make_room(slot, permanent, &now);
    if (result_ok(result) && permanent && now.image_ok == MARK_UNSET) result = set_flag(slot, IMAGE_OK_BEFORE_END);
    return result_ok(result) && now.magic == MARK_UNSET ? set_magic(slot) : result;
}

result_t trailer_swapped(enum area slot, bool confirmed) {
    result_t result = trailer_erase(slot);
    if (result_ok(result)) result = set_flag(slot, COPY_DONE_BEFORE_END);
    if (result_ok(result) && confirmed) result = set_flag(slot, IMAGE_OK_BEFORE_END);
    return result_ok(result) ? set_magic(slot) : result;
}

result_t trailer_went_out(enum area slot) {
    result_t result = trailer_erase(slot);
    return result_ok(result) ? set_flag(slot, SWAP_INFO_BEFORE_END) : result;
}

result_t trailer_confirm(enum area slot) {
    struct trailer now;
    result_t result = trailer_read(slot, &now);
    if (!result_ok(result)) return result;
    if (now.magic != MARK_SET || now.image_ok != MARK_UNSET) return RESULT_OK;  // never swapped, or confirmed before
    return set_flag(slot, IMAGE_OK_BEFORE_END);
}
