// SPDX-License-Identifier: Apache-2.0
// The 6300ESB's watchdog timer (Intel's datasheet of that controller hub). It has two stages; only the end of the second
// resets the machine. Each write to one of its timer registers needs two unlocking writes before it.
#include "i6300esb.h"

#include "registers.h"

enum config { ID = 0x00, COMMAND = 0x04, BAR0 = 0x10, WDT_CONFIG = 0x60, WDT_LOCK = 0x68 };
enum timer { TIMER1 = 0x00, TIMER2 = 0x04, RELOAD = 0x0C };
#define ESB_ID 0x25AB8086u
#define COMMAND_MEMORY 2u
#define NO_INTERRUPT 0x0003u  // and the output that resets is on, and the clock is 33 MHz / 32768
#define LOCK_ENABLE 0x02u
#define RELOAD_TIMERS 0x100u
#define UNLOCK_1 0x80u
#define UNLOCK_2 0x86u
#define TICKS_PER_S 1007u  // 33 MHz / 32768
#define TICKS_MAX 0xFFFFFu
#define STAGES 2u

static volatile uint16_t *half_at(uint32_t address) { return (volatile uint16_t *)(uintptr_t)address; }

// Configuration space of the watchdog on bus 0; 0 if there is none.
static uint32_t find(void) {
    static uint32_t found;
    for (uint32_t device = 0; found == 0 && device < PCI_DEVICES; device++) {
        uint32_t config = PCI_ECAM_BASE + device * PCI_DEVICE_STRIDE;
        if (REGISTER(config + ID) == ESB_ID) found = config;
    }
    return found;
}

static void unlock(void) {
    *half_at(PCI_MEMORY_BASE + RELOAD) = UNLOCK_1;
    *half_at(PCI_MEMORY_BASE + RELOAD) = UNLOCK_2;
}

static void set_timer(enum timer timer, uint32_t ticks) {
    unlock();
    REGISTER(PCI_MEMORY_BASE + (uint32_t)timer) = ticks;
}

static void reload(void) {
    unlock();
    *half_at(PCI_MEMORY_BASE + RELOAD) = RELOAD_TIMERS;
}

void i6300esb_start(uint32_t timeout_ms) {
    uint32_t config = find();
    uint32_t ticks = timeout_ms / STAGES * TICKS_PER_S / 1000u;
    if (config == 0) return;
    REGISTER(config + BAR0) = PCI_MEMORY_BASE;
    *half_at(config + COMMAND) = COMMAND_MEMORY;
    *half_at(config + WDT_CONFIG) = NO_INTERRUPT;
    set_timer(TIMER1, ticks < TICKS_MAX ? ticks : TICKS_MAX);
    set_timer(TIMER2, ticks < TICKS_MAX ? ticks : TICKS_MAX);
    reload();
    *(volatile uint8_t *)(uintptr_t)(config + WDT_LOCK) = LOCK_ENABLE;
}

void i6300esb_feed(void) {
    uint32_t config = find();
    if (config == 0 || (*half_at(config + COMMAND) & COMMAND_MEMORY) == 0) return;
    reload();
}
