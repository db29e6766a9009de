// SPDX-License-Identifier: Apache-2.0
// Flash as the core uses it: by area, checked, and read back. Programming bytes that are not erased is refused
// (a flash cannot do it), and so is any change of the area that the maker of the silicon wrote.
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
    AREA_PATCH,  // of size 0 where the board has none
    AREA_COUNT,
};

#define FLASH_ERASED 0xFFu
#define FLASH_CHUNK 512u  // bytes that are moved at once; on the stack of the mover
_Static_assert(FLASH_CHUNK % FLASH_PROGRAM_SIZE == 0 && FLASH_ERASE_SIZE % FLASH_CHUNK == 0, "chunks are whole pages");

uint32_t flash_area_size(enum area area);

result_t flash_read(enum area area, uint32_t offset, void *data, uint32_t length);

// Any length; split at the pages, each page read back.
result_t flash_program(enum area area, uint32_t offset, const void *data, uint32_t length);

// Whole sectors, read back.
result_t flash_erase(enum area area, uint32_t offset, uint32_t length);

// As flash_erase, but leaves sectors alone that are erased already: saves time and wear.
result_t flash_clear(enum area area, uint32_t offset, uint32_t length);

// RESULT_OK if all bytes are erased, RESULT_EMPTY if one is not.
result_t flash_blank(enum area area, uint32_t offset, uint32_t length);

#endif
