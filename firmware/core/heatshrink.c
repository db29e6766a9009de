// SPDX-License-Identifier: Apache-2.0
// The decoder of heatshrink streams; see heatshrink.h for the format.
#include "heatshrink.h"

#include "bytes.h"

#define LITERAL 1u

result_t heatshrink_start(struct heatshrink *state, uint8_t sizes, heatshrink_next next, void *context) {
    uint32_t window_bits = (uint32_t)(sizes >> 4) + HEATSHRINK_WINDOW_BITS_MIN;
    uint32_t count_bits = (uint32_t)(sizes & 0x0F) + HEATSHRINK_COUNT_BITS_MIN;
    if (window_bits > HEATSHRINK_WINDOW_BITS_MAX || count_bits >= window_bits) return RESULT_OF(ERROR_BAD_PATCH);
    memset(state, 0, sizeof *state);
    state->next = next;
    state->context = context;
    state->window_bits = window_bits;
    state->count_bits = count_bits;
    return RESULT_OK;
}

// The next `count` bits (at most HEATSHRINK_WINDOW_BITS_MAX) as a number.
static result_t take_bits(struct heatshrink *state, uint32_t count, uint32_t *value) {
    *value = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (state->bits_left == 0) {
            result_t result = state->next(state->context, &state->current);
            if (!result_ok(result)) return result == RESULT_EMPTY ? RESULT_OF(ERROR_BAD_PATCH) : result;
            state->bits_left = 8;
        }
        state->bits_left--;
        *value = *value << 1 | (uint32_t)(state->current >> state->bits_left & 1u);
    }
    return RESULT_OK;
}

// Reads where a copy comes from and how long it is.
static result_t start_copy(struct heatshrink *state) {
    uint32_t index, count;
    result_t result = take_bits(state, state->window_bits, &index);
    if (result_ok(result)) result = take_bits(state, state->count_bits, &count);
    if (!result_ok(result)) return result;
    state->copy_back = index + 1;
    state->copy_left = count + 1;
    return RESULT_OK;
}

result_t heatshrink_byte(struct heatshrink *state, uint8_t *byte) {
    uint32_t mask = (1u << state->window_bits) - 1;
    uint32_t value = 0;
    if (state->copy_left == 0) {
        result_t result = take_bits(state, 1, &value);
        if (result_ok(result)) result = value == LITERAL ? take_bits(state, 8, &value) : start_copy(state);
        if (!result_ok(result)) return result;
    }
    if (state->copy_left != 0) {
        state->copy_left--;
        value = state->window[(state->head - state->copy_back) & mask];
    }
    *byte = (uint8_t)value;
    state->window[state->head++ & mask] = *byte;
    return RESULT_OK;
}

result_t heatshrink_ended(struct heatshrink *state) {
    uint8_t byte;
    uint32_t filler = state->current & ((1u << state->bits_left) - 1);
    if (state->copy_left != 0 || filler != 0) return RESULT_OF(ERROR_BAD_PATCH);
    result_t result = state->next(state->context, &byte);
    if (result_ok(result)) return RESULT_OF(ERROR_BAD_PATCH);
    return result == RESULT_EMPTY ? RESULT_OK : result;
}
