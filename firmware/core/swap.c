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
#define FINAL_OF_IMAGE 3u  // trailer of the primary slot, trailer of the secondary slot, note
#define FINAL_STEPS (FINAL_OF_IMAGE * IMAGE_COUNT + 1u)  // and closed
#define SMALLER(a, b) ((a) < (b) ? (a) : (b))
#define SECTORS_MAX \
    ((SMALLER(AREA_PRIMARY_SIZE, AREA_SECONDARY_SIZE) + SMALLER(AREA_RADIO_PRIMARY_SIZE, AREA_RADIO_SECONDARY_SIZE)) / \
     FLASH_ERASE_SIZE)
_Static_assert(MARKS_AT % FLASH_WRITE_SIZE == 0 &&
                   MARKS_AT + (STEPS * SECTORS_MAX + FINAL_STEPS) * FLASH_WRITE_SIZE <= AREA_STATUS_SIZE / 2,
               "the journal fits a half");
_Static_assert(1 + 2 * IMAGE_COUNT <= TURN_WORDS, "kind, sectors and what went out fit the head");

static const struct turn journal = {AREA_STATUS, 0x50575341u};  // "ASWP"

struct open_swap {
    enum swap_kind kind;
    uint32_t sectors[IMAGE_COUNT];  // of each image; 0 if it stays
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
    static uint8_t chunk[FLASH_CHUNK];
    result_t result = flash_erase(to, to_at, FLASH_ERASE_SIZE);
    for (uint32_t at = 0; result_ok(result) && at < FLASH_ERASE_SIZE; at += FLASH_CHUNK) {
        result = flash_read(from, from_at + at, chunk, sizeof chunk);
        if (!result_ok(result)) return result;
        if (bytes_are(chunk, FLASH_ERASED, sizeof chunk)) continue;
        result = flash_program(to, to_at + at, chunk, sizeof chunk);
    }
    return result;
}

static uint32_t data_steps(const struct open_swap *swap) {
    uint32_t sectors = 0;
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) sectors += swap->sectors[i];
    return STEPS * sectors;
}

// One image after the other, through the same scratch sector.
static result_t do_step(const struct open_swap *swap, uint32_t index) {
    uint32_t image = 0, sector = index / STEPS;
    while (image + 1 < IMAGE_COUNT && sector >= swap->sectors[image]) sector -= swap->sectors[image++];
    uint32_t at = sector * FLASH_ERASE_SIZE;
    switch (index % STEPS) {
        case 0: return copy_sector(slots[image].secondary, at, AREA_SCRATCH, 0);
        case 1: return copy_sector(slots[image].primary, at, slots[image].secondary, at);
        default: return copy_sector(AREA_SCRATCH, 0, slots[image].primary, at);
    }
}

// The note is a step of the journal, so that no cut loses it; a note that cannot be written does not stop the swap.
static result_t leave_note(enum swap_kind kind, uint32_t number) {
    static struct image image;
    bool reverted = kind == SWAP_REVERT;
    struct image_source about =
        image_in_flash(reverted ? slots[number].secondary : slots[number].primary, slots[number].limit);
    (void)image_parse(&about, &image);
    if (reverted) (void)note_write(NOTE_REVERTED, 0, image.hash, "not confirmed");
    else (void)note_write(NOTE_SWAPPED, 0, image.hash, kind == SWAP_TEST ? "for test" : "for good");
    return RESULT_OK;
}

// An image that went back is as it came: it may be asked for again, with the others.
static result_t set_secondary_trailer(enum swap_kind kind, enum area slot) {
    return kind == SWAP_REVERT ? trailer_erase(slot) : trailer_went_out(slot);
}

