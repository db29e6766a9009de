// SPDX-License-Identifier: Apache-2.0
// The second image of the boards: what a radio beside the main processor would run. No emulator has that processor, so
// nobody executes this code; it is built, signed, swapped, verified and measured as any other image is, beside the app.
#include <stdint.h>

#define PREFIX "ASSAY-RADIO 1 name=" MODULE_NAME " version=" MODULE_VERSION

// Where a debugger of the radio finds out what it runs, and that it does.
struct radio_state {
    const char *says;
    volatile uint32_t beats;
};

extern struct radio_state radio_state;
_Noreturn void radio_entry(void);

struct radio_state radio_state = {.says = PREFIX};

__attribute__((used, section(".vectors"))) _Noreturn void radio_entry(void) {
    for (;;) radio_state.beats++;
}
