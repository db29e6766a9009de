// SPDX-License-Identifier: Apache-2.0
// An append-only log of small records in two halves of an area in turn. A record that was cut in the middle is skipped.
#ifndef ASSAY_RECORD_LOG_H
#define ASSAY_RECORD_LOG_H

#include "turn.h"

#define RECORD_SIZE 64u
#define RECORD_PAYLOAD 56u

struct record {
    uint32_t sequence;  // 0 and up, without gaps as long as no record was cut
    uint8_t payload[RECORD_PAYLOAD];
    uint32_t crc;  // over all before
};

struct record_cursor {
    const struct turn *log;
    uint32_t halves[2];  // oldest first
    uint32_t count, at, cell;  // halves that there are, the one that is read, the next cell in it
};

// Starts before the oldest record.
result_t record_start(const struct turn *log, struct record_cursor *cursor);

// The next record; RESULT_EMPTY behind the newest one.
result_t record_next(struct record_cursor *cursor, struct record *record);

// The newest record; RESULT_EMPTY if there is none.
result_t record_last(const struct turn *log, struct record *record);

result_t record_append(const struct turn *log, const void *payload, uint32_t length);

#endif
