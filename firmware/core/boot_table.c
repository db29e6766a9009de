// SPDX-License-Identifier: Apache-2.0
// The boot decision as a table, read from the top; no row means: keep what is in the primary slot.
// The rows are those of MCUboot (swap type from magic and image_ok). A mark that is neither set nor erased was cut in
// the middle: a torn request is no request, and a torn confirmation is one, since it is only begun when all is well.
#include "boot_table.h"

enum { ANY = 3 };

struct row {
    unsigned char primary_magic, primary_ok, primary_copied, secondary_magic, secondary_ok, action;
};

static const struct row rows[] = {
    {ANY, ANY, ANY, MARK_SET, MARK_UNSET, BOOT_SWAP_TEST},
    {ANY, ANY, ANY, MARK_SET, MARK_SET, BOOT_SWAP_FOR_GOOD},
    {ANY, ANY, ANY, MARK_SET, MARK_BAD, BOOT_SWAP_TEST},
    {MARK_SET, MARK_UNSET, MARK_SET, MARK_UNSET, ANY, BOOT_REVERT},
    {MARK_SET, MARK_UNSET, MARK_SET, MARK_BAD, ANY, BOOT_REVERT},
};

static bool fits(unsigned char wanted, enum mark is) { return wanted == ANY || wanted == (unsigned char)is; }

enum boot_action boot_decide(const struct trailer *primary, const struct trailer *secondary) {
    for (uint32_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        if (fits(row->primary_magic, primary->magic) && fits(row->primary_ok, primary->image_ok) &&
            fits(row->primary_copied, primary->copy_done) && fits(row->secondary_magic, secondary->magic) &&
            fits(row->secondary_ok, secondary->image_ok))
            return (enum boot_action)row->action;
    }
    return BOOT_KEEP;
}

enum boot_state boot_state_of(const struct trailer *primary) {
    return primary->magic == MARK_SET && primary->image_ok == MARK_UNSET ? STATE_TESTING : STATE_CONFIRMED;
}
