// SPDX-License-Identifier: Apache-2.0
// What the device wants remembered across boots, for the host to read.
#ifndef ASSAY_NOTES_H
#define ASSAY_NOTES_H

#include "record_log.h"

#define NOTE_HASH_SIZE 8u   // first bytes of the hash of the image that the note is about
#define NOTE_REASON_MAX 40u  // bytes, without NUL

// For ever, as the error numbers.
enum note_kind {
    NOTE_SELFTEST_FAILED = 1,
    NOTE_REVERTED = 2,
    NOTE_REFUSED = 3,
    NOTE_SWAPPED = 4,
    NOTE_CONFIRMED = 5,
    NOTE_RECOVERY = 6,
    NOTE_PATCHED = 7,
};

struct note {
    uint32_t sequence, kind, code;
    uint8_t hash[NOTE_HASH_SIZE];
    char reason[NOTE_REASON_MAX + 1];
};

// `hash` may be null. A note that equals the newest one but for its number is not written again, and one of a kind that
// comes at each boot not a third time before something changed: a board that comes up in the same trouble, or in several
// of them, every second must not wear out its flash.
result_t note_write(enum note_kind kind, uint32_t code, const uint8_t *hash, const char *reason);

result_t notes_start(struct record_cursor *cursor);
result_t notes_next(struct record_cursor *cursor, struct note *note);

#endif
