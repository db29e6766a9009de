// SPDX-License-Identifier: Apache-2.0
// Reads and writes MCUboot trailers. What follows from them is the matter of boot_table.c.
#include "trailer.h"

#include "bytes.h"

#define MAGIC_SIZE 16u
#define FIELD_SIZE 8u  // BOOT_MAX_ALIGN: each flag has a unit of its own
#define MAGIC_AT (AREA_PRIMARY_SIZE - MAGIC_SIZE)
#define IMAGE_OK_AT (MAGIC_AT - FIELD_SIZE)
#define COPY_DONE_AT (IMAGE_OK_AT - FIELD_SIZE)
#define FLAG_SET 0x01u
#define SECTOR_AT SLOT_IMAGE_MAX

static const uint8_t magic[MAGIC_SIZE] = {0x77, 0xC2, 0x95, 0xF3, 0x60, 0xD2, 0xEF, 0x7F,
                                          0x35, 0x52, 0x50, 0x0F, 0x2C, 0xB6, 0x79, 0x80};

static result_t read_flag(enum area slot, uint32_t at, enum mark *mark) {
    uint8_t value;
    *mark = MARK_BAD;
    result_t result = flash_read(slot, at, &value, sizeof value);
    if (!result_ok(result)) return result;
    if (value == FLAG_SET) *mark = MARK_SET;
    if (value == FLASH_ERASED) *mark = MARK_UNSET;
    return RESULT_OK;
}

result_t trailer_read(enum area slot, struct trailer *trailer) {
    uint8_t raw[MAGIC_SIZE];
    *trailer = (struct trailer){MARK_BAD, MARK_BAD, MARK_BAD};
    result_t result = flash_read(slot, MAGIC_AT, raw, sizeof raw);
    if (!result_ok(result)) return result;
    if (memcmp(raw, magic, sizeof magic) == 0) trailer->magic = MARK_SET;
    if (bytes_are(raw, FLASH_ERASED, sizeof raw)) trailer->magic = MARK_UNSET;
    result = read_flag(slot, IMAGE_OK_AT, &trailer->image_ok);
    if (!result_ok(result)) return result;
    return read_flag(slot, COPY_DONE_AT, &trailer->copy_done);
}

static result_t set_flag(enum area slot, uint32_t at) {
    static const uint8_t set = FLAG_SET;
    return flash_program(slot, at, &set, sizeof set);
}

result_t trailer_erase(enum area slot) { return flash_erase(slot, SECTOR_AT, FLASH_ERASE_SIZE); }

// The magic goes last: a request that was cut is no request.
static result_t write_trailer(enum area slot, bool copy_done, bool image_ok) {
    result_t result = RESULT_OK;
    if (!result_ok(flash_blank(slot, SECTOR_AT, FLASH_ERASE_SIZE))) result = trailer_erase(slot);
    if (result_ok(result) && copy_done) result = set_flag(slot, COPY_DONE_AT);
    if (result_ok(result) && image_ok) result = set_flag(slot, IMAGE_OK_AT);
    return result_ok(result) ? flash_program(slot, MAGIC_AT, magic, sizeof magic) : result;
}

result_t trailer_request(enum area slot, bool permanent) { return write_trailer(slot, false, permanent); }

result_t trailer_swapped(enum area slot, bool confirmed) {
    result_t result = trailer_erase(slot);
    return result_ok(result) ? write_trailer(slot, true, confirmed) : result;
}

result_t trailer_confirm(enum area slot) {
    struct trailer now;
    result_t result = trailer_read(slot, &now);
    if (!result_ok(result)) return result;
    if (now.magic != MARK_SET || now.image_ok != MARK_UNSET) return RESULT_OK;  // never swapped, or confirmed before
    return set_flag(slot, IMAGE_OK_AT);
}
