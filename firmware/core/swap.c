// SPDX-License-Identifier: Apache-2.0
// The swap and its journal. Each sector is exchanged in three steps; a step only reads what the step before has
// written and what no earlier step will change again, so it can be done anew from its start until its mark is set.
// The marks are one write unit each, behind the head of a journal half. A mark that was cut counts as set: it is only
// begun when its step is done. Which swap is due is decided once, written to the head, and not asked again.
#include "swap.h"

#include "bytes.h"
#include "image.h"
#include "notes.h"
#include "slots.h"
#include "trailer.h"
#include "turn.h"

#define STEPS 3u  // of a sector
#define MARKS_AT 64u
#define SECTORS_MAX ((AREA_PRIMARY_SIZE < AREA_SECONDARY_SIZE ? AREA_PRIMARY_SIZE : AREA_SECONDARY_SIZE) / FLASH_ERASE_SIZE - 1u)
#define FINAL_STEPS 4u  // trailer of the primary slot, trailer of the secondary slot, note, closed
_Static_assert(MARKS_AT % FLASH_WRITE_SIZE == 0 &&
                   MARKS_AT + (STEPS * SECTORS_MAX + FINAL_STEPS) * FLASH_WRITE_SIZE <= AREA_STATUS_SIZE / 2,
               "the journal fits a half");

static const struct turn journal = {AREA_STATUS, 0x50575341u};  // "ASWP"

struct open_swap {
    enum swap_kind kind;
    uint32_t sectors;
    uint32_t journal_half;
};

static uint32_t mark_at(const struct open_swap *swap, uint32_t index) {
    return turn_offset(&journal, swap->journal_half) + MARKS_AT + index * FLASH_WRITE_SIZE;
}

static result_t mark_set(const struct open_swap *swap, uint32_t index) {
    uint8_t done[FLASH_WRITE_SIZE];
    memset(done, (uint8_t)~FLASH_ERASED, sizeof done);
    return flash_program(AREA_STATUS, mark_at(swap, index), done, sizeof done);
}

// RESULT_OK if the mark is set, RESULT_EMPTY if not.
static result_t mark_get(const struct open_swap *swap, uint32_t index) {
    uint8_t mark[FLASH_WRITE_SIZE];
    result_t result = flash_read(AREA_STATUS, mark_at(swap, index), mark, sizeof mark);
    if (!result_ok(result)) return result;
    return bytes_are(mark, FLASH_ERASED, sizeof mark) ? RESULT_EMPTY : RESULT_OK;
}

static result_t copy_sector(enum area from, uint32_t from_at, enum area to, uint32_t to_at) {
    uint8_t chunk[FLASH_CHUNK];
    result_t result = flash_erase(to, to_at, FLASH_ERASE_SIZE);
    for (uint32_t at = 0; result_ok(result) && at < FLASH_ERASE_SIZE; at += FLASH_CHUNK) {
        result = flash_read(from, from_at + at, chunk, sizeof chunk);
        if (!result_ok(result)) return result;
        if (bytes_are(chunk, FLASH_ERASED, sizeof chunk)) continue;
        result = flash_program(to, to_at + at, chunk, sizeof chunk);
    }
    return result;
}

static result_t do_step(uint32_t index) {
    uint32_t at = (index / STEPS) * FLASH_ERASE_SIZE;
    switch (index % STEPS) {
        case 0: return copy_sector(AREA_SECONDARY, at, AREA_SCRATCH, 0);
        case 1: return copy_sector(AREA_PRIMARY, at, AREA_SECONDARY, at);
        default: return copy_sector(AREA_SCRATCH, 0, AREA_PRIMARY, at);
    }
}

// The note is a step of the journal, so that no cut loses it; a note that cannot be written does not stop the swap.
static result_t leave_note(enum swap_kind kind) {
    struct image image;
    bool reverted = kind == SWAP_REVERT;
    struct image_source about = image_in_flash(reverted ? AREA_SECONDARY : AREA_PRIMARY, slots[0].limit);
    (void)image_parse(&about, &image);
    if (reverted) (void)note_write(NOTE_REVERTED, 0, image.hash, "not confirmed");
    else (void)note_write(NOTE_SWAPPED, 0, image.hash, kind == SWAP_TEST ? "for test" : "for good");
    return RESULT_OK;
}

static result_t do_final_step(const struct open_swap *swap, uint32_t step) {
    switch (step) {
        case 0: return trailer_swapped(AREA_PRIMARY, swap->kind != SWAP_TEST);
        case 1: return trailer_erase(AREA_SECONDARY);
        case 2: return leave_note(swap->kind);
        default: return RESULT_OK;  // its mark closes the journal
    }
}

static result_t go_on(const struct open_swap *swap) {
    uint32_t data_steps = STEPS * swap->sectors;
    for (uint32_t index = 0; index < data_steps + FINAL_STEPS; index++) {
        result_t result = mark_get(swap, index);
        if (result_ok(result)) continue;
        if (result != RESULT_EMPTY) return result;
        result = index < data_steps ? do_step(index) : do_final_step(swap, index - data_steps);
        if (!result_ok(result)) return result;
        result = mark_set(swap, index);
        if (!result_ok(result)) return result;
    }
    return RESULT_OK;
}

// RESULT_OK if a swap is under way, RESULT_EMPTY if not.
static result_t find_open(struct open_swap *swap) {
    struct turn_head head;
    result_t result = turn_newest(&journal, &swap->journal_half, &head);
    if (!result_ok(result)) return result;
    swap->kind = (enum swap_kind)head.words[0];
    swap->sectors = head.words[1];
    bool sane = head.words[0] >= SWAP_TEST && head.words[0] <= SWAP_REVERT && swap->sectors <= SECTORS_MAX;
    if (!sane) return RESULT_EMPTY;
    result = mark_get(swap, STEPS * swap->sectors + FINAL_STEPS - 1);
    if (result == RESULT_EMPTY) return RESULT_OK;
    return result_ok(result) ? RESULT_EMPTY : result;
}

result_t swap_run(enum swap_kind kind, uint32_t bytes) {
    struct open_swap swap = {.kind = kind};
    uint32_t generation;
    swap.sectors = (smaller(bytes, slots[0].limit) + FLASH_ERASE_SIZE - 1) / FLASH_ERASE_SIZE;
    const uint32_t words[TURN_WORDS] = {(uint32_t)kind, swap.sectors};
    result_t result = turn_prepare(&journal, &swap.journal_half, &generation);
    if (!result_ok(result)) return result;
    result = turn_seal(&journal, swap.journal_half, generation, words);
    return result_ok(result) ? go_on(&swap) : result;
}

result_t swap_resume(enum swap_kind *kind) {
    struct open_swap swap;
    result_t result = find_open(&swap);
    if (!result_ok(result)) return result;
    *kind = swap.kind;
    return go_on(&swap);
}

result_t swap_abandon(void) {
    struct open_swap swap;
    result_t result = find_open(&swap);
    if (result == RESULT_EMPTY) return RESULT_OK;
    return result_ok(result) ? mark_set(&swap, STEPS * swap.sectors + FINAL_STEPS - 1) : result;
}
