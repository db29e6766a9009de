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
        struct trailer primary = {(enum mark)(n % 3), (enum mark)(n / 3 % 3), (enum mark)(n / 9 % 3)};
        struct trailer secondary = {(enum mark)(n / 27 % 3), (enum mark)(n / 81 % 3), MARK_UNSET};
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
    static const uint8_t magic[16] = {0x77, 0xC2, 0x95, 0xF3, 0x60, 0xD2, 0xEF, 0x7F,
                                      0x35, 0x52, 0x50, 0x0F, 0x2C, 0xB6, 0x79, 0x80};
    uint8_t *end = host_flash + AREA_SECONDARY_OFFSET + AREA_SECONDARY_SIZE;
    struct trailer trailer;
    host_power_on();
    memset(host_flash, 0xFF, sizeof host_flash);
    CHECK(result_ok(trailer_request(AREA_SECONDARY, true)));
    CHECK(memcmp(end - 16, magic, 16) == 0 && end[-24] == 1 && end[-32] == 0xFF);
    CHECK(result_ok(trailer_request(AREA_SECONDARY, false)));
    CHECK(memcmp(end - 16, magic, 16) == 0 && end[-24] == 0xFF);
    end[-1] = 0;
    CHECK(result_ok(trailer_read(AREA_SECONDARY, &trailer)) && trailer.magic == MARK_BAD);
    CHECK(result_ok(trailer_swapped(AREA_PRIMARY, false)));
    CHECK(result_ok(trailer_read(AREA_PRIMARY, &trailer)));
    CHECK(trailer.magic == MARK_SET && trailer.copy_done == MARK_SET && trailer.image_ok == MARK_UNSET);
    CHECK(result_ok(trailer_confirm(AREA_PRIMARY)) && result_ok(trailer_confirm(AREA_PRIMARY)));
    CHECK(result_ok(trailer_read(AREA_PRIMARY, &trailer)) && trailer.image_ok == MARK_SET);
}

const struct test tests_boot_table[] = {
    {"all_combinations", test_all_combinations}, {"trailer_bytes", test_trailer_bytes}, {0, 0}};
