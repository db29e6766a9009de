// SPDX-License-Identifier: Apache-2.0
// Decodes patches of the type `sequential` as detools writes them, with the compressions none, crle and heatshrink, in
// memory that does not grow with patch or image. docs/reference/delta.md has the format.
#ifndef ASSAY_DELTA_H
#define ASSAY_DELTA_H

#include "heatshrink.h"
#include "image.h"

#define DELTA_CHUNK 256u       // bytes that are decoded at once
#define DELTA_SIZE_MAX 0x7FFFFFFFu  // bytes; larger numbers in a patch are refused

enum delta_compression { DELTA_NONE = 0, DELTA_CRLE = 2, DELTA_HEATSHRINK = 4 };

// Takes what was decoded, in order.
typedef result_t (*delta_sink)(void *context, const uint8_t *data, uint32_t length);

struct delta {
    struct image_source patch;
    uint32_t at, end;   // offsets in the patch: what was not read yet
    uint8_t input[DELTA_CHUNK];
    uint32_t input_used, input_have;
    enum delta_compression compression;
    uint32_t run_left;  // crle: bytes to come of a segment
    bool run_repeats;   // crle: the segment is one byte, again and again
    uint8_t run_byte;
    struct heatshrink heatshrink;
    uint32_t size;      // bytes of what the patch gives
    uint32_t done;      // bytes that were given to the sink
    uint32_t from;      // offset in the old image
    uint8_t chunk[DELTA_CHUNK], old_chunk[DELTA_CHUNK];
};

// Reads the head of the patch that lies in `patch` at `offset`, `length` bytes long; then `size` is known. Fails with
// bad-patch.
result_t delta_open(struct delta *delta, const struct image_source *patch, uint32_t offset, uint32_t length);

// Makes the new image out of `old` and the patch, and gives it to `sink`. Fails with bad-patch when the patch is not
// one for an image of old->size bytes, or not whole, or longer than it should be; else as `sink` failed.
result_t delta_run(struct delta *delta, const struct image_source *old, delta_sink sink, void *context);

#endif
