// SPDX-License-Identifier: Apache-2.0
// The second decision, just before the jump: it must not believe the first one, nor the verifier.
#include <string.h>

#include "boot.h"
#include "check.h"
#include "host_port.h"
#include "image_maker.h"
#include "loose_verifier.h"
#include "port.h"
#include "power_cut.h"

#define BODY_BYTES 1000u

static struct boot_choice choice;

// A unit with one good image, after its first decision.
static void choose(void) {
    static uint8_t image[AREA_PRIMARY_SIZE];
    uint32_t size = make_good(1, BODY_BYTES, 1, image);
    blank_chip();
    memcpy(host_flash + AREA_PRIMARY_OFFSET, image, size);
    host_power_on();
    CHECK(result_ok(boot_choose(test_key, &choice)));
    CHECK(choice.loaded == size);
}

static bool is_started(void) { return result_ok(boot_verify_again(test_key, &choice)); }

static void test_good_image(void) {
    choose();
    CHECK(is_started());
    CHECK(is_started());  // it changed nothing
}

static void test_changed_in_ram(void) {
    uint8_t *loaded = port_memory(RAM_APP_BASE);
    choose();
    for (uint32_t at = 0; at < choice.loaded; at += 7) {
        loaded[at] ^= 0x10;
        CHECK(!is_started());
        loaded[at] ^= 0x10;
    }
    CHECK(is_started());
}

// A right image, so that nothing but the verifier can be the reason.
static void test_verifier_that_accepts_anything(void) {
    choose();
    verifier_mood = VERIFIER_ACCEPTS_ANYTHING;
    CHECK(!is_started());
    verifier_mood = VERIFIER_RIGHT;
    CHECK(is_started());
}

static void test_verifier_that_says_neither(void) {
    choose();
    verifier_mood = VERIFIER_SAYS_NEITHER;
    CHECK(!is_started());
    verifier_mood = VERIFIER_RIGHT;
    CHECK(is_started());
}

const struct test tests_second_decision[] = {
    {"good_image", test_good_image},
    {"changed_in_ram", test_changed_in_ram},
    {"verifier_that_accepts_anything", test_verifier_that_accepts_anything},
    {"verifier_that_says_neither", test_verifier_that_says_neither},
    {0, 0},
};
