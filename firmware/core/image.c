// SPDX-License-Identifier: Apache-2.0
// Reads MCUboot images: header, TLVs, hash, signature. Every length is checked before it is used, and a TLV that
// decides something may occur once only. Which image to start is the matter of boot.c.
#include "image.h"

#include "bytes.h"
#include "slots.h"
#include "text.h"

#define HEADER_MAGIC 0x96F3B83Du
#define HEADER_BYTES 32u
#define INFO_BYTES 4u  // of the head of a TLV area, and of one TLV
#define INFO_MAGIC 0x6907u
#define INFO_MAGIC_PROTECTED 0x6908u
// Encrypted, compressed and fixed-address images are not for these boards; non-bootable ones are patches.
#define FLAG_NON_BOOTABLE 0x10u

enum tlv {
    TLV_KEY_HASH = 0x01,
    TLV_SHA256 = 0x10,
    TLV_ED25519 = 0x24,
    TLV_DEPENDENCY = 0x40,
    TLV_SECURITY_COUNTER = 0x50,
    TLV_BOOT_RECORD = 0x60,  // for an attestation that is made elsewhere: it decides nothing here
    TLV_BOARD = 0xA0,
    TLV_LOWEST_REVISION = 0xA1,
    TLV_NAME = 0xA2,
    TLV_PATCH_BASE = 0xA3,
    TLV_PATCH_GIVES = 0xA4,
    TLV_PATCH_FORMAT = 0xA5,
    TLV_IMAGE_NUMBER = 0xA6,
};

enum seen {
    SEEN_BOARD = 1,
    SEEN_REVISION = 2,
    SEEN_NAME = 4,
    SEEN_COUNTER = 8,
    SEEN_HASH = 16,
    SEEN_KEY = 32,
    SEEN_SIGNATURE = 64,
    SEEN_BASE = 128,
    SEEN_GIVES = 256,
    SEEN_FORMAT = 512,
    SEEN_NUMBER = 1024,
    SEEN_PATCH = SEEN_BASE | SEEN_GIVES | SEEN_FORMAT,
};

// The bytes of an image that nobody has verified yet are read to static memory only, never to the stack: one skipped
// instruction makes a read too long, and on the stack it would then choose where the bootloader returns to. For the same
// reason a source has a kind and no function of its own.
static result_t read_flash(const struct image_source *source, uint32_t offset, uint8_t *to, uint32_t length) {
    if (offset < source->overlay) {
        uint32_t part = smaller(length, source->overlay - offset);
        memcpy(to, source->memory + offset, part);
        to += part;
        offset += part;
        length -= part;
    }
    return length == 0 ? RESULT_OK : flash_read(source->area, offset, to, length);
}

result_t image_read(const struct image_source *source, uint32_t offset, void *data, uint32_t length) {
    if (offset > source->size || length > source->size - offset) return RESULT_OF(ERROR_BAD_HEADER);
    switch (source->kind) {
        case IMAGE_IN_RAM: memcpy(data, source->memory + offset, length); return RESULT_OK;
        case IMAGE_IN_FLASH: return read_flash(source, offset, data, length);
        default: return RESULT_FAIL;
    }
}

struct image_source image_in_ram(const void *memory, uint32_t size) {
    return (struct image_source){.kind = IMAGE_IN_RAM, .memory = memory, .size = size};
}

struct image_source image_in_flash(enum area area, uint32_t size) {
    return image_in_flash_under(area, size, 0, 0);
}

struct image_source image_in_flash_under(enum area area, uint32_t size, const void *memory, uint32_t overlay) {
    return (struct image_source){.kind = IMAGE_IN_FLASH, .memory = memory, .overlay = overlay, .area = area,
                                 .number = area == AREA_BOOT ? IMAGE_NUMBER_BOOTLOADER : slot_image(area),
                                 .size = size};
}

