// SPDX-License-Identifier: Apache-2.0
// A power cut in the middle of what a test does.
#ifndef ASSAY_POWER_CUT_H
#define ASSAY_POWER_CUT_H

#include "host_port.h"

extern uint32_t cuts_made;

// A chip as its maker sells it.
void blank_chip(void);

// Runs `action` with the power going in operation `n`. True if it did go; false if `action` came to its end before.
bool cut(void (*action)(void), uint32_t n, enum tear tear);

#endif
