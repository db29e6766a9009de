// SPDX-License-Identifier: Apache-2.0
// Exchanges the slots through the scratch sector, so that a power cut at any flash operation, also one in the
// middle of it, is made good at the next boot.
#ifndef ASSAY_SWAP_H
#define ASSAY_SWAP_H

#include "flash.h"

enum swap_kind { SWAP_TEST = 1, SWAP_FOR_GOOD = 2, SWAP_REVERT = 3 };

// Swaps the first `bytes` bytes (rounded up to sectors) of the slots of each image, all by one journal, and sets their
// trailers. An image with 0 bytes stays.
result_t swap_run(enum swap_kind kind, const uint32_t bytes[IMAGE_COUNT]);

// Finishes a swap that was cut. RESULT_EMPTY if none was under way; else `kind` says what it was.
result_t swap_resume(enum swap_kind *kind);

// True if this image went out of its primary slot by the last swap that moved it, for a test or for good. `hash_start`: the first four
// bytes of its hash as a little-endian number.
bool swap_took_out(uint32_t number, uint32_t hash_start);

// True also where the journal cannot be read.
bool swap_under_way(void);

// Gives up a swap that cannot be finished (serial recovery writes a new image). RESULT_OK also if there is none.
result_t swap_abandon(void);

#endif
