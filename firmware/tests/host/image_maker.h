// SPDX-License-Identifier: Apache-2.0
// Makes MCUboot images for the tests, whole or wrong in one way. Written from the format, not from image.c.
#ifndef ASSAY_IMAGE_MAKER_H
#define ASSAY_IMAGE_MAKER_H

#include <stdbool.h>
#include <stdint.h>

struct recipe {
    uint8_t major, minor;
    uint32_t body_size;
    uint32_t counter;
    const char *board;  // null: without this TLV
    uint32_t lowest_revision;
    const uint8_t *seed;  // of the signing key; null: unsigned
    bool without_counter, without_hash, board_unprotected, board_twice, wrong_length;
    uint32_t protected_tlv, plain_tlv;  // types of TLVs to add, each with `tlv_length` bytes of zeros
    uint32_t tlv_length;
    uint32_t signature_length;  // of TLV 0x24; 0: as long as a signature is
    uint32_t dependencies;      // how often to say the one that follows
    uint32_t image;             // its number; 0: without this TLV
    uint8_t depends_on, depends_minor;  // number of an image, its lowest version 1.`depends_minor`.0
    // A patch, if `base` is there: TLVs 0x00A3 to 0x00A5, the payload `body`, and the flag of images that do not boot.
    const uint8_t *base, *gives, *body;
    uint32_t patch_format;
    bool without_gives, without_flag, flag_alone;
};

extern const uint8_t test_seed[32], other_seed[32];
extern uint8_t test_key[32];  // of test_seed

// Call once.
void image_maker_init(void);

// Returns the size of the image in `image`.
uint32_t make_image(const struct recipe *recipe, uint8_t *image);

// Version `major`.0, signed by test_seed, for this board.
uint32_t make_good(uint8_t major, uint32_t body_size, uint32_t counter, uint8_t *image);

#endif
