// SPDX-License-Identifier: Apache-2.0
// The port of the host build: a strict NOR flash that can lose power at any operation, RAM, a UART and a clock that
// the tests hold in their hands.
#ifndef ASSAY_HOST_PORT_H
#define ASSAY_HOST_PORT_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include "board_layout.h"

// How the operation ends in which the power goes.
// Before they erase, chips program the whole sector; of a program, TEAR_PROGRAMMED leaves other bits than TEAR_BITS.
enum tear { TEAR_BEFORE, TEAR_FIRST_HALF, TEAR_LAST_HALF, TEAR_BITS, TEAR_PROGRAMMED, TEAR_COUNT };

// A flash chip. A write unit that was programmed cannot be programmed again before it is erased, also where it holds
// the value of erased bytes: a chip that keeps check bits for each unit would not take it. (Units of a byte have none.)
#define HOST_UNITS (FLASH_WRITE_SIZE > 1 ? FLASH_SIZE / FLASH_WRITE_SIZE : 1)
struct host_chip {
    uint8_t bytes[FLASH_SIZE];
    bool written[HOST_UNITS];
    uint8_t unsettled[FLASH_SIZE];  // bits of torn operations that read anew at each power-on
};
extern struct host_chip host_chip;
#define host_flash host_chip.bytes

// Erases the whole chip.
void host_blank(void);
extern uint32_t host_operations;  // erases and programs since host_power_on
extern uint32_t host_cut_address;  // of the last operation in which the power went
extern jmp_buf host_power_lost;
extern bool host_jumped, host_reset;
extern uint8_t host_sent[65536];
extern uint32_t host_sent_length;
extern uint32_t host_now_ms;
extern bool host_entropy_works;

// Power comes back: RAM holds rubbish, nothing is cut.
void host_power_on(void);

// The power goes in the operation with this number (0 is the next one); control comes back through host_power_lost.
void host_cut_at(uint32_t operation, enum tear tear);

// From now on half of the bits that a torn operation had to change are neither 0 nor 1: they read by chance, anew at
// each power-on, until their byte is erased or programmed.
void host_leave_unsettled(bool on);

// The flash refuses the operation with this number (0 is the next one), once.
void host_fail_at(uint32_t operation);

// ... and the ones that follow, `times` in all.
void host_fail_from(uint32_t operation, uint32_t times);

// Random numbers for tearing and for the tests; the same seed gives the same run.
void host_seed(uint64_t seed);
uint32_t host_random(void);

// What the UART will receive.
void host_type(const void *data, uint32_t length);

// Where port_jump and port_reset go; set it before calling what ends in one of them.
extern jmp_buf host_left;

#endif
