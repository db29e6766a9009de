// SPDX-License-Identifier: Apache-2.0
// Applies patches, so that a power cut at any flash operation is made good at the next boot; see delta_apply.h.
//
// The patch is copied from the secondary slot to an area of its own, its first page last. When it verifies there, the
// work is open, and can be done anew from its start: it reads the primary slot and the patch area, which it does not
// change, and writes the secondary slot below its trailer, where the request stays as it was. When the image is whole
// and verified, a mark at the end of the area closes the work, and what follows is an update like any other.
#include "delta_apply.h"

#include "boot.h"
#include "bytes.h"
#include "delta.h"
#include "notes.h"
#include "patch.h"
#include "slots.h"
#include "text.h"
#include "trailer.h"
#include "upload.h"

#define MARK_AT PATCH_ROOM
#define NOTE_HASH_SHOWN 8u  // bytes
_Static_assert(AREA_PATCH_SIZE == 0 || AREA_PATCH_SIZE >= 2 * FLASH_ERASE_SIZE,
               "the mark lies in another sector than the header, which is erased first: an erase that is cut does not "
               "take the mark of a patch that is still there");

static struct {
    const uint8_t *key;
    const struct image *patch;
    struct delta delta;
    struct upload upload;
} work;

static struct image_source patch_area(void) { return image_in_flash(AREA_PATCH, PATCH_ROOM); }

// RESULT_OK if a patch is being applied, RESULT_EMPTY if not.
static result_t find_open(const uint8_t key[ED25519_PUBLIC_SIZE], struct image *patch) {
    struct image_source source = patch_area();
    if (!result_ok(flash_blank(AREA_PATCH, MARK_AT, PATCH_TAIL))) return RESULT_EMPTY;
    if (!result_ok(boot_verify_signed(&source, key, patch))) return RESULT_EMPTY;
    return patch->is_patch ? RESULT_OK : RESULT_EMPTY;
}

// A mark that was cut counts as set: it is only begun when the work is done.
static void set_closed(void) {
    uint8_t mark[PATCH_TAIL];
    memset(mark, 0x5A, sizeof mark);
    (void)flash_program(AREA_PATCH, MARK_AT, mark, sizeof mark);
}

// The image in the primary slot, measured now: `old` is what a patch is applied to.
static result_t measure_base(struct image *image, struct image_source *old) {
    *old = image_in_flash(AREA_PRIMARY, slots[0].limit);
    result_t result = image_parse(old, image);
    if (result_ok(result)) result = image_check_hash(old, image);
    if (!result_ok(result)) return result == RESULT_OF(ERROR_FLASH) ? result : RESULT_OF(ERROR_WRONG_BASE);
    old->size = image->total_size;
    return RESULT_OK;
}

static result_t copy_range(uint32_t from, uint32_t to) {
    static uint8_t chunk[FLASH_PROGRAM_SIZE];
    for (uint32_t at = from; at < to; at += sizeof chunk) {
        uint32_t part = smaller(to - at, sizeof chunk);
        result_t result = flash_read(AREA_SECONDARY, at, chunk, part);
        if (result_ok(result)) result = flash_program(AREA_PATCH, at, chunk, part);
        if (!result_ok(result)) return result;
    }
    return RESULT_OK;
}

// The old header goes first, the new one last.
static result_t copy_patch(const struct image *patch) {
    result_t result = flash_clear(AREA_PATCH, 0, AREA_PATCH_SIZE);
    if (result_ok(result)) result = copy_range(FLASH_PROGRAM_SIZE, patch->total_size);
    return result_ok(result) ? copy_range(0, FLASH_PROGRAM_SIZE) : result;
}

