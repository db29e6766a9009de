// SPDX-License-Identifier: Apache-2.0
// Reads a patch in chunks and decompresses it; see delta_stream.h.
#include "delta_stream.h"

#include "bytes.h"

#define CRLE_SCATTERED 0u
#define CRLE_REPEATED 1u
#define CRLE_SIZE_BYTES_MAX 5u  // of a number: seven bits each
#define CRLE_EMPTY_MAX 1u       // segments without content in a row; detools writes one for a patch without bytes

result_t delta_raw_byte(void *context, uint8_t *byte) {
    struct delta *delta = context;
    if (delta->input_used == delta->input_have) {
        uint32_t part = smaller(delta->end - delta->at, sizeof delta->input);
        if (part == 0) return RESULT_EMPTY;
        result_t result = image_read(&delta->patch, delta->at, delta->input, part);
        if (!result_ok(result)) return result;
        delta->at += part;
        delta->input_have = part;
        delta->input_used = 0;
    }
    *byte = delta->input[delta->input_used++];
    return RESULT_OK;
}

// A byte that has to be there.
static result_t need_byte(struct delta *delta, uint8_t *byte) {
    result_t result = delta_raw_byte(delta, byte);
    return result == RESULT_EMPTY ? RESULT_OF(ERROR_BAD_PATCH) : result;
}

static result_t crle_size(struct delta *delta, uint32_t *size) {
    uint64_t value = 0;
    uint8_t byte = 0x80;
    for (uint32_t i = 0; i < CRLE_SIZE_BYTES_MAX && (byte & 0x80) != 0; i++) {
        result_t result = need_byte(delta, &byte);
        if (!result_ok(result)) return result;
        value |= (uint64_t)(byte & 0x7F) << (7 * i);
    }
    if ((byte & 0x80) != 0 || value > DELTA_SIZE_MAX) return RESULT_OF(ERROR_BAD_PATCH);
    *size = (uint32_t)value;
    return RESULT_OK;
}

static result_t crle_segment(struct delta *delta) {
    uint8_t kind;
    result_t result = need_byte(delta, &kind);
    if (!result_ok(result)) return result;
    if (kind != CRLE_SCATTERED && kind != CRLE_REPEATED) return RESULT_OF(ERROR_BAD_PATCH);
    delta->run_repeats = kind == CRLE_REPEATED;
    result = crle_size(delta, &delta->run_left);
    return result_ok(result) && delta->run_repeats ? need_byte(delta, &delta->run_byte) : result;
}

static result_t crle_byte(struct delta *delta, uint8_t *byte) {
    for (uint32_t empty = 0; delta->run_left == 0; empty++) {
        if (empty > CRLE_EMPTY_MAX) return RESULT_OF(ERROR_BAD_PATCH);
        result_t result = crle_segment(delta);
        if (!result_ok(result)) return result;
    }
    delta->run_left--;
    *byte = delta->run_byte;
    return delta->run_repeats ? RESULT_OK : need_byte(delta, byte);
}

result_t delta_stream_start(struct delta *delta) {
    uint8_t sizes;
    if (delta->compression == DELTA_NONE || delta->compression == DELTA_CRLE) return RESULT_OK;
    if (delta->compression != DELTA_HEATSHRINK) return RESULT_OF(ERROR_BAD_PATCH);
    result_t result = need_byte(delta, &sizes);
    return result_ok(result) ? heatshrink_start(&delta->heatshrink, sizes, delta_raw_byte, delta) : result;
}

result_t delta_stream_read(struct delta *delta, uint8_t *data, uint32_t length) {
    for (uint32_t i = 0; i < length; i++) {
        result_t result;
        switch (delta->compression) {
            case DELTA_NONE: result = need_byte(delta, data + i); break;
            case DELTA_CRLE: result = crle_byte(delta, data + i); break;
            default: result = heatshrink_byte(&delta->heatshrink, data + i); break;
        }
        if (!result_ok(result)) return result;
    }
    return RESULT_OK;
}

result_t delta_stream_ended(struct delta *delta) {
    if (delta->compression == DELTA_HEATSHRINK) return heatshrink_ended(&delta->heatshrink);
    bool all = delta->run_left == 0 && delta->input_used == delta->input_have && delta->at == delta->end;
    return all ? RESULT_OK : RESULT_OF(ERROR_BAD_PATCH);
}
