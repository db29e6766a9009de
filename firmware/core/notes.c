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

#define REPEATS_MAX 2u  // once as news, and once more for who asks again after another one was refused

// Those that come again at each boot as long as nothing changes. All others say that something did.
static bool comes_again(uint32_t kind) {
    return kind == NOTE_SELFTEST_FAILED || kind == NOTE_REFUSED || kind == NOTE_RECOVERY;
}

// Two or more of them in turn would wear the flash as one would: what counts is all since something changed.
static bool is_told(const struct stored_note *note) {
    struct record_cursor cursor;
    struct record record;
    struct stored_note stored;
    uint32_t times = 0;
    bool newest = false;
    result_t result = record_start(&store, &cursor);
    while (result_ok(result) && result_ok(record_next(&cursor, &record))) {
        memcpy(&stored, record.payload, sizeof stored);
        newest = memcmp(&stored, note, sizeof stored) == 0;
        times = comes_again(stored.kind) ? times + newest : 0;
    }
    return newest || times >= REPEATS_MAX;
}

result_t note_write(enum note_kind kind, uint32_t code, const uint8_t *hash, const char *reason) {
    static struct stored_note note;  // off the stack, into which a wrong length would copy all that lies behind the text
    note = (struct stored_note){.kind = (uint16_t)kind, .code = (uint16_t)code};
    if (hash) memcpy(note.hash, hash, sizeof note.hash);
    memcpy(note.reason, reason, text_length(reason, sizeof note.reason));
    return is_told(&note) ? RESULT_OK : record_append(&store, &note, sizeof note);
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
