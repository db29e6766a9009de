// SPDX-License-Identifier: Apache-2.0
// Anything in the areas of identity, notes and counter: it is read to its end or refused, and afterwards it can be used.
#include <string.h>

#include "bytes.h"
#include "chip.h"
#include "counter.h"
#include "crc.h"
#include "fuzz.h"
#include "host_port.h"
#include "identity.h"
#include "notes.h"
#include "record_log.h"

// How many there are, and how many of them are the one that is written here.
static uint32_t read_notes(uint32_t *mine) {
    struct record_cursor cursor;
    struct note note;
    uint32_t count = 0;
    HOLDS(result_ok(notes_start(&cursor)));
    for (*mine = 0; result_ok(notes_next(&cursor, &note)); count++) {
        HOLDS(text_length(note.reason, NOTE_REASON_MAX + 1) <= NOTE_REASON_MAX);
        *mine += note.kind == NOTE_REFUSED && note.code == 77 && strcmp(note.reason, "fuzz") == 0;
    }
    HOLDS(count <= AREA_NOTES_SIZE / RECORD_SIZE);
    return count;
}

static void use_notes(void) {
    uint32_t mine;
    (void)read_notes(&mine);
    if (!result_ok(note_write(NOTE_REFUSED, 77, 0, "fuzz"))) return;
    HOLDS(read_notes(&mine) > 0 && mine > 0);  // not always the last: records behind a gap come to light
}

static uint32_t highest_record(uint32_t image) {
    static const struct turn store = {AREA_COUNTERS, 0x52544341u};
    struct record_cursor cursor;
    struct record record;
    uint32_t highest = 0;
    HOLDS(result_ok(record_start(&store, &cursor)));
    while (result_ok(record_next(&cursor, &record))) {
        uint32_t value = le32(record.payload + 4 * image);
        if (value > highest) highest = value;
    }
    return highest;
}

static void use_counter(uint32_t image) {
    uint32_t before, after;
    HOLDS(result_ok(counter_read(image, &before)));
    HOLDS(before == highest_record(image));
    HOLDS(result_ok(counter_raise(image, before / 2)));
    HOLDS(result_ok(counter_read(image, &after)) && after == before);
    if (before == UINT32_MAX) return;
    HOLDS(result_ok(counter_raise(image, before + 1)));
    HOLDS(result_ok(counter_read(image, &after)) && after > before);  // records behind a gap come to light
}

static void use_identity(void) {
    struct identity identity, again;
    uint8_t chip[CHIP_ID_SIZE];
    (void)chip_id(chip);
    memset(&identity, 0, sizeof identity);
    if (result_ok(identity_load(&identity))) {
        HOLDS(identity.serial_length <= SERIAL_MAX && identity.certificate_length <= CERTIFICATE_MAX);
    }
    identity.serial_length = identity.certificate_length = 5;
    HOLDS(result_ok(identity_store(&identity)));
    HOLDS(result_ok(identity_load(&again)) && memcmp(&identity, &again, sizeof identity) == 0);
}

void fuzz_stores(const uint8_t *data, uint32_t size) {
    struct feed feed = {data, data + size};
    host_blank();
    (void)chip_fill(&feed);
    host_power_on();
    use_notes();
    for (uint32_t image = 0; image < IMAGE_COUNT; image++) use_counter(image);
    use_identity();
}

static uint32_t put_record(uint8_t *at, enum area area, uint32_t cell, uint32_t value) {
    struct record record = {.sequence = cell - 1};
    put_le32(record.payload, value);
    record.crc = crc32(&record, RECORD_SIZE - 4);
    return chip_put(at, area, cell * RECORD_SIZE, &record, sizeof record);
}

// An identity in the form that identity.c writes, with these lengths.
static uint32_t put_identity(uint8_t *at, uint32_t serial_length, uint32_t certificate_length) {
    struct identity identity = {.serial_length = serial_length, .certificate_length = certificate_length};
    uint32_t used = chip_put_head(at, AREA_IDENTITY, 0, 1, sizeof identity, crc32(&identity, sizeof identity));
    const uint8_t *bytes = (const uint8_t *)&identity;
    for (uint32_t done = 0; done < sizeof identity; done += 200) {
        used += chip_put(at + used, AREA_IDENTITY, 64 + done, bytes + done, smaller(200, sizeof identity - done));
    }
    return used;
}

uint32_t seed_stores(uint32_t number, uint8_t *data) {
    uint32_t used = 0;
    switch (number) {
        case 0: return put_identity(data, 7, 300);
        case 1: return put_identity(data, 5, CERTIFICATE_MAX + 1);
        case 2:
            used = chip_put_head(data, AREA_COUNTERS, 0, 1, 0, 0);
            used += put_record(data + used, AREA_COUNTERS, 1, 3);
            used += put_record(data + used, AREA_COUNTERS, 2, 9);
            return used + put_record(data + used, AREA_COUNTERS, 3, 4);
        case 3:
            used = chip_put_head(data, AREA_NOTES, 0, 1, 0, 0);
            return used + put_record(data + used, AREA_NOTES, 1, 3);
        case 4: return chip_put_head(data, AREA_NOTES, 1, 9, 0, 0);
        case 5:  // behind a gap, where no unit writes
            used = chip_put_head(data, AREA_NOTES, 0, 1, 0, 0);
            return used + put_record(data + used, AREA_NOTES, 2, 9);
        default: return 0;
    }
}
