// SPDX-License-Identifier: Apache-2.0
// The ROM's work: start the bootloader that is in flash, or receive one over the UART.
#ifndef ASSAY_ROM_LOADER_H
#define ASSAY_ROM_LOADER_H

#include "image.h"

// Copies the bootloader from flash to RAM and checks the copy. `reason` is one word for the banner.
result_t rom_check_flash(struct image *image, const char **reason);

// Checks what lies in RAM at RAM_BOOT_BASE.
result_t rom_check_ram(uint32_t size, struct image *image, const char **reason);

// Writes the checked image from RAM to flash, its first page last, and recomputes its hash over flash.
result_t rom_write(const struct image *image);

// Waits on the UART until a bootloader was received, checked and written; it lies in RAM then.
void rom_receive(const char *reason, struct image *image);

#endif
