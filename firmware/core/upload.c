// SPDX-License-Identifier: Apache-2.0
// Uploads; see upload.h. Sectors are erased when the first byte for them comes, and what lies behind the image is
// erased at the end, so that a slot's content follows from the upload alone.
#include "upload.h"

#include "bytes.h"
#include "slots.h"
#include "trailer.h"
#include "upload_record.h"

static result_t hash_start(const struct image_source *source, uint32_t length, struct sha256 *hash) {
    static uint8_t chunk[FLASH_CHUNK];
    sha256_init(hash);
    for (uint32_t done = 0; done < length;) {
        uint32_t part = smaller(length - done, sizeof chunk);
        result_t result = image_read(source, done, chunk, part);
        if (!result_ok(result)) return result;
        sha256_update(hash, chunk, part);
        done += part;
    }
    return RESULT_OK;
}

static result_t check_sha(const struct image_source *source, uint32_t length, const uint8_t *sha) {
    uint8_t digest[SHA256_SIZE];
    static struct sha256 hash;  // holds bytes of the image: never on the stack
    result_t result = hash_start(source, length, &hash);
    if (!result_ok(result)) return result;
    sha256_final(&hash, digest);
    return bytes_equal(digest, sha, sizeof digest) ? RESULT_OK : RESULT_OF(ERROR_BAD_HASH);
}

// True when the slot holds this very file, from an upload before the last reset. The header's sizes are looked at
// first, so that another image costs no hash over the slot.
static bool there_already(const struct upload *upload, uint32_t length, const uint8_t *sha) {
    static struct image image;  // never on the stack: see image.c
    struct image_source source = image_in_flash(upload->slot, length);
    if (!result_ok(image_parse(&source, &image)) || image.total_size != length) return false;
    return result_ok(check_sha(&source, length, sha)) && result_ok(upload->judge(&source, &image));
}

static result_t check_length(const struct upload *upload, uint32_t length) {
    // As large as the slot: its end, where the trailer is, comes with it (imgtool --pad).
    if (length == flash_area_size(upload->slot)) return RESULT_OF(ERROR_LYING_TRAILER);
    bool fits = length > IMAGE_HEADER_SIZE && length <= slots[upload->image].limit;
    return fits ? RESULT_OK : RESULT_OF(ERROR_TOO_LARGE);
}

result_t upload_make(struct upload *upload, uint32_t length) {
    upload->active = upload->complete = upload->has_sha = false;
    result_t result = check_length(upload, length);
    if (result_ok(result)) result = upload_record_close(upload->slot);
    if (result_ok(result)) result = flash_clear(upload->slot, 0, FLASH_ERASE_SIZE);
    if (!result_ok(result)) return result;
    upload->length = length;
    upload->reached = 0;
    sha256_init(&upload->hash);
    upload->active = true;
    return RESULT_OK;
}

static void name(struct upload *upload, const uint8_t *sha) {
    upload->has_sha = sha != 0;
    if (sha) memcpy(upload->sha, sha, SHA256_SIZE);
}

// Goes on where a reset broke this very upload off.
static bool resume(struct upload *upload, uint32_t length, const uint8_t *sha) {
    uint32_t reached;
    if (!result_ok(upload_record_resume(upload->slot, length, sha, &reached, upload->first))) return false;
    struct image_source source = image_in_flash_under(upload->slot, length, upload->first, FLASH_PROGRAM_SIZE);
    if (!result_ok(hash_start(&source, reached, &upload->hash))) return false;
    upload->length = length;
    upload->reached = reached;
    name(upload, sha);
    upload->active = true;
    return true;
}

// A patch that could not be closed would be applied at the next boot, over what comes now.
static result_t drop_patch(enum area slot) {
    bool concerned = AREA_PATCH_SIZE != 0 && slot == AREA_SECONDARY;
    return concerned ? flash_clear(AREA_PATCH, 0, FLASH_ERASE_SIZE) : RESULT_OK;
}

static result_t clear_trailer(const struct upload *upload) {
    return flash_clear(upload->slot, slot_trailer_at(upload->slot), FLASH_ERASE_SIZE);
}

// Images that were asked for together go together: when one of them is about to be overwritten, nothing is asked for any
// more. Its own request is the last to go, so that a cut leaves one that is not complete and moves nothing.
static result_t withdraw_with(enum area slot) {
    struct trailer own, other;
    uint32_t image = slot_image(slot);
    if (slot != slots[image].secondary) return RESULT_OK;
    result_t result = trailer_read(slot, &own);
    for (uint32_t i = 0; i < IMAGE_COUNT && result_ok(result) && own.magic != MARK_UNSET; i++) {
        if (i == image) continue;
        result = trailer_read(slots[i].secondary, &other);
        if (result_ok(result) && other.magic != MARK_UNSET) result = trailer_withdraw(slots[i].secondary);
    }
    return result;
}

// First the header, then the trailer: what was in the slot is gone before anything new is.
static result_t begin_anew(struct upload *upload, uint32_t length, const uint8_t *sha) {
    result_t result = check_length(upload, length);
    if (result_ok(result)) result = withdraw_with(upload->slot);
    if (result_ok(result)) result = upload_make(upload, length);
    upload->active = false;
    if (result_ok(result)) result = clear_trailer(upload);
    if (!result_ok(result)) return result;
    name(upload, sha);
    upload->active = true;
    return RESULT_OK;
}

