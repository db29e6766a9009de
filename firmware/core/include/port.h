// SPDX-License-Identifier: Apache-2.0
// All that the core asks of a board. A port implements it in about a page; the host tests have one too.
// Flash addresses count from the start of the flash chip. Times are milliseconds since the start of this stage.
#ifndef ASSAY_PORT_H
#define ASSAY_PORT_H

#include "result.h"

// Clock, UART and flash controller ready for use, interrupts on.
void port_init(void);

uint32_t port_millis(void);

// Sleeps until something happened, at most 100 ms.
void port_idle(void);

// Takes what the UART has received so far, at most `limit` bytes; returns how many, without waiting.
uint32_t port_uart_read(uint8_t *data, uint32_t limit);

void port_uart_write(const void *data, uint32_t length);

// Waits until the last byte has left the UART.
void port_uart_flush(void);

// Bytes that were received while there was no room for them.
uint32_t port_uart_lost(void);

result_t port_flash_read(uint32_t address, void *data, uint32_t length);

// Programs within one page. The core has checked that the bytes are erased.
result_t port_flash_program(uint32_t address, const void *data, uint32_t length);

// Erases the sector at this address.
result_t port_flash_erase(uint32_t address);

// True if the flash chip is the one that the board's TOML describes.
bool port_flash_known(void);

// Fills `data` from the board's source of entropy; fails after 2 s without an answer.
result_t port_entropy(uint8_t *data, uint32_t length);

_Noreturn void port_reset(void);

// From now on the board resets unless it is fed within 16 s. The bootloader starts it for an image under test: one that
// hangs goes back by itself. A board without a watchdog does nothing here; there a hang waits for the power switch.
void port_watchdog_start(void);
void port_watchdog_feed(void);

// Until port_jump nothing is executed from this memory, which is read and written as before: a branch that a fault leads
// into it resets the board. Where a core cannot take that back again, it does nothing (rv32_virt/port.c).
void port_forbid_execution(uint32_t base, uint32_t size);

// Until port_jump the code of this stage is not written any more: a copy that a fault leads into it resets the board. Where
// a core cannot do that, or cannot take it back again, it does nothing.
void port_forbid_writing_code(void);

// Leaves this stage for the image whose header lies at `image`; its code starts `header_size` bytes later.
_Noreturn void port_jump(uint32_t image, uint32_t header_size);

// Memory at a fixed address of the board (the hand-off, a stage's load area).
void *port_memory(uint32_t address);

// Bytes of the stack that were never used, and whether the word below the stack is still whole.
uint32_t port_stack_free(void);
bool port_stack_whole(void);

#endif
