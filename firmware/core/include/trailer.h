// SPDX-License-Identifier: Apache-2.0
// The MCUboot trailer at the end of a slot: what should become of the image in it.
#ifndef ASSAY_TRAILER_H
#define ASSAY_TRAILER_H

#include "flash.h"

#define TRAILER_MAGIC_SIZE 16u

// MCUboot's BOOT_MAX_ALIGN: 8, or the write unit where that is larger.
#define TRAILER_UNIT (FLASH_WRITE_SIZE > 8u ? FLASH_WRITE_SIZE : 8u)
#define TRAILER_MAGIC_ROOM ((TRAILER_MAGIC_SIZE + TRAILER_UNIT - 1u) / TRAILER_UNIT * TRAILER_UNIT)
#define TRAILER_ROOM (TRAILER_MAGIC_ROOM + 4u * TRAILER_UNIT)  // bytes at the end of a slot: magic and four flags

enum mark { MARK_UNSET, MARK_SET, MARK_BAD };

struct trailer {
    enum mark magic, image_ok, copy_done;
    enum mark went_out;  // of a secondary slot: its image ran before the last swap
};

result_t trailer_read(enum area slot, struct trailer *trailer);

// True if these are the 16 bytes with which a trailer ends, for write units of any size.
bool trailer_ends_with(const uint8_t bytes[TRAILER_MAGIC_SIZE]);

// Asks for a swap at the next boot; `permanent` means without a test. What is in the way is erased first.
result_t trailer_request(enum area slot, bool permanent);

// Marks the running image as good. A mark that was cut before is left as it is: boot_table.c takes it for set.
result_t trailer_confirm(enum area slot);

// What the trailer of the primary slot says after a swap.
result_t trailer_swapped(enum area slot, bool confirmed);

// What the trailer of the secondary slot says after a swap: nothing is asked for, and its image ran before.
result_t trailer_went_out(enum area slot);

// Asks for nothing any more. That the image ran before is still said.
result_t trailer_withdraw(enum area slot);

result_t trailer_erase(enum area slot);

#endif
