// SPDX-License-Identifier: Apache-2.0
// Append-only logs; see record_log.h. Cell 0 of a half holds its head, a record is written once and never changed, and
// a half is erased only when the other one is full: at least one half with the newest records is always there.
#include "record_log.h"

#include "bytes.h"
#include "crc.h"

#define CRC_BYTES (RECORD_SIZE - 4u)
_Static_assert(sizeof(struct record) == RECORD_SIZE, "a record is written as it lies in memory");
_Static_assert(FLASH_PROGRAM_SIZE % RECORD_SIZE == 0, "a record lies within one page: one operation writes it");
_Static_assert(RECORD_SIZE >= TURN_HEAD_SIZE, "the head fits cell 0");
_Static_assert(RECORD_SIZE % FLASH_WRITE_SIZE == 0, "a record is made of whole write units");

static uint32_t cells(const struct turn *log) { return turn_size(log) / RECORD_SIZE; }

result_t record_start(const struct turn *log, struct record_cursor *cursor) {
    struct turn_head head;
    uint32_t newest;
    *cursor = (struct record_cursor){.log = log, .cell = 1};
    result_t result = turn_newest(log, &newest, &head);
    if (!result_ok(result)) return result == RESULT_EMPTY ? RESULT_OK : result;
    result = turn_read(log, 1 - newest, &head);
    if (result_ok(result)) cursor->halves[cursor->count++] = 1 - newest;
    cursor->halves[cursor->count++] = newest;
    return RESULT_OK;
}

// RESULT_OK: a whole record; RESULT_EMPTY: nothing written here; anything else: a cut record, or a flash error.
static result_t read_cell(const struct turn *log, uint32_t half, uint32_t cell, struct record *record) {
    result_t result = flash_read(log->area, turn_offset(log, half) + cell * RECORD_SIZE, record, sizeof *record);
    if (!result_ok(result)) return result;
    if (bytes_are(record, FLASH_ERASED, sizeof *record)) return RESULT_EMPTY;
    return record->crc == crc32(record, CRC_BYTES) ? RESULT_OK : RESULT_FAIL;
}

result_t record_next(struct record_cursor *cursor, struct record *record) {
    while (cursor->at < cursor->count) {
        result_t result = RESULT_EMPTY;
        uint32_t half = cursor->halves[cursor->at];
        if (cursor->cell < cells(cursor->log)) result = read_cell(cursor->log, half, cursor->cell, record);
        if (result == RESULT_OF(ERROR_FLASH)) return result;
        cursor->cell++;
        if (result_ok(result)) return RESULT_OK;
        if (result == RESULT_EMPTY) {
            cursor->at++;
            cursor->cell = 1;
        }
    }
    return RESULT_EMPTY;
}

result_t record_last(const struct turn *log, struct record *record) {
    struct record_cursor cursor;
    struct record now;
    result_t found = RESULT_EMPTY;
    result_t result = record_start(log, &cursor);
    if (!result_ok(result)) return result;
    while (result_ok(result = record_next(&cursor, &now))) {
        *record = now;
        found = RESULT_OK;
    }
    return result == RESULT_EMPTY ? found : result;
}

// The first cell of the newest half that nothing was written to; a new half if that one is full or missing.
static result_t find_room(const struct turn *log, uint32_t *half, uint32_t *cell) {
    static const uint32_t no_words[TURN_WORDS] = {0};
    struct turn_head head;
    struct record record;
    result_t result = turn_newest(log, half, &head);
    for (*cell = 1; result_ok(result) && *cell < cells(log); (*cell)++) {
        result_t content = read_cell(log, *half, *cell, &record);
        if (content == RESULT_EMPTY) return RESULT_OK;
        if (content == RESULT_OF(ERROR_FLASH)) return content;
    }
    if (!result_ok(result) && result != RESULT_EMPTY) return result;
    uint32_t generation;
    *cell = 1;
    result = turn_prepare(log, half, &generation);
    return result_ok(result) ? turn_seal(log, *half, generation, no_words) : result;
}

result_t record_append(const struct turn *log, const void *payload, uint32_t length) {
    static struct record record;  // off the stack, as in note_write
    struct record last;
    uint32_t half, cell;
    if (length > sizeof record.payload) return RESULT_OF(ERROR_TOO_LARGE);
    result_t result = record_last(log, &last);
    if (!result_ok(result) && result != RESULT_EMPTY) return result;
    record = (struct record){.sequence = result_ok(result) ? last.sequence + 1 : 0};
    memcpy(record.payload, payload, length);
    record.crc = crc32(&record, CRC_BYTES);
    result = find_room(log, &half, &cell);
    if (!result_ok(result)) return result;
    return flash_program(log->area, turn_offset(log, half) + cell * RECORD_SIZE, &record, sizeof record);
}
