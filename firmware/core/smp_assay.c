// SPDX-License-Identifier: Apache-2.0
// What the device says of itself without a key: info, measurements over flash, notes. Nothing here changes anything.
#include "smp_assay.h"

#include "bytes.h"
#include "identity.h"
#include "notes.h"
#include "slots.h"

#define NOTE_ROOM 128u    // bytes that one note may take in an answer: 8 + 40 of content, keys and numbers
#define NOTES_HEAD 32u    // bytes around them

const char *boot_state_text(enum boot_state state) { return state == STATE_TESTING ? "testing" : "confirmed"; }

result_t assay_info(const struct smp_request *request, struct cbor_writer *answer) {
    const struct assay_stage *me = &assay_stage;
    struct identity identity;
    uint8_t chip[CHIP_ID_SIZE];
    (void)request;
    bool named = result_ok(identity_load(&identity)) && identity.serial_length != 0;
    if (chip_id(chip) == RESULT_OF(ERROR_FLASH)) return RESULT_OF(ERROR_FLASH);
    cbor_head(answer, CBOR_MAP, 7u + (named ? 1u : 0u) + (me->handoff ? 2u : 0u));
    cbor_put_number(answer, "proto", 1);
    cbor_put_string(answer, "stage", me->stage);
    cbor_put_string(answer, "board", BOARD_NAME);
    cbor_put_number(answer, "rev", BOARD_REVISION);
    cbor_put_bytes(answer, "chip", chip, sizeof chip);
    cbor_put_string(answer, "name", me->name);
    cbor_put_string(answer, "version", me->version);
    if (named) {
        cbor_string(answer, "serial");
        cbor_text(answer, identity.serial, identity.serial_length);
    }
    if (me->handoff) {
        cbor_put_string(answer, "state", boot_state_text(me->state));
        cbor_put_bytes(answer, "hash", me->handoff->app_hash, SHA256_SIZE);
    }
    return RESULT_OK;
}

result_t assay_measure(const struct smp_request *request, struct cbor_writer *answer) {
    static const enum area areas[] = {
        AREA_PRIMARY, AREA_SECONDARY, AREA_BOOT,
#if IMAGE_COUNT > 1
        AREA_RADIO_PRIMARY, AREA_RADIO_SECONDARY,
#endif
    };
    static struct image image;
    uint32_t slot;
    result_t result = smp_get_number(request, "slot", &slot);
    if (!result_ok(result) || slot >= sizeof areas / sizeof areas[0]) return RESULT_OF(ERROR_BAD_REQUEST);
    uint32_t limit = areas[slot] == AREA_BOOT ? AREA_BOOT_SIZE : slots[slot_image(areas[slot])].limit;
    struct image_source source = image_in_flash(areas[slot], limit);
    result = image_parse(&source, &image);
    if (result == RESULT_OF(ERROR_FLASH)) return result;
    // A hash that differs from the TLV is an answer too, and so is an image for another board: this is what is there.
    bool whole = image.total_size != 0;
    if (!whole) return RESULT_OF(ERROR_NO_IMAGE);
    result = image_check_hash(&source, &image);
    if (!result_ok(result) && result != RESULT_OF(ERROR_BAD_HASH)) return result;
    cbor_head(answer, CBOR_MAP, 4);
    cbor_put_number(answer, "slot", slot);
    cbor_put_bytes(answer, "hash", image.hash, sizeof image.hash);
    cbor_put_number(answer, "size", image.total_size);
    cbor_put_string(answer, "how", "recomputed");
    return RESULT_OK;
}

static void put_note(struct cbor_writer *answer, const struct note *note) {
    cbor_head(answer, CBOR_MAP, 5);
    cbor_put_number(answer, "seq", note->sequence);
    cbor_put_number(answer, "kind", note->kind);
    cbor_put_number(answer, "code", note->code);
    cbor_put_bytes(answer, "hash", note->hash, sizeof note->hash);
    cbor_put_string(answer, "reason", note->reason);
}

// Moves to the first note that was asked for.
static result_t skip_to(uint32_t from, struct record_cursor *cursor, struct note *note) {
    result_t result = notes_start(cursor);
    while (result_ok(result)) {
        result = notes_next(cursor, note);
        if (!result_ok(result) || note->sequence >= from) break;
    }
    return result;
}

// How many notes from here on fit the answer, and the number after the last of them.
static result_t count_notes(uint32_t from, uint32_t room, uint32_t *count, uint32_t *next) {
    struct record_cursor cursor;
    struct note note;
    *count = 0;
    *next = from;
    result_t result = skip_to(from, &cursor, &note);
    while (result_ok(result) && *count < room / NOTE_ROOM) {
        (*count)++;
        *next = note.sequence + 1;
        result = notes_next(&cursor, &note);
    }
    return result_ok(result) || result == RESULT_EMPTY ? RESULT_OK : result;
}

result_t assay_notes(const struct smp_request *request, struct cbor_writer *answer) {
    struct record_cursor cursor;
    struct note note;
    uint32_t from, count, next;
    result_t result = smp_get_number(request, "from", &from);
    if (!result_ok(result)) return result;
    result = count_notes(from, answer->size - NOTES_HEAD, &count, &next);
    if (!result_ok(result)) return result;
    cbor_head(answer, CBOR_MAP, 2);
    cbor_string(answer, "notes");
    cbor_head(answer, CBOR_ARRAY, count);
    result = skip_to(from, &cursor, &note);
    for (uint32_t i = 0; i < count && result_ok(result); i++) {
        put_note(answer, &note);
        if (i + 1 < count) result = notes_next(&cursor, &note);
    }
    if (!result_ok(result) && count != 0) return RESULT_OF(ERROR_FLASH);
    cbor_put_number(answer, "next", next);
    return RESULT_OK;
}
