// SPDX-License-Identifier: Apache-2.0
// Vector table and first instructions on the Cortex-M4. Code runs from RAM, so .data lies where it is used already.
#include "port_entry.h"
#include "port_stack.h"
#include "registers.h"

extern uint32_t stack_top, bss_start, bss_end;

#define VECTORS (16u + UART5_IRQ + 1u)

_Noreturn void reset_entry(void) {
    for (uint32_t *word = &bss_start; word < &bss_end; word++) *word = 0;
    stack_paint();
    __asm__ volatile("cpsie i" ::: "memory");
    main();
    for (;;) {
    }
}

// A fault ends here. The board is started anew: an image under test is gone then, a confirmed one comes up again.
static void fault_entry(void) { SCB_AIRCR = AIRCR_RESET; }

__attribute__((section(".vectors"), used)) static const void *const vectors[VECTORS] = {
    [0] = &stack_top,
    [1] = (const void *)reset_entry,
    [2] = (const void *)fault_entry,
    [3] = (const void *)fault_entry,
    [4] = (const void *)fault_entry,
    [5] = (const void *)fault_entry,
    [6] = (const void *)fault_entry,
    [11] = (const void *)fault_entry,
    [15] = (const void *)tick_interrupt,
    [16 + UART5_IRQ] = (const void *)uart_interrupt,
};
