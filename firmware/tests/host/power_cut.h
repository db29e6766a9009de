// SPDX-License-Identifier: Apache-2.0
// A power cut in the middle of what a test does.
#ifndef ASSAY_POWER_CUT_H
#define ASSAY_POWER_CUT_H

#include "host_port.h"

// Payloads that take some sectors of every board of host_boards.toml, or at least one.
#define BODY_OLD (FLASH_ERASE_SIZE > 4096 ? 9000u : 2 * FLASH_ERASE_SIZE + 700)
#define BODY_NEW                             \
    (FLASH_ERASE_SIZE > 16384  ? 14000u      \
     : FLASH_ERASE_SIZE > 4096 ? FLASH_ERASE_SIZE + 3000 : 3 * FLASH_ERASE_SIZE + 1700)

extern uint32_t cuts_made;

// A chip as its maker sells it.
void blank_chip(void);

// Runs `action` with the power going in operation `n`. True if it did go; false if `action` came to its end before.
bool cut(void (*action)(void), uint32_t n, enum tear tear);

// Every cut of an action, in every way, each from the chip as it is now, which stays in `start_of_cuts`:
//     for (struct cuts at = every_cut(); next_cut(&at, action);) { what must hold after cut `at.n`, `at.tear` }
struct cuts {
    uint32_t n;
    int tear;
    bool begun;
};
extern struct host_chip start_of_cuts;
struct cuts every_cut(void);
bool next_cut(struct cuts *cuts, void (*action)(void));

#endif