// The trailer of an image that stays is erased: it takes no part in this test. The app, image 0, comes last.
static result_t do_final_step(const struct open_swap *swap, uint32_t step) {
    if (step >= FINAL_OF_IMAGE * IMAGE_COUNT) return RESULT_OK;  // its mark closes the journal
    uint32_t image = IMAGE_COUNT - 1u - step / FINAL_OF_IMAGE;
    const struct slots *of = &slots[image];
    if (swap->sectors[image] == 0) {
        bool first = step % FINAL_OF_IMAGE == 0;
        return first ? flash_clear(of->primary, slot_trailer_at(of->primary), FLASH_ERASE_SIZE) : RESULT_OK;
    }
    switch (step % FINAL_OF_IMAGE) {
        case 0: return trailer_swapped(of->primary, swap->kind != SWAP_TEST);
        case 1: return set_secondary_trailer(swap->kind, of->secondary);
        default: return leave_note(swap->kind, image);
    }
}

// The step behind the last mark that is set. A mark before that one which reads as erased was cut and does not settle:
// its step is done, and must not be done again when later ones are.
static result_t find_step(const struct open_swap *swap, uint32_t *index) {
    for (*index = data_steps(swap) + FINAL_STEPS; *index > 0; (*index)--) {
        result_t result = mark_get(swap, *index - 1);
        if (result != RESULT_EMPTY) return result;
    }
    return RESULT_OK;
}

static result_t go_on(const struct open_swap *swap) {
    uint32_t data = data_steps(swap), index;
    result_t result = find_step(swap, &index);
    for (; result_ok(result) && index < data + FINAL_STEPS; index++) {
        result = index < data ? do_step(swap, index) : do_final_step(swap, index - data);
        if (result_ok(result)) result = mark_set(swap, index);
    }
    return result;
}

// RESULT_OK if a swap is under way, RESULT_EMPTY if not.
static result_t find_open(struct open_swap *swap) {
    struct turn_head head;
    result_t result = turn_newest(&journal, &swap->journal_half, &head);
    if (!result_ok(result)) return result;
    swap->kind = (enum swap_kind)head.words[0];
    bool sane = head.words[0] >= SWAP_TEST && head.words[0] <= SWAP_REVERT;
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        swap->sectors[i] = head.words[1 + i];
        if (swap->sectors[i] > slots[i].limit / FLASH_ERASE_SIZE) sane = false;
    }
    if (!sane) return RESULT_EMPTY;
    result = mark_get(swap, data_steps(swap) + FINAL_STEPS - 1);
    if (result == RESULT_EMPTY) return RESULT_OK;
    return result_ok(result) ? RESULT_EMPTY : result;
}

// What is in the secondary slot after this swap and ran before: nothing where an image goes back, and as before where it
// stays. 0 if it cannot be read.
static uint32_t goes_out(enum swap_kind kind, uint32_t number, bool moves) {
    static struct image image;
    struct image_source source = image_in_flash(slots[number].primary, slots[number].limit);
    struct turn_head head;
    uint32_t half;
    if (!moves) return result_ok(turn_newest(&journal, &half, &head)) ? head.words[1 + IMAGE_COUNT + number] : 0;
    return kind != SWAP_REVERT && result_ok(image_parse(&source, &image)) ? le32(image.hash) : 0;
}

result_t swap_run(enum swap_kind kind, const uint32_t bytes[IMAGE_COUNT]) {
    struct open_swap swap = {.kind = kind};
    uint32_t words[TURN_WORDS] = {(uint32_t)kind};
    uint32_t generation;
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        swap.sectors[i] = (smaller(bytes[i], slots[i].limit) + FLASH_ERASE_SIZE - 1) / FLASH_ERASE_SIZE;
        words[1 + i] = swap.sectors[i];
        words[1 + IMAGE_COUNT + i] = goes_out(kind, i, bytes[i] != 0);
    }
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

bool swap_took_out(uint32_t number, uint32_t hash_start) {
    struct turn_head head;
    uint32_t half;
    if (hash_start == 0 || !result_ok(turn_newest(&journal, &half, &head))) return false;
    return head.words[1 + IMAGE_COUNT + number] == hash_start;
}

bool swap_under_way(void) {
    struct open_swap swap;
    return find_open(&swap) != RESULT_EMPTY;
}

result_t swap_abandon(void) {
    struct open_swap swap;
    result_t result = find_open(&swap);
    if (result == RESULT_EMPTY) return RESULT_OK;
    return result_ok(result) ? mark_set(&swap, data_steps(&swap) + FINAL_STEPS - 1) : result;
}
