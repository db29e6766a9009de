// SPDX-License-Identifier: Apache-2.0
// Two halves of an area in turn, each of whole sectors: the newest one that is whole counts, and only the other one is
// ever erased. So an erase or a write that is cut in the middle leaves the newest one as it was. Used by the journal,
// the logs and the identity.
#ifndef ASSAY_TURN_H
#define ASSAY_TURN_H

#include "flash.h"

#define TURN_HEAD_SIZE 32u
#define TURN_WORDS 5u

struct turn {
    enum area area;
    uint32_t magic;
};

struct turn_head {
    uint32_t magic;
    uint32_t generation;  // 1 and up, and round; the higher is the newer
    uint32_t words[TURN_WORDS];  // of the user
    uint32_t crc;         // over all before
};

// Bytes of each half.
uint32_t turn_size(const struct turn *turn);

// Offset in the area of half 0 or 1.
uint32_t turn_offset(const struct turn *turn, uint32_t half);

// The head of this half; RESULT_EMPTY if it has no valid one.
result_t turn_read(const struct turn *turn, uint32_t half, struct turn_head *head);

// The newest half with a valid head; RESULT_EMPTY if there is none.
result_t turn_newest(const struct turn *turn, uint32_t *half, struct turn_head *head);

// Erases the half that is not the newest, its head first, and says which it is and what generation comes next.
result_t turn_prepare(const struct turn *turn, uint32_t *half, uint32_t *generation);

// Writes the head: from now on this half is the newest.
result_t turn_seal(const struct turn *turn, uint32_t half, uint32_t generation, const uint32_t words[TURN_WORDS]);

#endif
