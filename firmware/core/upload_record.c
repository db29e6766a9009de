// SPDX-License-Identifier: Apache-2.0
// Records of uploads; see upload_record.h. A mark is one write unit, and only begun when its piece is in its place and
// read back: one that was cut counts as set, as in the swap journal. What is read here is a hint: it saves bytes on the
// line, and the whole image is judged at the end as any other.
#include "upload_record.h"

#include "bytes.h"
#include "crc.h"
#include "slots.h"
#include "trailer.h"

#define MAGIC 0x4C505541u  // "AUPL"
#define CRC_BYTES (sizeof(struct upload_record) - 4u)

// Of small sectors as a whole; a large one holds a whole image on some chips, so there each page has a mark.
#define SMALL_SECTOR 4096u  // bytes
#define PIECE (FLASH_ERASE_SIZE > SMALL_SECTOR ? FLASH_PROGRAM_SIZE : FLASH_ERASE_SIZE)
#define FIRST_FROM (PIECE > FLASH_PROGRAM_SIZE ? 0u : FLASH_PROGRAM_SIZE)  // the first page is in the record

#define CLOSED_AT FLASH_UNITS(sizeof(struct upload_record))
#define MARKS_AT (CLOSED_AT + FLASH_WRITE_SIZE)
#define USED (MARKS_AT + TRAILER_ROOM)
#define MARKS_MAX ((FLASH_ERASE_SIZE - (USED < FLASH_ERASE_SIZE ? USED : FLASH_ERASE_SIZE)) / FLASH_WRITE_SIZE)
#define FITS (MARKS_MAX != 0)  // else every upload begins anew

// One at a time, and never on the stack: see image.c.
static struct upload_record record;

static uint32_t at(enum area slot, uint32_t offset) { return slot_trailer_at(slot) + offset; }

static result_t set_unit(enum area slot, uint32_t offset) {
    uint8_t set[FLASH_WRITE_SIZE];
    memset(set, (uint8_t)~FLASH_ERASED, sizeof set);
    return flash_program(slot, at(slot, offset), set, sizeof set);
}

static result_t put(enum area slot) {
    record.magic = MAGIC;
    record.crc = crc32(&record, CRC_BYTES);
    return flash_program(slot, at(slot, 0), &record, sizeof record);
}

// RESULT_OK if there is one that is not closed, RESULT_EMPTY if not.
static result_t get(enum area slot) {
    result_t result = flash_read(slot, at(slot, 0), &record, sizeof record);
    if (!result_ok(result)) return result;
    if (record.magic != MAGIC || record.crc != crc32(&record, CRC_BYTES)) return RESULT_EMPTY;
    return flash_blank(slot, at(slot, CLOSED_AT), FLASH_WRITE_SIZE);
}

result_t upload_record_write(enum area slot, uint32_t length, const uint8_t sha[SHA256_SIZE],
                             const uint8_t first[FLASH_PROGRAM_SIZE]) {
    if (!FITS) return RESULT_OK;
    record.length = length;
    record.from = FIRST_FROM;
    memcpy(record.sha, sha, SHA256_SIZE);
    memcpy(record.first, first, FLASH_PROGRAM_SIZE);
    return put(slot);
}

result_t upload_record_mark(enum area slot, uint32_t reached) {
    uint32_t from;
    if (!FITS || reached % PIECE != 0) return RESULT_OK;
    result_t result = flash_read(slot, at(slot, offsetof(struct upload_record, from)), &from, sizeof from);
    if (!result_ok(result) || reached <= from) return result;
    uint32_t index = (reached - from) / PIECE - 1u;
    return index < MARKS_MAX ? set_unit(slot, MARKS_AT + index * FLASH_WRITE_SIZE) : RESULT_OK;
}

// The end of the last piece that is in its place. Marks behind the image's end would be of no upload.
static result_t count_marks(enum area slot, uint32_t *reached) {
    *reached = record.from;
    for (uint32_t i = 0; i < MARKS_MAX && *reached < record.length; i++) {
        result_t result = flash_blank(slot, at(slot, MARKS_AT + i * FLASH_WRITE_SIZE), FLASH_WRITE_SIZE);
        if (result_ok(result)) return RESULT_OK;
        if (result != RESULT_EMPTY) return result;
        *reached += PIECE;
    }
    return RESULT_OK;
}

// Back to the start of the sector. Its marks cannot be taken back, so the record is made anew, before the sector is
// erased: until then they say what is true.
static result_t go_back(enum area slot, uint32_t *reached) {
    *reached -= *reached % FLASH_ERASE_SIZE;
    if (*reached == 0) return RESULT_EMPTY;  // then rather from the beginning
    record.from = *reached;
    result_t result = flash_erase(slot, slot_trailer_at(slot), FLASH_ERASE_SIZE);
    if (result_ok(result)) result = put(slot);
    return result_ok(result) ? flash_erase(slot, *reached, FLASH_ERASE_SIZE) : result;
}

// Something behind the last mark was cut in the middle, and may read as it likes: never to be programmed over.
static result_t erase_rest(enum area slot, uint32_t *reached) {
    uint32_t in_sector = *reached % FLASH_ERASE_SIZE;
    if (in_sector == 0) return flash_erase(slot, *reached, FLASH_ERASE_SIZE);
    result_t result = flash_blank(slot, *reached, FLASH_ERASE_SIZE - in_sector);
    return result == RESULT_EMPTY ? go_back(slot, reached) : result;
}

static bool is_of(uint32_t length, const uint8_t sha[SHA256_SIZE]) {
    return record.length == length && bytes_equal(record.sha, sha, SHA256_SIZE) && record.from < length;
}

result_t upload_record_resume(enum area slot, uint32_t length, const uint8_t sha[SHA256_SIZE], uint32_t *reached,
                              uint8_t first[FLASH_PROGRAM_SIZE]) {
    if (!FITS) return RESULT_EMPTY;
    result_t result = get(slot);
    if (!result_ok(result)) return result;
    if (!is_of(length, sha)) return RESULT_EMPTY;
    // An image has come to be there, or something is asked for: that is no upload under way.
    result = flash_blank(slot, 0, FLASH_PROGRAM_SIZE);
    if (result_ok(result)) result = flash_blank(slot, flash_area_size(slot) - TRAILER_ROOM, TRAILER_ROOM);
    if (result_ok(result)) result = count_marks(slot, reached);
    if (!result_ok(result)) return result;
    if (*reached < FLASH_PROGRAM_SIZE || *reached >= length) return RESULT_EMPTY;
    memcpy(first, record.first, FLASH_PROGRAM_SIZE);
    return erase_rest(slot, reached);
}

result_t upload_record_close(enum area slot) {
    if (!FITS) return RESULT_OK;
    result_t result = get(slot);
    if (result == RESULT_EMPTY) return RESULT_OK;
    return result_ok(result) ? set_unit(slot, CLOSED_AT) : result;
}