// What is uploaded to the slot that is started from is not under test, also if it need not be sent.
static result_t take_as_it_is(struct upload *upload, uint32_t length, const uint8_t *sha) {
    result_t result = upload->slot == slots[upload->image].primary ? clear_trailer(upload) : RESULT_OK;
    if (!result_ok(result)) return result;
    upload->length = upload->reached = length;
    name(upload, sha);
    upload->complete = true;
    return RESULT_OK;
}

result_t upload_begin(struct upload *upload, uint32_t length, const uint8_t *sha) {
    bool same = (upload->active || upload->complete) && upload->length == length && sha && upload->has_sha &&
                bytes_equal(upload->sha, sha, SHA256_SIZE);
    if (same) return RESULT_OK;
    upload->active = upload->complete = false;
    result_t result = drop_patch(upload->slot);
    if (!result_ok(result)) return result;
    if (!sha || length > slots[upload->image].limit) return begin_anew(upload, length, sha);
    if (there_already(upload, length, sha)) return take_as_it_is(upload, length, sha);
    return resume(upload, length, sha) ? RESULT_OK : begin_anew(upload, length, sha);
}

// The first page waits in RAM. Only an upload with a name can be found again.
static result_t keep_first_page(struct upload *upload, uint32_t used) {
    memcpy(upload->first, upload->page, used);
    if (!upload->has_sha) return RESULT_OK;
    return upload_record_write(upload->slot, upload->length, upload->sha, upload->first);
}

// Programs the page that ends at `reached`, and erases the sector first that it begins.
static result_t flush_page(struct upload *upload) {
    uint32_t used = (upload->reached - 1) % FLASH_PROGRAM_SIZE + 1;
    uint32_t at = upload->reached - used;
    if (at == 0) return keep_first_page(upload, used);
    result_t result = RESULT_OK;
    if (at % FLASH_ERASE_SIZE == 0) result = flash_clear(upload->slot, at, FLASH_ERASE_SIZE);
    if (result_ok(result)) result = flash_program(upload->slot, at, upload->page, used);
    bool marked = upload->has_sha && upload->reached < upload->length;
    return result_ok(result) && marked ? upload_record_mark(upload->slot, upload->reached) : result;
}

// Bytes behind the image, which no hash covers. A trailer among them would decide what becomes of the slot: that is
// asked for by its own command, and not by who made the image.
static result_t judge_rest(const struct image_source *source, uint32_t length) {
    uint8_t end[TRAILER_MAGIC_SIZE];
    result_t result = image_read(source, length - sizeof end, end, sizeof end);
    if (!result_ok(result)) return result;
    return RESULT_OF(trailer_ends_with(end) ? ERROR_LYING_TRAILER : ERROR_WRONG_LENGTH);
}

// Checks that what came is what was named, and then what lies in flash under the first page that is still in RAM; then
// programs that page. The first check was made while the line was busy: every page was read back after it was programmed.
static result_t finish(struct upload *upload) {
    static struct image image;
    struct image_source source = image_in_flash_under(upload->slot, upload->length, upload->first, FLASH_PROGRAM_SIZE);
    if (upload->has_sha) {
        uint8_t digest[SHA256_SIZE];
        sha256_final(&upload->hash, digest);
        if (!bytes_equal(digest, upload->sha, sizeof digest)) return RESULT_OF(ERROR_BAD_HASH);
    }
    result_t result = upload->judge(&source, &image);
    if (!result_ok(result)) return result;
    if (image.total_size != upload->length) return judge_rest(&source, upload->length);
    uint32_t tail = (upload->length + FLASH_ERASE_SIZE - 1) / FLASH_ERASE_SIZE * FLASH_ERASE_SIZE;
    result = flash_clear(upload->slot, tail, slot_trailer_at(upload->slot) - tail);
    return result_ok(result) ? flash_program(upload->slot, 0, upload->first, FLASH_PROGRAM_SIZE) : result;
}

result_t upload_take(struct upload *upload, const uint8_t *data, uint32_t length, bool *done) {
    result_t result = RESULT_OK;
    *done = false;
    if (!upload->active || length > upload->length - upload->reached) return RESULT_OF(ERROR_BAD_REQUEST);
    sha256_update(&upload->hash, data, length);
    for (uint32_t taken = 0; taken < length && result_ok(result);) {
        uint32_t at = upload->reached % FLASH_PROGRAM_SIZE;
        uint32_t part = smaller(length - taken, FLASH_PROGRAM_SIZE - at);
        memcpy(upload->page + at, data + taken, part);
        taken += part;
        upload->reached += part;
        if (at + part == FLASH_PROGRAM_SIZE || upload->reached == upload->length) result = flush_page(upload);
    }
    if (result_ok(result) && upload->reached < upload->length) return RESULT_OK;
    if (result_ok(result)) {
        result = finish(upload);
        if (!result_ok(result)) (void)upload_record_close(upload->slot);  // what came is not what was named
    }
    upload->active = false;
    upload->complete = *done = result_ok(result);
    return result;
}

result_t upload_erase(struct upload *upload, enum area slot) {
    upload->active = upload->complete = false;
    result_t result = withdraw_with(slot);
    if (result_ok(result)) result = drop_patch(slot);
    if (result_ok(result)) result = upload_record_close(slot);
    return result_ok(result) ? flash_clear(slot, 0, flash_area_size(slot)) : result;
}
