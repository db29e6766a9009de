// SPDX-License-Identifier: Apache-2.0
// Checks with known answers: hand-off, cryptography, RAM, flash, clock, stack. A build with SELFTEST_FAULT=<code> holds
// a wrong reference value for that one check, as a bad release would: the check itself is the same.
#include "selftest.h"

#include "bytes.h"
#include "port.h"
#include "slots.h"

#ifndef SELFTEST_FAULT
#define SELFTEST_FAULT 0
#endif

enum check {
    CHECK_HANDOFF = 1,
    CHECK_VERSION,
    CHECK_SHA256,
    CHECK_ED25519,
    CHECK_RAM,
    CHECK_FLASH_ID,
    CHECK_IMAGE,
    CHECK_CLOCK,
    CHECK_STACK,
    CHECK_COUNT,
};

// Turns the first byte of a reference value over, in the build whose fault this is.
#define REFERENCE(check, byte) ((uint8_t)((byte) ^ (SELFTEST_FAULT == (check) ? 0xFF : 0)))

static bool check_handoff(const struct handoff *handoff) {
    return handoff->layout == REFERENCE(CHECK_HANDOFF, HANDOFF_LAYOUT) && handoff->state != STATE_NONE;
}

// What this code was built as is what the signed header said.
static bool check_version(const struct handoff *handoff) {
    char signed_version[IMAGE_VERSION_TEXT];
    char built[] = MODULE_VERSION;
    built[0] = (char)REFERENCE(CHECK_VERSION, built[0]);
    image_version_text(&handoff->app_version, signed_version);
    uint32_t length = text_length(signed_version, sizeof signed_version);
    return length == sizeof built - 1 && memcmp(built, signed_version, length) == 0;
}

// FIPS 180-2 appendix B.1: SHA-256 of "abc".
static bool check_sha256(const struct handoff *handoff) {
    static const uint8_t expected[SHA256_SIZE] = {
        REFERENCE(CHECK_SHA256, 0xBA), 0x78, 0x16, 0xBF, 0x8F, 0x01, 0xCF, 0xEA, 0x41, 0x41, 0x40,
        0xDE, 0x5D, 0xAE, 0x22, 0x23, 0xB0, 0x03, 0x61, 0xA3, 0x96, 0x17, 0x7A, 0x9C, 0xB4, 0x10,
        0xFF, 0x61, 0xF2, 0x00, 0x15, 0xAD};
    struct sha256 hash;
    uint8_t digest[SHA256_SIZE];
    (void)handoff;
    sha256_init(&hash);
    sha256_update(&hash, "abc", 3);
    sha256_final(&hash, digest);
    return bytes_equal(digest, expected, sizeof digest);
}

// RFC 8032 section 7.1, test 2: sign, compare, verify; and a changed message must not verify.
static bool check_ed25519(const struct handoff *handoff) {
    static const uint8_t seed[ED25519_SEED_SIZE] = {
        0x4C, 0xCD, 0x08, 0x9B, 0x28, 0xFF, 0x96, 0xDA, 0x9D, 0xB6, 0xC3, 0x46, 0xEC, 0x11, 0x4E, 0x0F,
        0x5B, 0x8A, 0x31, 0x9F, 0x35, 0xAB, 0xA6, 0x24, 0xDA, 0x8C, 0xF6, 0xED, 0x4F, 0xB8, 0xA6, 0xFB};
    static const uint8_t expected[8] = {REFERENCE(CHECK_ED25519, 0x92), 0xA0, 0x09, 0xA9, 0xF0, 0xD4, 0xCA, 0xB8};
    uint8_t message = 0x72;
    uint8_t signature[ED25519_SIGNATURE_SIZE], public_key[ED25519_PUBLIC_SIZE];
    (void)handoff;
    if (ed25519_public(public_key, seed) != CRYPTO_OK) return false;
    if (ed25519_sign(signature, &message, 1, seed) != CRYPTO_OK) return false;
    if (!bytes_equal(signature, expected, sizeof expected)) return false;
    if (ed25519_verify(signature, &message, 1, public_key) != CRYPTO_OK) return false;
    message ^= 1;
    return ed25519_verify(signature, &message, 1, public_key) != CRYPTO_OK;
}

// Each word holds its own number and then its complement: finds stuck bits and address lines of this block.
static bool check_ram(const struct handoff *handoff) {
    static volatile uint32_t block[1024];
    const uint32_t count = sizeof block / sizeof block[0];
    (void)handoff;
    for (uint32_t i = 0; i < count; i++) block[i] = i * 0x01010101u;
    for (uint32_t i = 0; i < count; i++) {
        if (block[i] != i * 0x01010101u) return false;
        block[i] = ~(i * 0x01010101u);
    }
    uint32_t last = ~((count - 1) * 0x01010101u);
    for (uint32_t i = 0; i < count; i++) {
        if (block[i] != ~(i * 0x01010101u)) return false;
    }
    return (uint8_t)block[count - 1] == REFERENCE(CHECK_RAM, last & 0xFF);
}

static bool check_flash_id(const struct handoff *handoff) {
    (void)handoff;
    return port_flash_known() == (REFERENCE(CHECK_FLASH_ID, 1) == 1);
}

// The image in the primary slot still is the one that was started.
static bool check_image(const struct handoff *handoff) {
    struct image image;
    struct image_source source = image_in_flash(AREA_PRIMARY, slots[0].limit);
    if (!result_ok(image_parse(&source, &image)) || !result_ok(image_check_hash(&source, &image))) return false;
    image.hash[0] = REFERENCE(CHECK_IMAGE, image.hash[0]);
    return bytes_equal(image.hash, handoff->app_hash, SHA256_SIZE);
}

// The clock moves within a time that no clock of these boards needs.
static bool check_clock(const struct handoff *handoff) {
    uint32_t start = port_millis();
    (void)handoff;
    for (uint32_t i = 0; i < 50000000u; i++) {
        if (port_millis() != start) return REFERENCE(CHECK_CLOCK, 1) == 1;
    }
    return false;
}

static bool check_stack(const struct handoff *handoff) {
    (void)handoff;
    return port_stack_whole() && port_stack_free() >= 1024u * REFERENCE(CHECK_STACK, 1);
}

static const struct {
    bool (*passes)(const struct handoff *handoff);
    const char *reason;
} checks[CHECK_COUNT] = {
    [CHECK_HANDOFF] = {check_handoff, "hand-off"},
    [CHECK_VERSION] = {check_version, "version differs from header"},
    [CHECK_SHA256] = {check_sha256, "sha256 known answer"},
    [CHECK_ED25519] = {check_ed25519, "ed25519 known answer"},
    [CHECK_RAM] = {check_ram, "ram pattern"},
    [CHECK_FLASH_ID] = {check_flash_id, "flash id"},
    [CHECK_IMAGE] = {check_image, "image hash over flash"},
    [CHECK_CLOCK] = {check_clock, "clock stands still"},
    [CHECK_STACK] = {check_stack, "stack"},
};
_Static_assert(SELFTEST_FAULT >= 0 && SELFTEST_FAULT < CHECK_COUNT, "SELFTEST_FAULT names a check, 1 to 9");

struct selftest_result selftest_run(const struct handoff *handoff) {
    for (uint32_t code = 1; code < CHECK_COUNT; code++) {
        if (!checks[code].passes(handoff)) return (struct selftest_result){code, checks[code].reason};
    }
    return (struct selftest_result){0, ""};
}
