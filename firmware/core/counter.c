// SPDX-License-Identifier: Apache-2.0
// The security counter in its append-only log; see counter.h.
#include "counter.h"

#include "bytes.h"
#include "record_log.h"

static const struct turn store = {AREA_COUNTERS, 0x52544341u};  // "ACTR"

result_t counter_read(uint32_t *value) {
    struct record_cursor cursor;
    struct record record;
    *value = 0;
    result_t result = record_start(&store, &cursor);
    if (!result_ok(result)) return result;
    while (result_ok(result = record_next(&cursor, &record))) {
        uint32_t found = le32(record.payload);
        if (found > *value) *value = found;  // the highest, not the newest: nothing lowers it
    }
    return result == RESULT_EMPTY ? RESULT_OK : result;
}

result_t counter_raise(uint32_t value) {
    uint8_t payload[4];
    uint32_t now;
    result_t result = counter_read(&now);
    if (!result_ok(result) || value <= now) return result;
    put_le32(payload, value);
    return record_append(&store, payload, sizeof payload);
}
