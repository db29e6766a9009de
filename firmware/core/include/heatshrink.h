// SPDX-License-Identifier: Apache-2.0
// Decompresses heatshrink (LZSS with a bit stream, most significant bit first), byte by byte, in memory that does not
// grow. A 1 bit and eight bits are a byte; a 0 bit, an index and a count are a copy of `count + 1` bytes from
// `index + 1` bytes back. Before the first byte the window is all zero.
#ifndef ASSAY_HEATSHRINK_H
#define ASSAY_HEATSHRINK_H

#include "result.h"

#define HEATSHRINK_WINDOW_BITS_MIN 4u
#define HEATSHRINK_WINDOW_BITS_MAX 12u  // 4 KiB: patches with a larger window are refused
#define HEATSHRINK_COUNT_BITS_MIN 3u

// Where the compressed bytes come from. RESULT_EMPTY at their end.
typedef result_t (*heatshrink_next)(void *context, uint8_t *byte);

struct heatshrink {
    heatshrink_next next;
    void *context;
    uint32_t window_bits, count_bits;
    uint32_t head;      // where the next byte goes in the window
    uint32_t bits_left;  // of `current` that were not used yet
    uint8_t current;
    uint32_t copy_left, copy_back;  // a copy under way: bytes to come, and how far back they lie
    uint8_t window[1u << HEATSHRINK_WINDOW_BITS_MAX];
};

// `sizes` is the byte before the stream: window bits - 4 in the high half, count bits - 3 in the low one. Fails with
// bad-patch for sizes that are not done here.
result_t heatshrink_start(struct heatshrink *state, uint8_t sizes, heatshrink_next next, void *context);

// The next byte. Fails with bad-patch when the stream ends within it, or as `next` failed.
result_t heatshrink_byte(struct heatshrink *state, uint8_t *byte);

// RESULT_OK if the stream ends here: nothing is left of a copy, and what fills the last byte is zero.
result_t heatshrink_ended(struct heatshrink *state);

#endif
