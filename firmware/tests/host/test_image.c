// SPDX-License-Identifier: Apache-2.0
// The image parser: every way to be wrong has its error, and no changed byte is accepted.
#include <stdlib.h>
#include <string.h>

#include "boot.h"
#include "check.h"
#include "host_port.h"
#include "image_maker.h"

#define BODY 700u
static uint8_t buffer[8192];

// A copy of exactly this size, so that the sanitizer sees a read behind it.
static result_t judge(const uint8_t *image, uint32_t size) {
    struct image parsed;
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, image, size);
    struct image_source source = image_in_ram(copy, size);
    result_t result = boot_verify(&source, test_key, &parsed);
    free(copy);
    return result;
}

static result_t judge_recipe(struct recipe recipe) {
    if (recipe.body_size == 0) recipe.body_size = BODY;
    return judge(buffer, make_image(&recipe, buffer));
}

#define GOOD .major = 1, .counter = 1, .board = BOARD_NAME, .lowest_revision = 1, .seed = test_seed

static void test_good_and_each_fault(void) {
    host_blank();
    CHECK(judge_recipe((struct recipe){GOOD}) == RESULT_OK);
    CHECK(judge_recipe((struct recipe){GOOD, .board = "other-board"}) == RESULT_OF(ERROR_BOARD_MISMATCH));
    CHECK(judge_recipe((struct recipe){GOOD, .board = "host-sin"}) == RESULT_OF(ERROR_BOARD_MISMATCH));
    CHECK(judge_recipe((struct recipe){GOOD, .board = "host-si"}) == RESULT_OF(ERROR_BOARD_MISMATCH));
    CHECK(judge_recipe((struct recipe){GOOD, .board = 0}) == RESULT_OF(ERROR_BOARD_MISMATCH));
    CHECK(judge_recipe((struct recipe){GOOD, .board_unprotected = true}) == RESULT_OF(ERROR_BOARD_MISMATCH));
    CHECK(judge_recipe((struct recipe){GOOD, .board_twice = true}) == RESULT_OF(ERROR_BAD_HEADER));
    CHECK(judge_recipe((struct recipe){GOOD, .lowest_revision = 2}) == RESULT_OK);
    CHECK(judge_recipe((struct recipe){GOOD, .lowest_revision = 3}) == RESULT_OF(ERROR_REVISION));
    CHECK(judge_recipe((struct recipe){GOOD, .seed = 0}) == RESULT_OF(ERROR_BAD_SIGNATURE));
    CHECK(judge_recipe((struct recipe){GOOD, .seed = other_seed}) == RESULT_OF(ERROR_BAD_SIGNATURE));
    CHECK(judge_recipe((struct recipe){GOOD, .without_counter = true}) == RESULT_OF(ERROR_BAD_HEADER));
    CHECK(judge_recipe((struct recipe){GOOD, .without_hash = true}) == RESULT_OF(ERROR_BAD_HASH));
}

// Of what nobody here knows, what is signed is refused, and what is not is passed over.
static void test_tlvs_that_are_unknown(void) {
    host_blank();
    CHECK(judge_recipe((struct recipe){GOOD, .protected_tlv = 0xB0, .tlv_length = 4}) == RESULT_OF(ERROR_UNKNOWN_TLV));
    CHECK(judge_recipe((struct recipe){GOOD, .protected_tlv = 0x74, .tlv_length = 16}) == RESULT_OF(ERROR_UNKNOWN_TLV));
    CHECK(judge_recipe((struct recipe){GOOD, .protected_tlv = 0x10, .tlv_length = 32}) == RESULT_OF(ERROR_UNKNOWN_TLV));
    CHECK(judge_recipe((struct recipe){GOOD, .protected_tlv = 0x60, .tlv_length = 30}) == RESULT_OK);
    CHECK(judge_recipe((struct recipe){GOOD, .plain_tlv = 0xB0, .tlv_length = 4}) == RESULT_OK);
    CHECK(judge_recipe((struct recipe){GOOD, .plain_tlv = 0x40, .tlv_length = 12}) == RESULT_OK);
    // Signed by the same key for the same board: a bootloader in a slot would run where it was not linked for.
    CHECK(judge_recipe((struct recipe){GOOD, .image = IMAGE_NUMBER_BOOTLOADER}) == RESULT_OF(ERROR_BOARD_MISMATCH));
}

// A signature is 64 bytes: one that is cut off, or has bytes behind it, never gets to the verifier.
static void test_signature_length(void) {
    host_blank();
    for (uint32_t length = 1; length < 96; length++) {
        result_t result = judge_recipe((struct recipe){GOOD, .signature_length = length});
        CHECK(result == (length == 64 ? RESULT_OK : RESULT_OF(ERROR_BAD_HEADER)));
    }
}

static void test_dependencies_are_read(void) {
    struct recipe good = {GOOD, .body_size = BODY, .dependencies = IMAGE_DEPENDENCIES_MAX, .depends_minor = 3};
    struct image parsed;
    host_blank();
    struct image_source source = image_in_ram(buffer, make_image(&good, buffer));
    CHECK(image_parse(&source, &parsed) == RESULT_OK && parsed.dependency_count == IMAGE_DEPENDENCIES_MAX);
    CHECK(parsed.dependencies[3].image == 0 && parsed.dependencies[3].lowest.major == 1);
    CHECK(parsed.dependencies[3].lowest.minor == 3 && parsed.dependencies[3].lowest.build == 0);
    good.dependencies++;
    CHECK(judge_recipe(good) == RESULT_OF(ERROR_BAD_HEADER));
    const struct recipe lonely = {GOOD, .dependencies = 1, .depends_on = IMAGE_COUNT};
    CHECK(judge_recipe(lonely) == RESULT_OF(ERROR_DEPENDENCY));
    CHECK(judge_recipe((struct recipe){GOOD, .protected_tlv = 0x40, .tlv_length = 8}) == RESULT_OF(ERROR_BAD_HEADER));
}

