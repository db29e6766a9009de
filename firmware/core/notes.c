// SPDX-License-Identifier: Apache-2.0
// Notes in their append-only log; see notes.h.
#include "notes.h"

#include "bytes.h"

static const struct turn store = {AREA_NOTES, 0x45544E41u};  // "ANTE"

struct stored_note {
    uint16_t kind, code;
    uint8_t hash[NOTE_HASH_SIZE];
    char reason[NOTE_REASON_MAX];
};
_Static_assert(sizeof(struct stored_note) <= RECORD_PAYLOAD, "a note fits a record");

result_t note_write(enum note_kind kind, uint32_t code, const uint8_t *hash, const char *reason) {
    struct stored_note note = {.kind = (uint16_t)kind, .code = (uint16_t)code};
    struct record last;
    if (hash) memcpy(note.hash, hash, sizeof note.hash);
    memcpy(note.reason, reason, text_length(reason, sizeof note.reason));
    result_t result = record_last(&store, &last);
    if (result_ok(result) && memcmp(last.payload, &note, sizeof note) == 0) return RESULT_OK;
    return record_append(&store, &note, sizeof note);
}

result_t notes_start(struct record_cursor *cursor) { return record_start(&store, cursor); }

result_t notes_next(struct record_cursor *cursor, struct note *note) {
    struct record record;
    struct stored_note stored;
    result_t result = record_next(cursor, &record);
    if (!result_ok(result)) return result;
    memcpy(&stored, record.payload, sizeof stored);
    *note = (struct note){.sequence = record.sequence, .kind = stored.kind, .code = stored.code};
    memcpy(note->hash, stored.hash, sizeof note->hash);
    memcpy(note->reason, stored.reason, sizeof stored.reason);
    return RESULT_OK;
}
