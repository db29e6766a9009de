// SPDX-License-Identifier: Apache-2.0
// Reads and writes the hand-off; see handoff.h.
#include "handoff.h"

#include "bytes.h"
#include "crc.h"
#include "port.h"

#define CRC_BYTES (sizeof(struct handoff) - 4u)

static result_t read_any(struct handoff *handoff) {
    memcpy(handoff, port_memory(RAM_HANDOFF_BASE), sizeof *handoff);
    if (handoff->magic != HANDOFF_MAGIC || handoff->layout != HANDOFF_LAYOUT) return RESULT_EMPTY;
    if (handoff->crc != crc32(handoff, CRC_BYTES)) return RESULT_EMPTY;
    handoff->boot_name[IMAGE_NAME_MAX] = '\0';
    handoff->app_name[IMAGE_NAME_MAX] = '\0';
    return RESULT_OK;
}

result_t handoff_read(struct handoff *handoff, enum handoff_filler filler) {
    result_t result = read_any(handoff);
    return result_ok(result) && handoff->filled_by == filler ? RESULT_OK : RESULT_EMPTY;
}

void handoff_write(struct handoff *handoff, enum handoff_filler filler) {
    handoff->magic = HANDOFF_MAGIC;
    handoff->layout = HANDOFF_LAYOUT;
    handoff->filled_by = (uint8_t)filler;
    handoff->crc = crc32(handoff, CRC_BYTES);
    memcpy(port_memory(RAM_HANDOFF_BASE), handoff, sizeof *handoff);
}

uint32_t handoff_boots(void) {
    struct handoff handoff;
    return result_ok(read_any(&handoff)) ? handoff.boots : 0;
}

static uint8_t *image_place(void) { return (uint8_t *)port_memory(RAM_HANDOFF_BASE) + sizeof(struct handoff); }

static uint32_t image_crc(uint32_t before, const struct handoff_image *image) {
    return crc32_of(before, image, sizeof *image - 4u);
}

void handoff_write_image(struct handoff_image *image) {
    struct handoff handoff;
    bool there = result_ok(handoff_read(&handoff, FILLED_BY_BOOT));
    image->magic = HANDOFF_IMAGE_MAGIC;
    image->crc = image_crc(there ? handoff.crc : 0, image);
    memcpy(image_place(), image, sizeof *image);
}

result_t handoff_read_image(struct handoff_image *image) {
    struct handoff handoff;
    result_t result = handoff_read(&handoff, FILLED_BY_BOOT);
    if (!result_ok(result)) return result;
    memcpy(image, image_place(), sizeof *image);
    if (image->magic != HANDOFF_IMAGE_MAGIC || image->crc != image_crc(handoff.crc, image)) return RESULT_EMPTY;
    image->name[IMAGE_NAME_MAX] = '\0';
    return RESULT_OK;
}
