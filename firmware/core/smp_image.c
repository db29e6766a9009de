// SPDX-License-Identifier: Apache-2.0
// The image group for both stages. It asks for swaps through the trailers; whether an image deserves one is decided by
// the bootloader.
#include "smp_image.h"

#include "bytes.h"
#include "crc.h"
#include "group.h"

static const struct smp_image_stage *stage;
static struct upload upload;

// As Zephyr numbers them: 0 and 1 are the slots of image 0, 2 and 3 those of image 1.
#define SLOTS (2u * IMAGE_COUNT)
static enum area slot_by_number(uint32_t number) {
    return number % 2u == 0 ? slots[number / 2u].primary : slots[number / 2u].secondary;
}

// The app takes an update into the secondary slot, recovery an image into the primary one.
static enum area upload_slot(uint32_t number) {
    return stage->running ? slots[number].secondary : slots[number].primary;
}

void smp_image_init(const struct smp_image_stage *of) {
    stage = of;
    memset(&upload, 0, sizeof upload);
    upload.slot = upload_slot(0);
    upload.judge = of->judge;
}

static result_t read_slot(enum area slot, struct image *image) {
    struct image_source source = image_in_flash(slot, slots[slot_image(slot)].limit);
    return image_parse(&source, image);
}

struct flags {
    bool pending, confirmed, active, permanent;
};

static result_t flags_of(enum area slot, struct flags *flags) {
    struct trailer primary, secondary;
    const struct slots *pair = &slots[slot_image(slot)];
    result_t result = trailer_read(pair->primary, &primary);
    if (result_ok(result)) result = trailer_read(pair->secondary, &secondary);
    if (!result_ok(result)) return result;
    enum boot_action next = boot_decide(&primary, &secondary);
    bool first = slot == pair->primary;
    bool testing = boot_state_of(&primary) == STATE_TESTING;
    *flags = (struct flags){
        .pending = !first && next != BOOT_KEEP && next != BOOT_REVERT,
        .confirmed = first ? !testing : next == BOOT_REVERT,
        .active = first && stage->running,
        .permanent = !first && next == BOOT_SWAP_FOR_GOOD,
    };
    return RESULT_OK;
}

static result_t put_slot(struct cbor_writer *answer, enum area slot, const struct image *image) {
    char version[IMAGE_VERSION_TEXT];
    struct flags flags;
    result_t result = flags_of(slot, &flags);
    if (!result_ok(result)) return result;
    image_version_text(&image->version, version);
    cbor_head(answer, CBOR_MAP, 9);
    uint32_t number = slot_image(slot);
    cbor_put_number(answer, "image", number);
    cbor_put_number(answer, "slot", slot == slots[number].primary ? 0 : 1);
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
    static struct image image;
    uint32_t count = 0;
    (void)request;
    for (uint32_t i = 0; i < SLOTS; i++) count += result_ok(read_slot(slot_by_number(i), &image)) ? 1u : 0u;
    cbor_head(answer, CBOR_MAP, 2);
    cbor_string(answer, "images");
    cbor_head(answer, CBOR_ARRAY, count);
    for (uint32_t i = 0; i < SLOTS && count != 0; i++) {
        if (!result_ok(read_slot(slot_by_number(i), &image))) continue;
        count--;
        result_t result = put_slot(answer, slot_by_number(i), &image);
        if (!result_ok(result)) return result;
    }
    cbor_put_number(answer, "splitStatus", 0);
    return count == 0 ? RESULT_OK : RESULT_OF(ERROR_FLASH);
}

static bool holds(enum area slot, const struct cbor_item *hash) {
    static struct image image;
    return result_ok(read_slot(slot, &image)) && bytes_equal(image.hash, hash->data, SHA256_SIZE);
}

static result_t confirm_running(void) {
    if (!stage->running) return RESULT_OF(ERROR_NOT_HERE);
    result_t result = group_confirm();
    if (result_ok(result) && stage->confirmed) stage->confirmed();
    return result;
}

// True if one of the images that are here, running or waiting, is what this one needs.
static bool can_be_met(const struct image_dependency *dependency) {
    const struct slots *on = &slots[dependency->image];
    const enum area places[2] = {on->primary, on->secondary};
    for (uint32_t i = 0; i < 2; i++) {
        static struct image image;
        if (!result_ok(read_slot(places[i], &image))) continue;
        if (image_version_reaches(&image.version, &dependency->lowest)) return true;
    }
    return false;
}

static result_t check_dependencies(enum area slot) {
    static struct image image;
    result_t result = read_slot(slot, &image);
    for (uint32_t i = 0; result_ok(result) && i < image.dependency_count; i++) {
        if (!can_be_met(&image.dependencies[i])) result = RESULT_OF(ERROR_DEPENDENCY);
    }
    return result;
}

// An image that was asked for before is not asked for again: the request lies in the trailer.
static result_t ask_for(enum area slot, bool permanent) {
    struct flags flags;
    result_t result = flags_of(slot, &flags);
    if (result_ok(result) && stage->may_change) result = stage->may_change();
    if (result_ok(result)) result = check_dependencies(slot);
    if (!result_ok(result)) return result;
    if (flags.pending && flags.permanent == permanent) return RESULT_OK;
    return trailer_request(slot, permanent);
}

static result_t set_state(const struct smp_request *request) {
    struct cbor_item hash;
    bool confirm = smp_get_bool(request, "confirm");
    bool named = cbor_find(request->body, request->length, "hash", &hash) && hash.type != CBOR_SIMPLE;
    if (!named) return confirm ? confirm_running() : RESULT_OF(ERROR_BAD_REQUEST);
    if (hash.type != CBOR_BYTES || hash.value != SHA256_SIZE) return RESULT_OF(ERROR_BAD_REQUEST);
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        if (!holds(slots[i].primary, &hash)) continue;
        if (confirm) return confirm_running();
        return stage->running ? RESULT_OF(ERROR_BUSY) : RESULT_OF(ERROR_NOT_HERE);  // it runs: nothing to test
    }
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        if (holds(slots[i].secondary, &hash)) return ask_for(slots[i].secondary, confirm);
    }
    return RESULT_OF(ERROR_NO_IMAGE);
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
    if (number >= IMAGE_COUNT) return RESULT_OF(ERROR_NO_IMAGE);
    bool named = smp_has(request, "sha");
    if (named) result = smp_get_bytes(request, "sha", SHA256_SIZE, SHA256_SIZE, &sha);
    if (result_ok(result) && stage->may_change) result = stage->may_change();
    if (!result_ok(result)) return result;
    if (number != upload.image) upload.active = upload.complete = false;
    upload.image = number;
    upload.slot = upload_slot(number);
    return upload_begin(&upload, length, named ? sha.data : 0);
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
    uint32_t slot = stage->running ? 1 : 0;
    if (smp_has(request, "slot") && !result_ok(smp_get_number(request, "slot", &slot)))
        return RESULT_OF(ERROR_BAD_REQUEST);
    if (slot >= SLOTS) return RESULT_OF(ERROR_BAD_REQUEST);
    if (slot % 2u == 0 && stage->running) return RESULT_OF(ERROR_NOT_HERE);
    result_t result = stage->may_change ? stage->may_change() : RESULT_OK;
    if (result_ok(result)) result = upload_erase(&upload, slot_by_number(slot));
    cbor_head(answer, CBOR_MAP, 0);
    return result;
}