// Does the trailer ask for what lies in the secondary slot, and is it a patch?
static bool patch_is_asked_for(void) {
    struct trailer primary, secondary;
    static struct image image;
    struct image_source source = image_in_flash(AREA_SECONDARY, slots[0].limit);
    if (!result_ok(trailer_read(AREA_PRIMARY, &primary))) return false;
    if (!result_ok(trailer_read(AREA_SECONDARY, &secondary))) return false;
    enum boot_action action = boot_decide(&primary, &secondary);
    if (action != BOOT_SWAP_TEST && action != BOOT_SWAP_FOR_GOOD) return false;
    return result_ok(image_parse(&source, &image)) && image.is_patch;
}

// Verifies the patch in the secondary slot and takes it to its own area.
static result_t begin(const uint8_t key[ED25519_PUBLIC_SIZE], struct image *patch) {
    static struct image base;
    struct image_source old, source = image_in_flash(AREA_SECONDARY, slots[0].limit);
    result_t result = boot_verify_signed(&source, key, patch);
    if (result_ok(result)) result = measure_base(&base, &old);
    if (result_ok(result)) result = patch_fits(patch, base.hash);
    if (result_ok(result)) result = copy_patch(patch);
    if (!result_ok(result)) return result;
    source = patch_area();
    return boot_verify_signed(&source, key, patch);  // from now on the copy is what counts
}

static result_t judge(const struct image_source *source, struct image *image) {
    result_t result = boot_verify(source, work.key, image);
    if (!result_ok(result)) return result;
    return bytes_equal(image->hash, work.patch->gives, SHA256_SIZE) ? RESULT_OK : RESULT_OF(ERROR_BAD_HASH);
}

static result_t keep(void *context, const uint8_t *data, uint32_t length) {
    bool done;
    (void)context;
    return upload_take(&work.upload, data, length, &done);
}

// Decodes into the secondary slot. The image's first page goes last, after the whole of it was verified.
static result_t apply(const uint8_t key[ED25519_PUBLIC_SIZE], const struct image *patch) {
    static struct image base;
    struct image_source old, source = patch_area();
    memset(&work, 0, sizeof work);
    work.key = key;
    work.patch = patch;
    work.upload.slot = AREA_SECONDARY;
    work.upload.judge = judge;
    result_t result = measure_base(&base, &old);
    if (result_ok(result)) result = patch_fits(patch, base.hash);
    if (result_ok(result)) result = delta_open(&work.delta, &source, IMAGE_HEADER_SIZE, patch->body_size);
    if (result_ok(result)) result = upload_make(&work.upload, work.delta.size);
    if (result_ok(result)) result = delta_run(&work.delta, &old, keep, 0);
    if (!result_ok(result)) return result;
    return work.upload.complete ? RESULT_OK : RESULT_OF(ERROR_BAD_PATCH);
}

// "base>result", the start of both hashes: which patch it was stands in the note's own hash.
static void note_applied(const struct image *patch) {
    char reason[NOTE_REASON_MAX + 1];
    struct text line = text_start(reason, sizeof reason);
    text_hex(&line, patch->base, NOTE_HASH_SHOWN);
    text_add(&line, ">");
    text_hex(&line, patch->gives, NOTE_HASH_SHOWN);
    (void)note_write(NOTE_PATCHED, 0, patch->hash, reason);
}

static void refuse(result_t why, const struct image *patch) {
    uint32_t error = result_error(why);
    (void)note_write(NOTE_REFUSED, error, patch->hash, result_word(error));
    (void)trailer_erase(AREA_SECONDARY);
}

void delta_settle(const uint8_t key[ED25519_PUBLIC_SIZE]) {
    static struct image patch;
    if (AREA_PATCH_SIZE == 0) return;  // then a patch is refused as any image that cannot be started
    bool open = result_ok(find_open(key, &patch));
    if (!open && !patch_is_asked_for()) return;
    result_t result = RESULT_OK;
    if (!open) result = begin(key, &patch);
    if (result_ok(result)) result = apply(key, &patch);
    if (result_ok(result)) note_applied(&patch);
    else refuse(result, &patch);
    set_closed();  // also of a copy that did not verify: it may at the next boot, when nobody asks for it any more
}
