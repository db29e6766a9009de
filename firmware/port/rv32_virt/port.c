// SPDX-License-Identifier: Apache-2.0
// QEMU's RISC-V virt machine: 16550, CFI flash (Intel command set), core-local timer, virtio-rng, PCI watchdog.
#include "port.h"

#include "board_layout.h"
#include "bytes.h"
#include "i6300esb.h"
#include "ns16550.h"
#include "port_entry.h"
#include "registers.h"
#include "virtio_rng.h"

#define IDLE_MS 100u
#define WATCHDOG_MS 16000u
#define MIE_TIMER (1u << 7)
#define MIE_EXTERNAL (1u << 11)
#define MSTATUS_MIE 8u
#define RECEIVE_INTERRUPT 1u

static const struct ns16550 console = {UART_BASE, UART_STRIDE, UART_CLOCK_HZ / 16 / SERIAL_BAUD};

void uart_interrupt(void) {
    uint32_t source = PLIC_CLAIM;
    if (source == UART_SOURCE) ns16550_interrupt(&console);
    if (source != 0) PLIC_CLAIM = source;
}

// The timer only ends a sleep; until the next one it is off.
void tick_interrupt(void) { __asm__ volatile("csrc mie, %0" ::"r"(MIE_TIMER)); }

void port_init(void) {
    ns16550_init(&console, RECEIVE_INTERRUPT);
    PLIC_PRIORITY(UART_SOURCE) = 1;
    PLIC_ENABLE = 1u << UART_SOURCE;
    PLIC_THRESHOLD = 0;
    __asm__ volatile("csrw mie, %0" ::"r"(MIE_EXTERNAL));
}

static uint64_t mtime(void) {
    uint32_t high, low;
    do {
        high = MTIME_HIGH;
        low = MTIME_LOW;
    } while (high != MTIME_HIGH);
    return ((uint64_t)high << 32) | low;
}

uint32_t port_millis(void) {
    static uint64_t start;  // the timer runs on over resets; a stage counts from its first look
    if (start == 0) start = mtime();
    return (uint32_t)((mtime() - start) / MTIME_KHZ);
}

// With interrupts off, so that a byte that comes between the look and the sleep ends the sleep.
void port_idle(void) {
    __asm__ volatile("csrc mstatus, %0" ::"r"(MSTATUS_MIE) : "memory");
    if (!ns16550_waiting()) {
        uint64_t until = mtime() + IDLE_MS * MTIME_KHZ;
        MTIMECMP_HIGH = 0xFFFFFFFFu;
        MTIMECMP_LOW = (uint32_t)until;
        MTIMECMP_HIGH = (uint32_t)(until >> 32);
        __asm__ volatile("csrs mie, %0\n wfi" ::"r"(MIE_TIMER) : "memory");
    }
    __asm__ volatile("csrs mstatus, %0" ::"r"(MSTATUS_MIE) : "memory");
}

uint32_t port_uart_read(uint8_t *data, uint32_t limit) { return ns16550_read(data, limit); }
void port_uart_write(const void *data, uint32_t length) { ns16550_write(&console, data, length); }
void port_uart_flush(void) { ns16550_flush(&console); }
uint32_t port_uart_lost(void) { return ns16550_lost(); }

// Commands go to both chips at once: one in each half of the word.
#define BOTH(command) ((uint32_t)(command) * 0x00010001u)
enum cfi {
    READ_ARRAY = 0xFF,
    READ_ID = 0x90,
    CLEAR_STATUS = 0x50,
    BUFFER_PROGRAM = 0xE8,
    CONFIRM = 0xD0,
    ERASE = 0x20,
};
#define STATUS_READY BOTH(0x80)
#define STATUS_ERRORS BOTH(0x3A)
#define BUSY_POLLS_MAX 100000000u  // seconds on a real chip, whose slowest erase takes 4 s
_Static_assert(FLASH_PROGRAM_SIZE == 512, "a page is within the chips' write buffer");

static volatile uint32_t *word_at(uint32_t address) { return (volatile uint32_t *)(FLASH_BASE + (address & ~3u)); }

static result_t finish(uint32_t address) {
    volatile uint32_t *word = word_at(address);
    uint32_t status = 0;
    for (uint32_t i = 0; i < BUSY_POLLS_MAX && (status & STATUS_READY) != STATUS_READY; i++) status = *word;
    bool good = (status & STATUS_READY) == STATUS_READY && (status & STATUS_ERRORS) == 0;
    if (!good) *word = BOTH(CLEAR_STATUS);  // errors stay until they are cleared; there are none to clear else
    *word = BOTH(READ_ARRAY);
    return good ? RESULT_OK : RESULT_OF(ERROR_FLASH);
}

result_t port_flash_read(uint32_t address, void *data, uint32_t length) {
    memcpy(data, (const void *)(uintptr_t)(FLASH_BASE + address), length);
    return RESULT_OK;
}

// Whole words go to the buffer. Around the new bytes they hold what is there already: programming leaves that as it is.
result_t port_flash_program(uint32_t address, const void *data, uint32_t length) {
    uint32_t words[FLASH_PROGRAM_SIZE / 4 + 1];
    uint32_t skip = address & 3u;
    uint32_t count = (skip + length + 3u) / 4u;
    if (count == 0 || count > FLASH_PROGRAM_SIZE / 4) return RESULT_OF(ERROR_FLASH);
    for (uint32_t i = 0; i < count; i++) words[i] = word_at(address)[i];
    memcpy((uint8_t *)words + skip, data, length);
    volatile uint32_t *to = word_at(address);
    *to = BOTH(BUFFER_PROGRAM);
    *to = BOTH(count - 1);
    for (uint32_t i = 0; i < count; i++) to[i] = words[i];
    *to = BOTH(CONFIRM);
    return finish(address);
}

result_t port_flash_erase(uint32_t address) {
    volatile uint32_t *word = word_at(address);
    *word = BOTH(ERASE);
    *word = BOTH(CONFIRM);
    return finish(address);
}

bool port_flash_known(void) {
    *word_at(0) = BOTH(READ_ID);
    bool known = word_at(0)[0] == BOTH(0x89) && word_at(0)[1] == BOTH(0x18);
    *word_at(0) = BOTH(READ_ARRAY);
    return known;
}

result_t port_entropy(uint8_t *data, uint32_t length) { return virtio_rng_read(data, length); }

void port_watchdog_start(void) { i6300esb_start(WATCHDOG_MS); }
void port_watchdog_feed(void) { i6300esb_feed(); }

_Noreturn void port_reset(void) {
    RESET_DEVICE = RESET_COMMAND;
    for (;;) {
    }
}

void *port_memory(uint32_t address) { return (void *)(uintptr_t)address; }

// A rule of the PMP that holds in machine mode holds until the next reset (privileged architecture, 3.7.1): the app could
// not be started afterwards.
void port_forbid_execution(uint32_t base, uint32_t size) {
    (void)base;
    (void)size;
}

// A rule that binds machine mode would have to hold beyond a reset for who loads this memory anew then: QEMU 7.2 keeps
// locked rules over a reset, and the mask ROM could not load the bootloader any more. On a chip the reset clears them.
void port_forbid_writing_code(void) {}

_Noreturn void port_jump(uint32_t image, uint32_t header_size) {
    uint32_t entry = image + header_size;
    __asm__ volatile("csrc mstatus, %0\n csrw mie, zero" ::"r"(MSTATUS_MIE) : "memory");
    PLIC_ENABLE = 0;
    __asm__ volatile("fence\n fence.i\n jr %0" ::"r"(entry) : "memory");
    __builtin_unreachable();
}
