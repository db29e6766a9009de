// SPDX-License-Identifier: Apache-2.0
// An upload over SMP; see smp_scene.h.
#include "smp_scene.h"

#include <string.h>

#include "assay_crypto.h"
#include "image_maker.h"
#include "smp_assay.h"
#include "smp_client.h"

uint8_t image[AREA_SECONDARY_SIZE], sha[32];
uint32_t image_size, image_number;

void name_upload(void) {
    struct sha256 hash;
    sha256_init(&hash);
    sha256_update(&hash, image, image_size);
    sha256_final(&hash, sha);
}

void prepare(void) {
    host_power_on();
    host_blank();
    memcpy(host_flash + AREA_OTP_OFFSET, "ASSYOTP10123456789abcdef", 24);
    (void)make_good(1, 5000, 1, host_flash + AREA_PRIMARY_OFFSET);
    image_size = make_good(2, 6000, 1, image);
    name_upload();
    assay_stage.state = STATE_CONFIRMED;
    smp_image_init(&app_image_stage);
}

void upload(uint32_t offset, uint32_t length, bool named) {
    struct cbor_writer *out = start_request(offset == 0 ? (named ? 5 : 4) : 2);
    cbor_put_number(out, "off", offset);
    cbor_put_bytes(out, "data", image + offset, length);
    if (offset == 0) {
        cbor_put_number(out, "image", image_number);
        cbor_put_number(out, "len", image_size);
        if (named) cbor_put_bytes(out, "sha", sha, 32);
    }
    ask(true, GROUP_IMAGE, 1);
}

uint32_t upload_from(uint32_t offset, uint32_t chunk) {
    while (offset < image_size) {
        uint32_t part = image_size - offset < chunk ? image_size - offset : chunk;
        upload(offset, part, true);
        if (error() != 0) return error();
        if (number("off") <= offset) return 996;
        offset = number("off");
    }
    return 0;
}

bool in_flash(void) { return memcmp(host_flash + AREA_SECONDARY_OFFSET, image, image_size) == 0; }
