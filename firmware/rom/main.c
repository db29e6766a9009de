// SPDX-License-Identifier: Apache-2.0
// The mask ROM: start the bootloader that is in flash, or receive one. It tells the bootloader what it measured.
#include "bytes.h"
#include "handoff.h"
#include "port.h"
#include "rom_loader.h"

int main(void) {
    struct image image;
    struct handoff handoff = {0};
    const char *reason;
    handoff.boots = handoff_boots() + 1;  // RAM outlives a reset, not a power cut
    port_init();
    if (!result_ok(rom_check_flash(&image, &reason))) rom_receive(reason, &image);
    memcpy(handoff.boot_hash, image.hash, sizeof handoff.boot_hash);
    memcpy(handoff.boot_name, image.name, sizeof handoff.boot_name);
    handoff.boot_version = image.version;
    handoff_write(&handoff, FILLED_BY_ROM);
    port_jump(RAM_BOOT_BASE, IMAGE_HEADER_SIZE);
}
