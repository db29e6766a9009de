// SPDX-License-Identifier: Apache-2.0
// The image group for both stages. It asks for swaps through the trailers; whether an image deserves one is decided by
// the bootloader.
#include "smp_image.h"

#include "bytes.h"
#include "crc.h"
#include "slots.h"

#define IMAGES 1u

static const struct smp_image_stage *stage;
static struct upload upload;

void smp_image_init(const struct smp_image_stage *of) {
    stage = of;
    memset(&upload, 0, sizeof upload);
    upload.slot = of->upload_slot;
    upload.judge = of->judge;
}

static result_t read_slot(enum area slot, struct image *image) {
    struct image_source source = image_in_flash(slot, slots[0].limit);
    return image_parse(&source, image);
}

struct flags {
    bool pending, confirmed, active, permanent;
};

static result_t flags_of(enum area slot, struct flags *flags) {
    struct trailer primary, secondary;
    result_t result = trailer_read(AREA_PRIMARY, &primary);
    if (result_ok(result)) result = trailer_read(AREA_SECONDARY, &secondary);
    if (!result_ok(result)) return result;
    enum boot_action next = boot_decide(&primary, &secondary);
    bool first = slot == AREA_PRIMARY;
    bool testing = boot_state_of(&primary) == STATE_TESTING;
    *flags = (struct flags){
        .pending = !first && next != BOOT_KEEP && next != BOOT_REVERT,
        .confirmed = first ? !testing : next == BOOT_REVERT,
        .active = first && stage->running,
        .permanent = !first && next == BOOT_SWAP_FOR_GOOD,
    };
    return RESULT_OK;
}

static result_t put_slot(struct cbor_writer *answer, uint32_t number, enum area slot, const struct image *image) {
    char version[IMAGE_VERSION_TEXT];
    struct flags flags;
    result_t result = flags_of(slot, &flags);
    if (!result_ok(result)) return result;
    image_version_text(&image->version, version);
    cbor_head(answer, CBOR_MAP, 9);
    cbor_put_number(answer, "image", 0);
    cbor_put_number(answer, "slot", number);
    cbor_put_string(answer, "version", version);
    cbor_put_bytes(answer, "hash", image->hash, sizeof image->hash);
    cbor_put_bool(answer, "bootable", !image->is_patch);
    cbor_put_bool(answer, "pending", flags.pending);
    cbor_put_bool(answer, "confirmed", flags.confirmed);
    cbor_put_bool(answer, "active", flags.active);
    cbor_put_bool(answer, "permanent", flags.permanent);
    return RESULT_OK;
}

// Slots without an image that can be read are left out, as Zephyr leaves them out.
result_t smp_image_state(const struct smp_request *request, struct cbor_writer *answer) {
    static const enum area both[2] = {AREA_PRIMARY, AREA_SECONDARY};
    struct image images[2];
    bool there[2];
    (void)request;
    for (uint32_t i = 0; i < 2; i++) there[i] = result_ok(read_slot(both[i], &images[i]));
    cbor_head(answer, CBOR_MAP, 2);
    cbor_string(answer, "images");
    cbor_head(answer, CBOR_ARRAY, (uint32_t)there[0] + (uint32_t)there[1]);
    for (uint32_t i = 0; i < 2; i++) {
        if (!there[i]) continue;
        result_t result = put_slot(answer, i, both[i], &images[i]);
        if (!result_ok(result)) return result;
    }
    cbor_put_number(answer, "splitStatus", 0);
    return RESULT_OK;
}

static bool holds(enum area slot, const struct cbor_item *hash) {
    struct image image;
    return result_ok(read_slot(slot, &image)) && bytes_equal(image.hash, hash->data, SHA256_SIZE);
}

static result_t confirm_running(void) {
    if (!stage->running) return RESULT_OF(ERROR_NOT_HERE);
    result_t result = trailer_confirm(AREA_PRIMARY);
    if (result_ok(result) && stage->confirmed) stage->confirmed();
    return result;
}

// An image that was asked for before is not asked for again: the request lies in the trailer.
static result_t ask_for(bool permanent) {
    struct flags flags;
    result_t result = flags_of(AREA_SECONDARY, &flags);
    if (result_ok(result) && stage->may_change) result = stage->may_change();
    if (!result_ok(result)) return result;
    if (flags.pending && flags.permanent == permanent) return RESULT_OK;
    return trailer_request(AREA_SECONDARY, permanent);
}

