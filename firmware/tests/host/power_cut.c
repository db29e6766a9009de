// SPDX-License-Identifier: Apache-2.0
// Power cuts; see power_cut.h.
#include "power_cut.h"

#include <string.h>

#include "check.h"

uint32_t cuts_made;
struct host_chip start_of_cuts;

void blank_chip(void) {
    host_blank();
    memcpy(host_flash + AREA_OTP_OFFSET, "ASSYOTP1chip-chip-chip-c", 24);
}

bool cut(void (*action)(void), uint32_t n, enum tear tear) {
    host_power_on();
    host_cut_at(n, tear);
    if (setjmp(host_power_lost) == 0) {
        action();
        host_power_on();
        return false;
    }
    cuts_made++;
    host_power_on();
    return true;
}

struct cuts every_cut(void) {
    start_of_cuts = host_chip;
    return (struct cuts){0, TEAR_BEFORE, false};
}

bool next_cut(struct cuts *cuts, void (*action)(void)) {
    cuts->n += cuts->begun;
    for (cuts->begun = true; cuts->tear < TEAR_COUNT; cuts->tear++, cuts->n = 0) {
        check_context("cut in operation %u, tear %d", cuts->n, cuts->tear);
        host_chip = start_of_cuts;
        host_seed(cuts->n * 4 + (uint32_t)cuts->tear + 1);
        if (cut(action, cuts->n, (enum tear)cuts->tear)) return true;
    }
    return false;
}
