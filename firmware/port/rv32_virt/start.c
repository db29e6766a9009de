// SPDX-License-Identifier: Apache-2.0
// First instructions and trap handler on the RISC-V virt machine. Code runs from RAM, so .data lies where it is used.
#include "port_entry.h"
#include "port_stack.h"
#include "port.h"
#include "registers.h"

extern uint32_t bss_start, bss_end;

#define CAUSE_INTERRUPT 0x80000000u
#define CAUSE_TIMER (CAUSE_INTERRUPT | 7u)
#define CAUSE_EXTERNAL (CAUSE_INTERRUPT | 11u)
#define MSTATUS_MIE 8u

// An exception ends in a reset: an image under test is gone then, a confirmed one comes up again.
__attribute__((interrupt("machine"), aligned(4))) static void trap(void) {
    uint32_t cause;
    __asm__ volatile("csrr %0, mcause" : "=r"(cause));
    if (cause == CAUSE_EXTERNAL) uart_interrupt();
    else if (cause == CAUSE_TIMER) tick_interrupt();
    else port_reset();
}

__attribute__((used)) _Noreturn static void start(void) {
    for (volatile uint32_t *word = &bss_start; word < &bss_end; word++) *word = 0;
    stack_paint();
    __asm__ volatile("csrw mtvec, %0\n csrs mstatus, %1" ::"r"(trap), "r"(MSTATUS_MIE) : "memory");
    main();
    for (;;) {
    }
}

__attribute__((naked, used, section(".vectors"))) _Noreturn void reset_entry(void) {
    __asm__ volatile(
        "csrci mstatus, 8\n"
        "csrw mie, zero\n"
        "la sp, stack_top\n"
        "j %0\n" ::"i"(start));
}