static result_t set_state(const struct smp_request *request) {
    struct cbor_item hash;
    bool confirm = smp_get_bool(request, "confirm");
    bool named = cbor_find(request->body, request->length, "hash", &hash) && hash.type != CBOR_SIMPLE;
    if (!named) return confirm ? confirm_running() : RESULT_OF(ERROR_BAD_REQUEST);
    if (hash.type != CBOR_BYTES || hash.value != SHA256_SIZE) return RESULT_OF(ERROR_BAD_REQUEST);
    if (holds(AREA_PRIMARY, &hash)) {
        if (confirm) return confirm_running();
        return stage->running ? RESULT_OF(ERROR_BUSY) : RESULT_OF(ERROR_NOT_HERE);  // it runs: nothing to test
    }
    return holds(AREA_SECONDARY, &hash) ? ask_for(confirm) : RESULT_OF(ERROR_NO_IMAGE);
}

result_t smp_image_set_state(const struct smp_request *request, struct cbor_writer *answer) {
    result_t result = set_state(request);
    return result_ok(result) ? smp_image_state(request, answer) : result;
}

// The first frame of an upload: names it, or finds it under way.
static result_t begin(const struct smp_request *request) {
    struct cbor_item sha;
    uint32_t length, number = 0;
    if (smp_has(request, "image") && !result_ok(smp_get_number(request, "image", &number)))
        return RESULT_OF(ERROR_BAD_REQUEST);
    result_t result = smp_get_number(request, "len", &length);
    if (!result_ok(result)) return result;
    if (number >= IMAGES) return RESULT_OF(ERROR_NO_IMAGE);
    bool named = smp_has(request, "sha");
    if (named) result = smp_get_bytes(request, "sha", SHA256_SIZE, SHA256_SIZE, &sha);
    if (result_ok(result) && stage->may_change) result = stage->may_change();
    return result_ok(result) ? upload_begin(&upload, length, named ? sha.data : 0) : result;
}

// Raw framing has no checksum, so a client may send one in the frame: CRC-32 over offset (4 bytes, little-endian) and
// data. A frame whose checksum is wrong was damaged on its way; its offset cannot be believed either.
static bool intact(const struct smp_request *request, uint32_t offset, const struct cbor_item *data) {
    uint32_t expected;
    if (!smp_has(request, "crc")) return true;
    uint8_t head[4] = {(uint8_t)offset, (uint8_t)(offset >> 8), (uint8_t)(offset >> 16), (uint8_t)(offset >> 24)};
    uint32_t crc = crc32_of(crc32(head, sizeof head), data->data, data->value);
    return result_ok(smp_get_number(request, "crc", &expected)) && expected == crc;
}

// A frame at another offset than the one reached is answered with that one: the client goes on from there. So frames
// that come twice, were damaged, or were sent ahead of a lost one, do no harm.
result_t smp_image_upload(const struct smp_request *request, struct cbor_writer *answer) {
    struct cbor_item data;
    uint32_t offset;
    bool done = false;
    result_t result = smp_get_number(request, "off", &offset);
    if (result_ok(result)) result = smp_get_bytes(request, "data", 0, SMP_PACKET_MAX, &data);
    if (!result_ok(result)) return result;
    bool whole = intact(request, offset, &data);
    if (whole && offset == 0) result = begin(request);
    if (!result_ok(result)) return result;
    if (!upload.active && !upload.complete) return RESULT_OF(ERROR_BAD_REQUEST);
    if (whole && offset == upload.reached && upload.active) result = upload_take(&upload, data.data, data.value, &done);
    if (!result_ok(result)) return result;
    done = upload.complete && upload.has_sha;
    cbor_head(answer, CBOR_MAP, done ? 3 : 2);
    cbor_put_number(answer, "rc", 0);
    cbor_put_number(answer, "off", upload.reached);
    if (done) cbor_put_bool(answer, "match", true);
    return RESULT_OK;
}

result_t smp_image_erase(const struct smp_request *request, struct cbor_writer *answer) {
    uint32_t slot = stage->upload_slot == AREA_PRIMARY ? 0 : 1;
    if (smp_has(request, "slot") && !result_ok(smp_get_number(request, "slot", &slot)))
        return RESULT_OF(ERROR_BAD_REQUEST);
    if (slot > 1) return RESULT_OF(ERROR_BAD_REQUEST);
    if (slot == 0 && stage->running) return RESULT_OF(ERROR_NOT_HERE);
    result_t result = stage->may_change ? stage->may_change() : RESULT_OK;
    if (result_ok(result)) result = upload_erase(&upload, slot == 0 ? AREA_PRIMARY : AREA_SECONDARY);
    cbor_head(answer, CBOR_MAP, 0);
    return result;
}