static result_t parse_header(const struct image_source *source, struct image *image) {
    static uint8_t header[HEADER_BYTES];
    result_t result = image_read(source, 0, header, sizeof header);
    if (!result_ok(result)) return result;
    if (le32(header) != HEADER_MAGIC) return RESULT_OF(ERROR_BAD_HEADER);
    uint32_t flags = le32(header + 16);
    if (le16(header + 8) != IMAGE_HEADER_SIZE) return RESULT_OF(ERROR_BAD_HEADER);
    if (flags != 0 && flags != FLAG_NON_BOOTABLE) return RESULT_OF(ERROR_BAD_HEADER);
    image->is_patch = flags == FLAG_NON_BOOTABLE;
    image->protected_size = le16(header + 10);
    image->body_size = le32(header + 12);
    image->version = (struct image_version){header[20], header[21], le16(header + 22), le32(header + 24)};
    uint32_t room = source->size - IMAGE_HEADER_SIZE;
    if (source->size < IMAGE_HEADER_SIZE || image->body_size > room) return RESULT_OF(ERROR_TOO_LARGE);
    if (image->protected_size > room - image->body_size) return RESULT_OF(ERROR_TOO_LARGE);
    return image->body_size == 0 ? RESULT_OF(ERROR_BAD_HEADER) : RESULT_OK;
}

// Reads a value of exactly `length` bytes that may occur once.
static result_t take(const struct image_source *source, uint32_t at, uint32_t length, uint32_t expected, void *value,
                     uint32_t *seen, uint32_t bit) {
    if (length != expected || (*seen & bit) != 0) return RESULT_OF(ERROR_BAD_HEADER);
    *seen |= bit;
    return image_read(source, at, value, expected);
}

static result_t take_number(const struct image_source *source, uint32_t at, uint32_t length, uint32_t *value,
                            uint32_t *seen, uint32_t bit) {
    static uint8_t raw[4];
    result_t result = take(source, at, length, sizeof raw, raw, seen, bit);
    if (result_ok(result)) *value = le32(raw);
    return result;
}

static result_t take_board(const struct image_source *source, uint32_t at, uint32_t length, uint32_t *seen) {
    static char board[sizeof BOARD_NAME - 1];
    if (length != sizeof board) return RESULT_OF(ERROR_BOARD_MISMATCH);
    result_t result = take(source, at, length, sizeof board, board, seen, SEEN_BOARD);
    if (!result_ok(result)) return result;
    return bytes_equal(board, BOARD_NAME, sizeof board) ? RESULT_OK : RESULT_OF(ERROR_BOARD_MISMATCH);
}

// MCUboot's struct image_dependency: number of the image, three bytes of padding, version.
static result_t take_dependency(const struct image_source *source, uint32_t at, uint32_t length, struct image *image) {
    static uint8_t raw[12];
    if (length != sizeof raw || image->dependency_count >= IMAGE_DEPENDENCIES_MAX) return RESULT_OF(ERROR_BAD_HEADER);
    result_t result = image_read(source, at, raw, sizeof raw);
    if (!result_ok(result)) return result;
    image->dependencies[image->dependency_count++] =
        (struct image_dependency){raw[0], {raw[4], raw[5], le16(raw + 6), le32(raw + 8)}};
    return RESULT_OK;
}

// Who signed a TLV that is unknown here meant something by it, so an image that bears one is not for this firmware.
static result_t take_protected(const struct image_source *source, uint32_t type, uint32_t at, uint32_t length,
                               struct image *image, uint32_t *seen) {
    switch (type) {
        case TLV_BOARD: return take_board(source, at, length, seen);
        case TLV_LOWEST_REVISION: return take_number(source, at, length, &image->lowest_revision, seen, SEEN_REVISION);
        case TLV_SECURITY_COUNTER: return take_number(source, at, length, &image->security_counter, seen, SEEN_COUNTER);
        case TLV_NAME:
            if (length > IMAGE_NAME_MAX) return RESULT_OF(ERROR_BAD_HEADER);
            return take(source, at, length, smaller(length, IMAGE_NAME_MAX), image->name, seen, SEEN_NAME);
        case TLV_PATCH_BASE: return take(source, at, length, SHA256_SIZE, image->base, seen, SEEN_BASE);
        case TLV_PATCH_GIVES: return take(source, at, length, SHA256_SIZE, image->gives, seen, SEEN_GIVES);
        case TLV_PATCH_FORMAT: return take_number(source, at, length, &image->patch_format, seen, SEEN_FORMAT);
        case TLV_IMAGE_NUMBER: return take_number(source, at, length, &image->number, seen, SEEN_NUMBER);
        case TLV_DEPENDENCY: return take_dependency(source, at, length, image);
        case TLV_BOOT_RECORD: return RESULT_OK;
        default: return RESULT_OF(ERROR_UNKNOWN_TLV);
    }
}

