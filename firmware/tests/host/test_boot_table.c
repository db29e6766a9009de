// SPDX-License-Identifier: Apache-2.0
// The boot decision for all 243 combinations of marks, against the rule in words.
#include <string.h>

#include "boot_table.h"
#include "check.h"
#include "host_port.h"

// A good magic in the secondary slot asks for a swap, for good if its image_ok is set. Without a request, a primary
// image that was swapped in and has no mark at all on its image_ok goes back. All else stays.
static enum boot_action rule(const struct trailer *primary, const struct trailer *secondary) {
    if (secondary->magic == MARK_SET) return secondary->image_ok == MARK_SET ? BOOT_SWAP_FOR_GOOD : BOOT_SWAP_TEST;
    bool tested = primary->magic == MARK_SET && primary->copy_done == MARK_SET;
    return tested && primary->image_ok == MARK_UNSET ? BOOT_REVERT : BOOT_KEEP;
}

static void test_all_combinations(void) {
    unsigned seen[4] = {0};
    for (unsigned n = 0; n < 243; n++) {
        struct trailer primary = {(enum mark)(n % 3), (enum mark)(n / 3 % 3), (enum mark)(n / 9 % 3), MARK_UNSET};
        struct trailer secondary = {(enum mark)(n / 27 % 3), (enum mark)(n / 81 % 3), MARK_UNSET, MARK_UNSET};
        check_context("combination %u", n);
        enum boot_action action = boot_decide(&primary, &secondary);
        CHECK(action == rule(&primary, &secondary));
        seen[action]++;
        enum boot_state state = boot_state_of(&primary);
        CHECK((state == STATE_TESTING) == (primary.magic == MARK_SET && primary.image_ok == MARK_UNSET));
    }
    CHECK(seen[BOOT_KEEP] == 156 && seen[BOOT_SWAP_TEST] == 54);
    CHECK(seen[BOOT_SWAP_FOR_GOOD] == 27 && seen[BOOT_REVERT] == 6);
}

static void test_trailer_bytes(void) {
    static const uint8_t small[16] = {0x77, 0xC2, 0x95, 0xF3, 0x60, 0xD2, 0xEF, 0x7F,
                                      0x35, 0x52, 0x50, 0x0F, 0x2C, 0xB6, 0x79, 0x80};
    static const uint8_t large[16] = {FLASH_WRITE_SIZE, 0, 0x2D, 0xE1, 0x5D, 0x29, 0x41, 0x0B,
                                      0x8D, 0x77, 0x67, 0x9C, 0x11, 0x0F, 0x1F, 0x8A};
    const uint8_t *magic = FLASH_WRITE_SIZE > 8 ? large : small;
    int image_ok = FLASH_WRITE_SIZE == 32 ? -64 : FLASH_WRITE_SIZE == 16 ? -32 : -24;  // as imgtool has it
    int copy_done = image_ok - (FLASH_WRITE_SIZE > 8 ? (int)FLASH_WRITE_SIZE : 8);
    uint8_t *end = host_flash + AREA_SECONDARY_OFFSET + AREA_SECONDARY_SIZE;
    struct trailer trailer;
    host_power_on();
    host_blank();
    CHECK(result_ok(trailer_request(AREA_SECONDARY, true)));
    CHECK(memcmp(end - 16, magic, 16) == 0 && end[image_ok] == 1 && end[copy_done] == FLASH_ERASED);
    CHECK(result_ok(trailer_request(AREA_SECONDARY, false)));
    CHECK(memcmp(end - 16, magic, 16) == 0 && end[image_ok] == FLASH_ERASED);
    end[-1] ^= 0x10;
    CHECK(result_ok(trailer_read(AREA_SECONDARY, &trailer)) && trailer.magic == MARK_BAD);
    CHECK(result_ok(trailer_swapped(AREA_PRIMARY, false)));
    CHECK(result_ok(trailer_read(AREA_PRIMARY, &trailer)));
    CHECK(trailer.magic == MARK_SET && trailer.copy_done == MARK_SET && trailer.image_ok == MARK_UNSET);
    CHECK(result_ok(trailer_confirm(AREA_PRIMARY)) && result_ok(trailer_confirm(AREA_PRIMARY)));
    CHECK(result_ok(trailer_read(AREA_PRIMARY, &trailer)) && trailer.image_ok == MARK_SET);
}

const struct test tests_boot_table[] = {
    {"all_combinations", test_all_combinations}, {"trailer_bytes", test_trailer_bytes}, {0, 0}};
