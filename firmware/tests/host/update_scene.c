// SPDX-License-Identifier: Apache-2.0
// One unit and its update; see update_scene.h.
#include "update_scene.h"

#include <string.h>

#include "counter.h"
#include "host_port.h"
#include "image_maker.h"
#include "port.h"
#include "power_cut.h"
#include "trailer.h"

#define ROUNDS_MAX 8u  // boots within which an update must be done

uint8_t old_image[AREA_PRIMARY_SIZE], new_image[AREA_PRIMARY_SIZE];
uint32_t old_size, new_size;

void ready_for_test(void) {
    old_size = make_good(OLD_VERSION, BODY_OLD, 1, old_image);
    new_size = make_good(NEW_VERSION, BODY_NEW, 2, new_image);
    blank_chip();
    memcpy(host_flash + AREA_PRIMARY_OFFSET, old_image, old_size);
    memcpy(host_flash + AREA_SECONDARY_OFFSET, new_image, new_size);
    host_power_on();
    (void)counter_raise(0, 1);
    (void)trailer_request(AREA_SECONDARY, false);
}

result_t boot(struct boot_choice *choice) { return boot_choose(test_key, choice); }

void do_boot(void) {
    struct boot_choice choice;
    (void)boot(&choice);
}

bool is_good(const struct boot_choice *choice) {
    uint8_t major = choice->image.version.major;
    const uint8_t *image = major == OLD_VERSION ? old_image : new_image;
    uint32_t size = major == OLD_VERSION ? old_size : new_size;
    return choice->loaded == size && memcmp(port_memory(RAM_APP_BASE), image, size) == 0 &&
           result_ok(boot_verify_again(test_key, choice));
}

bool complete_update(void) {
    struct boot_choice choice;
    for (uint32_t round = 0; round < ROUNDS_MAX; round++) {
        host_power_on();
        if (!result_ok(boot(&choice)) || !is_good(&choice)) return false;
        if (choice.image.version.major == OLD_VERSION) {
            if (choice.state != STATE_CONFIRMED) return false;
            if (!result_ok(trailer_request(AREA_SECONDARY, false))) return false;
        } else if (choice.state == STATE_TESTING) {
            if (!result_ok(trailer_confirm(AREA_PRIMARY)) || !result_ok(counter_raise(0, 2))) return false;
        } else {
            uint32_t counter;
            return result_ok(counter_read(0, &counter)) && counter == 2;
        }
    }
    return false;
}

bool both_whole(void) {
    const uint8_t *primary = host_flash + AREA_PRIMARY_OFFSET, *secondary = host_flash + AREA_SECONDARY_OFFSET;
    bool plain = memcmp(primary, old_image, old_size) == 0 && memcmp(secondary, new_image, new_size) == 0;
    bool swapped = memcmp(primary, new_image, new_size) == 0 && memcmp(secondary, old_image, old_size) == 0;
    return plain || swapped;
}
