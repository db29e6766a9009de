// SPDX-License-Identifier: Apache-2.0
// Receives an image into a slot, chunk by chunk. The first page is programmed last, after everything was checked, so
// that a half-written image is never bootable.
#ifndef ASSAY_UPLOAD_H
#define ASSAY_UPLOAD_H

#include "image.h"

// Judges the whole image before its first page is programmed.
typedef result_t (*upload_judge)(const struct image_source *source, struct image *image);

struct upload {
    uint32_t image;  // its number
    enum area slot;
    upload_judge judge;
    bool active, complete;  // under way; ended well
    uint32_t length, reached;  // bytes
    bool has_sha;
    uint8_t sha[SHA256_SIZE];  // of all bytes; names the upload
    struct sha256 hash;        // of those that came
    uint8_t first[FLASH_PROGRAM_SIZE];  // the first page
    uint8_t page[FLASH_PROGRAM_SIZE];   // the page that is being filled
};

// Starts an upload, or finds that it is the one under way or just ended (same sha, same length), or that the slot holds
// that file already (then nothing changes), or that a reset broke it off: then it goes on at `reached`. `sha` may be
// null. Fails with too-large.
result_t upload_begin(struct upload *upload, uint32_t length, const uint8_t *sha);

// The same for an image that the device makes itself: it has no name, and the slot's trailer stays as it is.
result_t upload_make(struct upload *upload, uint32_t length);

// Takes bytes at `reached`. After the last one the image is checked; `done` says that it is in the slot, whole.
result_t upload_take(struct upload *upload, const uint8_t *data, uint32_t length, bool *done);

// Erases the slot, header first, and forgets the upload, also one before a reset.
result_t upload_erase(struct upload *upload, enum area slot);

#endif
