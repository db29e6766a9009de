// SPDX-License-Identifier: Apache-2.0
// Flash as the core uses it: by area, checked, and read back. Programming bytes that are not erased is refused
// (a flash cannot do it), and so is any change of the area that the maker of the silicon wrote. What the flash is like
// (sectors, pages, write units, the value of an erased byte) comes from the board's TOML, in board_layout.h.
#ifndef ASSAY_FLASH_H
#define ASSAY_FLASH_H

#include "board_layout.h"
#include "result.h"

enum area {
    AREA_BOOT,
    AREA_PRIMARY,
    AREA_SECONDARY,
    AREA_SCRATCH,
    AREA_STATUS,
    AREA_COUNTERS,
    AREA_NOTES,
    AREA_IDENTITY,
    AREA_OTP,
    AREA_PATCH,          // of size 0 where the board has none
    AREA_RADIO_PRIMARY,  // of size 0 on a board with one image
    AREA_RADIO_SECONDARY,
    AREA_COUNT,
};

#define FLASH_CHUNK 512u  // bytes that are moved at once; never on the stack: see image.c
_Static_assert(FLASH_CHUNK % FLASH_PROGRAM_SIZE == 0 && FLASH_ERASE_SIZE % FLASH_CHUNK == 0, "chunks are whole pages");

#define FLASH_WRITE_MAX 32u  // bytes of the largest write unit: MCUboot's largest, and the size of a turn's head
_Static_assert(FLASH_WRITE_SIZE != 0 && (FLASH_WRITE_SIZE & (FLASH_WRITE_SIZE - 1)) == 0, "units are powers of two");
_Static_assert(FLASH_WRITE_SIZE <= FLASH_WRITE_MAX, "units are not larger than MCUboot has them");
_Static_assert(FLASH_PROGRAM_SIZE % FLASH_WRITE_SIZE == 0, "pages are whole units");
_Static_assert(FLASH_ERASED == 0xFF || FLASH_ERASED == 0x00, "erased bytes are all ones or all zeros");

// Rounds up to whole write units: what this many bytes take in flash.
#define FLASH_UNITS(bytes) (((bytes) + FLASH_WRITE_SIZE - 1u) / FLASH_WRITE_SIZE * FLASH_WRITE_SIZE)

uint32_t flash_area_size(enum area area);

result_t flash_read(enum area area, uint32_t offset, void *data, uint32_t length);

// Any length, from the start of a write unit; split at the pages, each page read back. The rest of the last unit is
// filled with erased bytes and cannot be programmed any more.
result_t flash_program(enum area area, uint32_t offset, const void *data, uint32_t length);

// Whole sectors, read back.
result_t flash_erase(enum area area, uint32_t offset, uint32_t length);

// As flash_erase, but leaves sectors alone that are erased already: saves time and wear.
result_t flash_clear(enum area area, uint32_t offset, uint32_t length);

// RESULT_OK if all bytes are erased, RESULT_EMPTY if one is not.
result_t flash_blank(enum area area, uint32_t offset, uint32_t length);

#endif
