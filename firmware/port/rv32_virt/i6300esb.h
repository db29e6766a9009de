// SPDX-License-Identifier: Apache-2.0
// The watchdog of an Intel 6300ESB, on the PCI bus of the virt machine (QEMU: -device i6300esb).
#ifndef ASSAY_I6300ESB_H
#define ASSAY_I6300ESB_H

#include <stdint.h>

// From now on the machine resets unless the watchdog is fed within this time (at most 1000 s). Does nothing where there
// is none.
void i6300esb_start(uint32_t timeout_ms);

// Does nothing if it was not started by this stage or the one before.
void i6300esb_feed(void);

#endif