// No hash covers these, so they decide nothing but what they are compared with; unknown ones are skipped.
static result_t take_plain(const struct image_source *source, uint32_t type, uint32_t at, uint32_t length,
                           struct image *image, uint32_t *seen) {
    switch (type) {
        case TLV_SHA256: return take(source, at, length, SHA256_SIZE, image->hash, seen, SEEN_HASH);
        case TLV_KEY_HASH: return take(source, at, length, SHA256_SIZE, image->key_hash, seen, SEEN_KEY);
        case TLV_ED25519:
            return take(source, at, length, ED25519_SIGNATURE_SIZE, image->signature, seen, SEEN_SIGNATURE);
        default: return RESULT_OK;
    }
}

// Walks one TLV area that starts at `start`; gives its size with head. What decides must be in the right area:
// a board name outside the protected one is not covered by the hash, so it is not looked at.
static result_t parse_tlvs(const struct image_source *source, uint32_t start, uint16_t magic, struct image *image,
                           uint32_t *seen, uint32_t *size) {
    static uint8_t raw[INFO_BYTES];
    result_t result = image_read(source, start, raw, sizeof raw);
    if (!result_ok(result)) return result;
    *size = le16(raw + 2);
    if (le16(raw) != magic) return RESULT_OF(ERROR_BAD_HEADER);
    if (*size < INFO_BYTES || *size > source->size - start) return RESULT_OF(ERROR_WRONG_LENGTH);
    uint32_t at = start + INFO_BYTES;
    uint32_t end = start + *size;
    for (uint32_t count = 0; count < IMAGE_TLVS_MAX && at < end; count++) {
        if (end - at < INFO_BYTES) return RESULT_OF(ERROR_WRONG_LENGTH);
        result = image_read(source, at, raw, sizeof raw);
        if (!result_ok(result)) return result;
        uint32_t length = le16(raw + 2);
        at += INFO_BYTES;
        if (length > end - at) return RESULT_OF(ERROR_WRONG_LENGTH);
        bool protected = magic == INFO_MAGIC_PROTECTED;
        result = (protected ? take_protected : take_plain)(source, le16(raw), at, length, image, seen);
        if (!result_ok(result)) return result;
        at += length;
    }
    return at == end ? RESULT_OK : RESULT_OF(ERROR_BAD_HEADER);
}

// One key signs for all processors and stages. A bootloader may lack a number, since only the ROM starts it; in a slot
// its number is as wrong as the radio's.
static bool is_for(const struct image *image, const struct image_source *source) {
    if (source->number == IMAGE_NUMBER_BOOTLOADER && image->number == 0) return true;
    return image->number == source->number;
}

result_t image_parse(const struct image_source *source, struct image *image) {
    memset(image, 0, sizeof *image);
    result_t result = parse_header(source, image);
    if (!result_ok(result)) return result;
    uint32_t seen = 0, size = 0;
    uint32_t at = IMAGE_HEADER_SIZE + image->body_size;
    if (image->protected_size != 0) {
        result = parse_tlvs(source, at, INFO_MAGIC_PROTECTED, image, &seen, &size);
        if (!result_ok(result)) return result;
        if (size != image->protected_size) return RESULT_OF(ERROR_WRONG_LENGTH);
        at += size;
    }
    result = parse_tlvs(source, at, INFO_MAGIC, image, &seen, &size);
    if (!result_ok(result)) return result;
    image->total_size = at + size;
    image->has_counter = (seen & SEEN_COUNTER) != 0;
    image->has_key_hash = (seen & SEEN_KEY) != 0;
    image->has_signature = (seen & SEEN_SIGNATURE) != 0;
    // A patch says so twice, in the header and by its TLVs: nobody else's bootloader takes it for a program.
    if ((seen & SEEN_PATCH) != (image->is_patch ? SEEN_PATCH : 0u)) return RESULT_OF(ERROR_BAD_HEADER);
    if ((seen & SEEN_BOARD) == 0 || !is_for(image, source)) return RESULT_OF(ERROR_BOARD_MISMATCH);
    if ((seen & SEEN_HASH) == 0) return RESULT_OF(ERROR_BAD_HASH);
    if (image->lowest_revision > BOARD_REVISION) return RESULT_OF(ERROR_REVISION);
    for (uint32_t i = 0; i < image->dependency_count; i++) {
        if (image->dependencies[i].image >= IMAGE_COUNT) return RESULT_OF(ERROR_DEPENDENCY);
    }
    return RESULT_OK;
}

