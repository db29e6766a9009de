// SPDX-License-Identifier: Apache-2.0
// What a patch must be so that this board takes it, and the room that the board has for one.
#ifndef ASSAY_PATCH_H
#define ASSAY_PATCH_H

#include "image.h"

#define PATCH_TAIL 32u  // bytes at the end of the area, where delta_apply.c marks that it is done; a unit of any flash
#define PATCH_ROOM (AREA_PATCH_SIZE > PATCH_TAIL ? AREA_PATCH_SIZE - PATCH_TAIL : 0u)  // bytes; header to TLVs

// RESULT_OK if the patch is of a known format, has room here, and is for the image with hash `running`. Fails with
// not-bootable on a board without patches, bad-patch, too-large, wrong-base.
result_t patch_fits(const struct image *patch, const uint8_t running[SHA256_SIZE]);

#endif
