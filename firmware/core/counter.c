// SPDX-License-Identifier: Apache-2.0
// The security counters in their append-only log; see counter.h. A record holds those of all images: each one that is
// written carries the others along, so that none gets lost when the log turns.
#include "counter.h"

#include "board_layout.h"
#include "bytes.h"
#include "record_log.h"

static const struct turn store = {AREA_COUNTERS, 0x52544341u};  // "ACTR"
#define VALUE_SIZE 4u
_Static_assert(IMAGE_COUNT * VALUE_SIZE <= RECORD_PAYLOAD, "the counters fit a record");

// The highest of each, not the newest: nothing lowers it.
static result_t read_all(uint32_t values[IMAGE_COUNT]) {
    struct record_cursor cursor;
    struct record record;
    memset(values, 0, IMAGE_COUNT * sizeof values[0]);
    result_t result = record_start(&store, &cursor);
    if (!result_ok(result)) return result;
    while (result_ok(result = record_next(&cursor, &record))) {
        for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
            uint32_t found = le32(record.payload + VALUE_SIZE * i);
            if (found > values[i]) values[i] = found;
        }
    }
    return result == RESULT_EMPTY ? RESULT_OK : result;
}

result_t counter_read(uint32_t image, uint32_t *value) {
    uint32_t values[IMAGE_COUNT];
    *value = 0xFFFFFFFFu;  // what fails refuses everything
    if (image >= IMAGE_COUNT) return RESULT_OF(ERROR_BAD_REQUEST);
    result_t result = read_all(values);
    if (result_ok(result)) *value = values[image];
    return result;
}

result_t counter_raise(uint32_t image, uint32_t value) {
    uint32_t values[IMAGE_COUNT];
    uint8_t payload[IMAGE_COUNT * VALUE_SIZE];
    if (image >= IMAGE_COUNT) return RESULT_OF(ERROR_BAD_REQUEST);
    result_t result = read_all(values);
    if (!result_ok(result) || value <= values[image]) return result;
    values[image] = value;
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) put_le32(payload + VALUE_SIZE * i, values[i]);
    return record_append(&store, payload, sizeof payload);
}