static void test_versions_are_compared(void) {
    static const struct image_version rising[] = {{0, 9, 9, 0}, {1, 0, 0, 0}, {1, 0, 1, 0}, {1, 2, 0, 0}, {2, 0, 0, 0}};
    for (uint32_t i = 0; i < 5; i++) {
        for (uint32_t k = 0; k < 5; k++) CHECK(image_version_reaches(&rising[i], &rising[k]) == (i >= k));
    }
    const struct image_version build = {1, 0, 0, 7};
    CHECK(image_version_reaches(&rising[1], &build));
}

#define PATCH .base = test_seed, .gives = other_seed, .patch_format = 1

static result_t judge_patch(struct recipe recipe) {
    struct image parsed;
    recipe.body_size = BODY;
    struct image_source source = image_in_ram(buffer, make_image(&recipe, buffer));
    result_t result = boot_verify_signed(&source, test_key, &parsed);
    if (!result_ok(result)) return result;
    bool said = parsed.is_patch && parsed.patch_format == 1 && memcmp(parsed.base, test_seed, 32) == 0 &&
                memcmp(parsed.gives, other_seed, 32) == 0;
    return said ? RESULT_OK : RESULT_FAIL;
}

// A patch is an image that verifies and is never started; one that says so in one place only is none.
static void test_patches(void) {
    host_blank();
    CHECK(judge_recipe((struct recipe){GOOD, PATCH}) == RESULT_OF(ERROR_NOT_BOOTABLE));
    CHECK(judge_patch((struct recipe){GOOD, PATCH}) == RESULT_OK);
    CHECK(judge_patch((struct recipe){GOOD, PATCH, .without_gives = true}) == RESULT_OF(ERROR_BAD_HEADER));
    CHECK(judge_patch((struct recipe){GOOD, PATCH, .without_flag = true}) == RESULT_OF(ERROR_BAD_HEADER));
    CHECK(judge_recipe((struct recipe){GOOD, .flag_alone = true}) == RESULT_OF(ERROR_BAD_HEADER));
    CHECK(judge_patch((struct recipe){GOOD, PATCH, .seed = other_seed}) == RESULT_OF(ERROR_BAD_SIGNATURE));
}

static void test_every_flipped_bit_is_refused(void) {
    uint32_t size = make_good(1, BODY, 1, buffer);
    CHECK(judge(buffer, size) == RESULT_OK);
    for (uint32_t bit = 0; bit < size * 8; bit++) {
        check_context("bit %u of byte %u", bit % 8, bit / 8);
        buffer[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK(judge(buffer, size) != RESULT_OK);
        buffer[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void test_every_truncation_is_refused(void) {
    uint32_t size = make_good(1, BODY, 1, buffer);
    for (uint32_t length = 0; length < size; length++) {
        check_context("%u of %u bytes", length, size);
        CHECK(judge(buffer, length) != RESULT_OK);
    }
}

static void test_random_bytes_are_refused(void) {
    host_seed(7);
    for (uint32_t run = 0; run < 3000; run++) {
        check_context("run %u", run);
        uint32_t size = make_good(1, BODY, 1, buffer);
        uint32_t changes = 1 + host_random() % 4;
        uint32_t from = run % 2 ? 0 : 0x200 + BODY;  // the TLVs are few bytes among many: half of the runs aim at them
        for (uint32_t i = 0; i < changes; i++) buffer[from + host_random() % (size - from)] = (uint8_t)host_random();
        uint32_t again = make_good(1, BODY, 1, buffer + 4096);
        bool changed = size != again || memcmp(buffer, buffer + 4096, size) != 0;
        CHECK((judge(buffer, size) == RESULT_OK) == !changed);
    }
}

static void test_lengths_at_their_ends(void) {
    static const uint32_t values[] = {0, 1, 0x1FF, 0x7FFFFFFF, 0x80000000, 0xFFFFFDFF, 0xFFFFFE00, 0xFFFFFFFF};
    for (uint32_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        uint32_t size = make_good(1, BODY, 1, buffer);
        check_context("body size 0x%x", values[i]);
        memcpy(buffer + 12, &values[i], 4);
        CHECK(judge(buffer, size) != RESULT_OK);
        size = make_good(1, BODY, 1, buffer);
        memcpy(buffer + 10, &values[i], 2);
        CHECK(judge(buffer, size) != RESULT_OK);
    }
}

static void test_version_text(void) {
    char text[IMAGE_VERSION_TEXT];
    struct image_version version = {255, 255, 65535, 4294967295u};
    image_version_text(&version, text);
    CHECK(strcmp(text, "255.255.65535+4294967295") == 0);
    version = (struct image_version){1, 0, 0, 0};
    image_version_text(&version, text);
    CHECK(strcmp(text, "1.0.0") == 0);
}

const struct test tests_image[] = {
    {"good_and_each_fault", test_good_and_each_fault},
    {"tlvs_that_are_unknown", test_tlvs_that_are_unknown},
    {"signature_length", test_signature_length},
    {"dependencies_are_read", test_dependencies_are_read},
    {"versions_are_compared", test_versions_are_compared},
    {"patches", test_patches},
    {"every_flipped_bit_is_refused", test_every_flipped_bit_is_refused},
    {"every_truncation_is_refused", test_every_truncation_is_refused},
    {"random_bytes_are_refused", test_random_bytes_are_refused},
    {"lengths_at_their_ends", test_lengths_at_their_ends},
    {"version_text", test_version_text},
    {0, 0},
};