static result_t hash_source(const struct image_source *source, uint32_t length, uint8_t digest[SHA256_SIZE]) {
    static uint8_t chunk[FLASH_CHUNK];
    static struct sha256 hash;  // holds bytes of the image: never on the stack
    sha256_init(&hash);
    if (source->kind == IMAGE_IN_RAM) {
        if (length > source->size) return RESULT_OF(ERROR_BAD_HEADER);
        sha256_update(&hash, source->memory, length);
        length = 0;
    }
    for (uint32_t done = 0; done < length;) {
        uint32_t part = smaller(length - done, sizeof chunk);
        result_t result = image_read(source, done, chunk, part);
        if (!result_ok(result)) return result;
        sha256_update(&hash, chunk, part);
        done += part;
    }
    sha256_final(&hash, digest);
    return RESULT_OK;
}

result_t image_check_hash(const struct image_source *source, struct image *image) {
    uint8_t digest[SHA256_SIZE];
    result_t result = hash_source(source, IMAGE_HEADER_SIZE + image->body_size + image->protected_size, digest);
    if (!result_ok(result)) return result;
    bool same = bytes_equal(digest, image->hash, sizeof digest);
    memcpy(image->hash, digest, sizeof digest);
    return same ? RESULT_OK : RESULT_OF(ERROR_BAD_HASH);
}

// The DER head of an Ed25519 SubjectPublicKeyInfo (RFC 8410 section 4); imgtool hashes head and key for TLV 0x01.
static const uint8_t spki_head[12] = {0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00};

result_t image_check_signature(const struct image *image, const uint8_t key[ED25519_PUBLIC_SIZE]) {
    uint8_t key_hash[SHA256_SIZE];
    struct sha256 hash;
    if (!image->has_signature || !image->has_key_hash) return RESULT_OF(ERROR_BAD_SIGNATURE);
    sha256_init(&hash);
    sha256_update(&hash, spki_head, sizeof spki_head);
    sha256_update(&hash, key, ED25519_PUBLIC_SIZE);
    sha256_final(&hash, key_hash);
    if (!bytes_equal(key_hash, image->key_hash, sizeof key_hash)) return RESULT_OF(ERROR_BAD_SIGNATURE);
    uint32_t verified = ed25519_verify(image->signature, image->hash, SHA256_SIZE, key);
    return verified == CRYPTO_OK ? RESULT_OK : RESULT_OF(ERROR_BAD_SIGNATURE);
}

result_t image_load(enum area area, uint32_t area_limit, uint8_t *memory, uint32_t limit, struct image *image) {
    struct image_source source = image_in_flash(area, smaller(area_limit, limit));
    result_t result = image_parse(&source, image);
    return result_ok(result) ? flash_read(area, 0, memory, image->total_size) : result;
}

bool image_version_reaches(const struct image_version *version, const struct image_version *lowest) {
    if (version->major != lowest->major) return version->major > lowest->major;
    if (version->minor != lowest->minor) return version->minor > lowest->minor;
    return version->revision >= lowest->revision;
}

void image_version_text(const struct image_version *version, char *text) {
    struct text line = text_start(text, IMAGE_VERSION_TEXT);
    text_number(&line, version->major);
    text_add(&line, ".");
    text_number(&line, version->minor);
    text_add(&line, ".");
    text_number(&line, version->revision);
    if (version->build != 0) {
        text_add(&line, "+");
        text_number(&line, version->build);
    }
}
