// SPDX-License-Identifier: Apache-2.0
// Two halves in turn; see turn.h for what this guards. What lies behind the head is the user's.
#include "turn.h"

#include "bytes.h"
#include "crc.h"

#define CRC_BYTES (TURN_HEAD_SIZE - 4u)
_Static_assert(sizeof(struct turn_head) == TURN_HEAD_SIZE, "the head is written as it lies in memory");
_Static_assert(TURN_HEAD_SIZE % FLASH_WRITE_SIZE == 0, "a head is made of whole write units");
#define HALVES(name) \
    _Static_assert(AREA_##name##_SIZE % (2 * FLASH_ERASE_SIZE) == 0, "area " #name " has no two halves")
HALVES(STATUS);
HALVES(COUNTERS);
HALVES(NOTES);
HALVES(IDENTITY);

uint32_t turn_size(const struct turn *turn) { return flash_area_size(turn->area) / 2; }

uint32_t turn_offset(const struct turn *turn, uint32_t half) { return half * turn_size(turn); }

result_t turn_read(const struct turn *turn, uint32_t half, struct turn_head *head) {
    result_t result = flash_read(turn->area, turn_offset(turn, half), head, sizeof *head);
    if (!result_ok(result)) return result;
    bool valid = head->magic == turn->magic && head->generation != 0 && head->crc == crc32(head, CRC_BYTES);
    return valid ? RESULT_OK : RESULT_EMPTY;
}

// Generations go round, and 0 is none: the newer of two is the one that is less than half a round ahead.
static bool is_newer(uint32_t one, uint32_t than) { return one - than < 0x80000000u; }

static uint32_t next_generation(uint32_t generation) { return generation == UINT32_MAX ? 1 : generation + 1; }

result_t turn_newest(const struct turn *turn, uint32_t *half, struct turn_head *head) {
    struct turn_head heads[2];
    result_t results[2];
    for (uint32_t i = 0; i < 2; i++) {
        results[i] = turn_read(turn, i, &heads[i]);
        if (!result_ok(results[i]) && results[i] != RESULT_EMPTY) return results[i];
    }
    if (!result_ok(results[0]) && !result_ok(results[1])) return RESULT_EMPTY;
    *half = result_ok(results[1]) && (!result_ok(results[0]) || is_newer(heads[1].generation, heads[0].generation));
    *head = heads[*half];
    return RESULT_OK;
}

result_t turn_prepare(const struct turn *turn, uint32_t *half, uint32_t *generation) {
    struct turn_head head;
    uint32_t newest;
    result_t result = turn_newest(turn, &newest, &head);
    if (!result_ok(result) && result != RESULT_EMPTY) return result;
    *half = result_ok(result) ? 1 - newest : 0;
    *generation = result_ok(result) ? next_generation(head.generation) : 1;
    return flash_erase(turn->area, turn_offset(turn, *half), turn_size(turn));
}

result_t turn_seal(const struct turn *turn, uint32_t half, uint32_t generation, const uint32_t words[TURN_WORDS]) {
    struct turn_head head = {.magic = turn->magic, .generation = generation};
    memcpy(head.words, words, sizeof head.words);
    head.crc = crc32(&head, CRC_BYTES);
    return flash_program(turn->area, turn_offset(turn, half), &head, sizeof head);
}
