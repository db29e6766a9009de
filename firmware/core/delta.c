// SPDX-License-Identifier: Apache-2.0
// Decodes patches; see delta.h. A patch is rounds: bytes to add to the old image, bytes as they are, and where in the
// old image the next round goes on. Numbers hold a sign, so every one is checked before it is used.
#include "delta.h"

#include "bytes.h"
#include "delta_stream.h"

#define TYPE_SEQUENTIAL 0u
#define NUMBER_BYTES_MAX 5u  // 6 bits, then 7 bits each: more than DELTA_SIZE_MAX needs

typedef result_t (*read_byte)(struct delta *delta, uint8_t *byte);

static result_t plain_byte(struct delta *delta, uint8_t *byte) { return delta_raw_byte(delta, byte); }
static result_t stream_byte(struct delta *delta, uint8_t *byte) { return delta_stream_read(delta, byte, 1); }

// A number: in the first byte whether more follow (0x80), the sign (0x40) and six bits; in the others seven bits.
static result_t take_number(struct delta *delta, read_byte read, int64_t *number) {
    uint8_t byte;
    result_t result = read(delta, &byte);
    if (!result_ok(result)) return result == RESULT_EMPTY ? RESULT_OF(ERROR_BAD_PATCH) : result;
    bool negative = (byte & 0x40) != 0;
    uint64_t value = byte & 0x3F;
    for (uint32_t i = 1; i < NUMBER_BYTES_MAX && (byte & 0x80) != 0; i++) {
        result = read(delta, &byte);
        if (!result_ok(result)) return result == RESULT_EMPTY ? RESULT_OF(ERROR_BAD_PATCH) : result;
        value |= (uint64_t)(byte & 0x7F) << (7 * i - 1);
    }
    if ((byte & 0x80) != 0 || value > DELTA_SIZE_MAX) return RESULT_OF(ERROR_BAD_PATCH);
    *number = negative ? -(int64_t)value : (int64_t)value;
    return RESULT_OK;
}

// A number of bytes that is at most `limit`.
static result_t take_size(struct delta *delta, read_byte read, uint32_t limit, uint32_t *size) {
    int64_t number;
    result_t result = take_number(delta, read, &number);
    if (!result_ok(result)) return result;
    if (number < 0 || number > (int64_t)limit) return RESULT_OF(ERROR_BAD_PATCH);
    *size = (uint32_t)number;
    return RESULT_OK;
}

result_t delta_open(struct delta *delta, const struct image_source *patch, uint32_t offset, uint32_t length) {
    uint8_t head;
    memset(delta, 0, sizeof *delta);
    if (offset > patch->size || length > patch->size - offset) return RESULT_OF(ERROR_BAD_PATCH);
    delta->patch = *patch;
    delta->at = offset;
    delta->end = offset + length;
    result_t result = delta_raw_byte(delta, &head);
    if (!result_ok(result)) return result == RESULT_EMPTY ? RESULT_OF(ERROR_BAD_PATCH) : result;
    if (head >> 4 != TYPE_SEQUENTIAL) return RESULT_OF(ERROR_BAD_PATCH);
    delta->compression = (enum delta_compression)(head & 0x0F);
    return take_size(delta, plain_byte, DELTA_SIZE_MAX, &delta->size);
}

static result_t give(struct delta *delta, uint32_t length, delta_sink sink, void *context) {
    delta->done += length;
    return sink(context, delta->chunk, length);
}

// Bytes of the patch, added to those of the old image.
static result_t add_to_old(struct delta *delta, const struct image_source *old, uint32_t length, delta_sink sink,
                           void *context) {
    if (length > old->size - delta->from) return RESULT_OF(ERROR_BAD_PATCH);
    for (uint32_t taken = 0; taken < length;) {
        uint32_t part = smaller(length - taken, DELTA_CHUNK);
        result_t result = delta_stream_read(delta, delta->chunk, part);
        if (result_ok(result)) result = image_read(old, delta->from, delta->old_chunk, part);
        if (!result_ok(result)) return result;
        for (uint32_t i = 0; i < part; i++) delta->chunk[i] = (uint8_t)(delta->chunk[i] + delta->old_chunk[i]);
        taken += part;
        delta->from += part;
        result = give(delta, part, sink, context);
        if (!result_ok(result)) return result;
    }
    return RESULT_OK;
}

// Bytes of the patch as they are.
static result_t take_new(struct delta *delta, uint32_t length, delta_sink sink, void *context) {
    for (uint32_t taken = 0; taken < length;) {
        uint32_t part = smaller(length - taken, DELTA_CHUNK);
        result_t result = delta_stream_read(delta, delta->chunk, part);
        if (result_ok(result)) result = give(delta, part, sink, context);
        if (!result_ok(result)) return result;
        taken += part;
    }
    return RESULT_OK;
}

static result_t go_to(struct delta *delta, uint32_t old_size) {
    int64_t step;
    result_t result = take_number(delta, stream_byte, &step);
    if (!result_ok(result)) return result;
    int64_t from = (int64_t)delta->from + step;
    if (from < 0 || from > (int64_t)old_size) return RESULT_OF(ERROR_BAD_PATCH);
    delta->from = (uint32_t)from;
    return RESULT_OK;
}

static result_t do_round(struct delta *delta, const struct image_source *old, delta_sink sink, void *context) {
    uint32_t length;
    result_t result = take_size(delta, stream_byte, delta->size - delta->done, &length);
    if (result_ok(result)) result = add_to_old(delta, old, length, sink, context);
    if (result_ok(result)) result = take_size(delta, stream_byte, delta->size - delta->done, &length);
    if (result_ok(result)) result = take_new(delta, length, sink, context);
    return result_ok(result) ? go_to(delta, old->size) : result;
}

// The patch of detools' experimental data formats comes first; it has to be empty.
static result_t skip_data_format(struct delta *delta) {
    uint32_t length;
    return take_size(delta, stream_byte, 0, &length);
}

// A patch that gives nothing has no stream at all.
static result_t end_of_nothing(struct delta *delta) {
    uint8_t byte;
    result_t result = delta_raw_byte(delta, &byte);
    if (result_ok(result)) return RESULT_OF(ERROR_BAD_PATCH);
    return result == RESULT_EMPTY ? RESULT_OK : result;
}

result_t delta_run(struct delta *delta, const struct image_source *old, delta_sink sink, void *context) {
    if (delta->size == 0) return end_of_nothing(delta);
    result_t result = delta_stream_start(delta);
    if (result_ok(result)) result = skip_data_format(delta);
    uint32_t empty = 0;  // rounds in a row that gave nothing; one is how a patch begins elsewhere than at the start
    while (result_ok(result) && delta->done < delta->size) {
        uint32_t before = delta->done;
        result = do_round(delta, old, sink, context);
        empty = delta->done == before ? empty + 1 : 0;
        if (empty > 1) return RESULT_OF(ERROR_BAD_PATCH);
    }
    return result_ok(result) ? delta_stream_ended(delta) : result;
}
