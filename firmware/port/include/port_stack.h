// SPDX-License-Identifier: Apache-2.0
// Measures the stack: painted at the start, counted later. The linker script gives its bounds.
#ifndef ASSAY_PORT_STACK_H
#define ASSAY_PORT_STACK_H

// Paints all of the stack below the caller's frame. To be called once, before main.
void stack_paint(void);

#endif
