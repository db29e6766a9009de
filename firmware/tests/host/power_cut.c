// SPDX-License-Identifier: Apache-2.0
// Power cuts; see power_cut.h.
#include "power_cut.h"

#include <string.h>

uint32_t cuts_made;

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
