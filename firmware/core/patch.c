// SPDX-License-Identifier: Apache-2.0
// Judges patches; see patch.h. Applying them is the matter of delta_apply.c.
#include "patch.h"

#include "bytes.h"

result_t patch_fits(const struct image *patch, const uint8_t running[SHA256_SIZE]) {
    if (!patch->is_patch || AREA_PATCH_SIZE == 0) return RESULT_OF(ERROR_NOT_BOOTABLE);
    if (patch->patch_format != PATCH_FORMAT_DETOOLS) return RESULT_OF(ERROR_BAD_PATCH);
    if (patch->total_size > PATCH_ROOM) return RESULT_OF(ERROR_TOO_LARGE);
    return bytes_equal(patch->base, running, SHA256_SIZE) ? RESULT_OK : RESULT_OF(ERROR_WRONG_BASE);
}
