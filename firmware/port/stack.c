// SPDX-License-Identifier: Apache-2.0
// Stack measurement for both boards; see port_stack.h. The lowest word is the canary.
#include "port.h"
#include "port_stack.h"

#define PAINT 0x5354414Bu  // "KATS"
#define KEEP 256u          // bytes below this frame that are left alone

extern uint32_t stack_bottom, stack_top;

__attribute__((noinline)) void stack_paint(void) {
    uintptr_t end = (uintptr_t)__builtin_frame_address(0) - KEEP;
    for (volatile uint32_t *word = &stack_bottom; (uintptr_t)word < end; word++) *word = PAINT;
}

uint32_t port_stack_free(void) {
    const volatile uint32_t *word = &stack_bottom;
    while (word < &stack_top && *word == PAINT) word++;
    return (uint32_t)((uintptr_t)word - (uintptr_t)&stack_bottom);
}

bool port_stack_whole(void) { return *(volatile uint32_t *)&stack_bottom == PAINT; }
