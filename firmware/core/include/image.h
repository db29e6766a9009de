// SPDX-License-Identifier: Apache-2.0
// MCUboot's image format, read and judged. An image comes from a source (RAM, or a flash area, perhaps with its first
// page still in a buffer), so that what is verified is what is used.
#ifndef ASSAY_IMAGE_H
#define ASSAY_IMAGE_H

#include "assay_crypto.h"
#include "flash.h"

#define IMAGE_HEADER_SIZE 0x200u  // bytes before the payload: room for an aligned vector table behind it
#define IMAGE_NAME_MAX 48u        // bytes of TLV 0x00A2
#define IMAGE_TLVS_MAX 32u        // entries that are looked at in one TLV area; imgtool writes six

struct image_version {
    uint8_t major, minor;
    uint16_t revision;
    uint32_t build;
};

#define IMAGE_DEPENDENCIES_MAX 4u
struct image_dependency {
    uint32_t image;  // number of the image that must be there
    struct image_version lowest;
};

struct image {
    struct image_version version;
    uint32_t body_size;       // payload bytes
    uint32_t protected_size;  // bytes of the protected TLV area
    uint32_t total_size;      // header to the end of the TLVs
    uint32_t security_counter;
    uint32_t lowest_revision;  // of the board
    uint32_t number;           // of the image on the board: what is signed for one processor is nothing for another
    uint32_t dependency_count;
    struct image_dependency dependencies[IMAGE_DEPENDENCIES_MAX];
    char name[IMAGE_NAME_MAX + 1];
    uint8_t hash[SHA256_SIZE];  // recomputed if image_check_hash passed, else what the TLV says
    uint8_t key_hash[SHA256_SIZE];
    uint8_t signature[ED25519_SIGNATURE_SIZE];
    bool has_signature, has_key_hash, has_counter;
    // A patch: the payload makes the image with hash `gives` out of the one with hash `base`. It is never started.
    bool is_patch;
    uint32_t patch_format;
    uint8_t base[SHA256_SIZE];
    uint8_t gives[SHA256_SIZE];
};

#define PATCH_FORMAT_DETOOLS 1u  // TLV 0x00A5: the `sequential` patch type of detools


#define IMAGE_NUMBER_BOOTLOADER 255u  // a bootloader is no app, whoever signed it

enum image_kind { IMAGE_IN_RAM = 0x3C5A, IMAGE_IN_FLASH = 0xA5C3 };

struct image_source {
    enum image_kind kind;
    const uint8_t *memory;  // RAM source: all bytes; overlay: the first `overlay` bytes
    uint32_t overlay;
    enum area area;
    uint32_t number;  // of the image: which one it has to be, and whose security counter holds
    uint32_t size;  // bytes that the image may have at most
};

struct image_source image_in_ram(const void *memory, uint32_t size);
struct image_source image_in_flash(enum area area, uint32_t size);
// As in flash, but the first `overlay` bytes come from `memory`: an image whose first page is not programmed yet.
struct image_source image_in_flash_under(enum area area, uint32_t size, const void *memory, uint32_t overlay);

// Any bytes of it; bad-header beyond its end.
result_t image_read(const struct image_source *source, uint32_t offset, void *data, uint32_t length);

// Reads header and TLVs. Fails with bad-header, too-large, wrong-length, unknown-tlv, board-mismatch, revision, or
// dependency (on an image that this board does not have); `image` holds what was read.
result_t image_parse(const struct image_source *source, struct image *image);

// Recomputes the SHA-256 over header, payload and protected TLVs; bad-hash if it is not that of TLV 0x10.
result_t image_check_hash(const struct image_source *source, struct image *image);

// Checks the Ed25519 signature over image->hash by this key; call it after image_check_hash. Fails with bad-signature.
result_t image_check_signature(const struct image *image, const uint8_t key[ED25519_PUBLIC_SIZE]);

// A copy in RAM: loads header to TLVs of the image in `area` to `memory`, at most `limit` bytes. `image` is what flash
// says of it, as far as it could be read; the copy is not judged yet.
result_t image_load(enum area area, uint32_t area_limit, uint8_t *memory, uint32_t limit, struct image *image);

// True if `version` is `lowest` or newer. As in MCUboot, the build number does not count.
bool image_version_reaches(const struct image_version *version, const struct image_version *lowest);

// "major.minor.revision", and "+build" if it is not 0: the one spelling of a version. `text` holds at least
// IMAGE_VERSION_TEXT bytes.
#define IMAGE_VERSION_TEXT 28u
void image_version_text(const struct image_version *version, char *text);

#endif
