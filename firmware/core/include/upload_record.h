// SPDX-License-Identifier: Apache-2.0
// What a slot tells of the upload into it, so that an upload that a reset broke off goes on where it stopped: a record
// in the sector of the slot's trailer, before the trailer itself, with the name of the upload and its first page (which
// is not in its place before the end), and behind it a mark for each piece that is in its place, whole.
#ifndef ASSAY_UPLOAD_RECORD_H
#define ASSAY_UPLOAD_RECORD_H

#include "assay_crypto.h"
#include "flash.h"

struct upload_record {
    uint32_t magic;
    uint32_t length;  // bytes of the upload
    uint32_t from;    // the marks are about the pieces behind this offset; before it all is in its place
    uint8_t sha[SHA256_SIZE];
    uint8_t first[FLASH_PROGRAM_SIZE];
    uint32_t crc;  // over all before
};

// Writes the record of an upload whose first page is there, to a trailer's sector that is erased.
result_t upload_record_write(enum area slot, uint32_t length, const uint8_t sha[SHA256_SIZE],
                             const uint8_t first[FLASH_PROGRAM_SIZE]);

// Says that all bytes below `reached` are in their place; only at some offsets is that worth a mark.
result_t upload_record_mark(enum area slot, uint32_t reached);

// Finds the record of this very upload and the offset from which it goes on; what lies from there to the end of its
// sector is erased. RESULT_EMPTY if the upload begins anew.
result_t upload_record_resume(enum area slot, uint32_t length, const uint8_t sha[SHA256_SIZE], uint32_t *reached,
                              uint8_t first[FLASH_PROGRAM_SIZE]);

// From now on no upload goes on in this slot. Before its sectors are changed otherwise than by the upload.
result_t upload_record_close(enum area slot);

#endif
