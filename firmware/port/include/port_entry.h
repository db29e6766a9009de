// SPDX-License-Identifier: Apache-2.0
// What a port's start code and its driver code need of each other.
#ifndef ASSAY_PORT_ENTRY_H
#define ASSAY_PORT_ENTRY_H

int main(void);
_Noreturn void reset_entry(void);
void uart_interrupt(void);
void tick_interrupt(void);

#endif
