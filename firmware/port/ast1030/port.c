// SPDX-License-Identifier: Apache-2.0
// The AST1030 evaluation board: UART5, SPI NOR behind the flash memory controller, SysTick.
#include "port.h"

#include "board_layout.h"
#include "ns16550.h"
#include "port_entry.h"
#include "registers.h"

#define TICK_MS 80u  // SysTick has 24 bits: 80 ms at 200 MHz. A longer tick wakes an idle board less often
#define TICK_CYCLES (TICK_MS * CPU_KHZ)
#define ENTROPY_MS 2000u
#define RECEIVE_INTERRUPT 1u
#define WATCHDOG_US 16000000u
#define CODE_PAGE 4096u
_Static_assert(TICK_CYCLES <= 1u << 24, "SysTick has 24 bits");
_Static_assert(FLASH_PROGRAM_SIZE == 256 && FLASH_ERASE_SIZE == 4096, "commands 0x02 and 0x20 of a W25Q80");

static const struct ns16550 console = {UART5_BASE, UART_STRIDE, UART_CLOCK_HZ / 16 / SERIAL_BAUD};
static const struct ns16550 entropy = {UART1_BASE, UART_STRIDE, UART_CLOCK_HZ / 16 / SERIAL_BAUD};
static volatile uint32_t ticks;
extern uint32_t code_start, code_end;

void tick_interrupt(void) { ticks++; }
void uart_interrupt(void) { ns16550_interrupt(&console); }

void port_init(void) {
    SYSTICK_RELOAD = TICK_CYCLES - 1;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 7;
    FMC_CONFIG |= FMC_WRITE_ENABLE_CS0;
    ns16550_init(&console, RECEIVE_INTERRUPT);
    ns16550_init(&entropy, 0);
    NVIC_ENABLE0 = 1u << UART5_IRQ;
}

// The tick may come between the two reads: then they are made again. A counter that has wrapped while its interrupt is
// still on its way would set the time back, which it must never be.
uint32_t port_millis(void) {
    static uint32_t latest;
    uint32_t whole, part;
    do {
        whole = ticks;
        part = TICK_CYCLES - 1 - SYSTICK_VALUE;
    } while (whole != ticks);
    uint32_t now = whole * TICK_MS + part / CPU_KHZ;
    if ((int32_t)(now - latest) > 0) latest = now;  // the difference is right over the wrap after 49 days, too
    return latest;
}

// With interrupts off, so that a byte that comes between the look and the sleep ends the sleep.
void port_idle(void) {
    __asm__ volatile("cpsid i" ::: "memory");
    if (!ns16550_waiting()) __asm__ volatile("wfi");
    __asm__ volatile("cpsie i\n isb" ::: "memory");
}

uint32_t port_uart_read(uint8_t *data, uint32_t limit) { return ns16550_read(data, limit); }
void port_uart_write(const void *data, uint32_t length) { ns16550_write(&console, data, length); }
void port_uart_flush(void) { ns16550_flush(&console); }
uint32_t port_uart_lost(void) { return ns16550_lost(); }

enum spi { READ_ID = 0x9F, WRITE_ENABLE = 0x06, READ_STATUS = 0x05, READ = 0x03, PROGRAM = 0x02, ERASE_4K = 0x20 };
#define STATUS_BUSY 0x01u
#define BUSY_POLLS_MAX 10000000u  // seconds on the real chip, whose slowest erase takes 0.4 s

static volatile uint8_t *spi_bytes(void) { return (volatile uint8_t *)FMC_WINDOW; }
static volatile uint32_t *spi_words(void) { return (volatile uint32_t *)FMC_WINDOW; }

static void select(enum spi command) {
    FMC_CONTROL0 = FMC_USER_SELECTED;
    *spi_bytes() = (uint8_t)command;
}

static void release(void) { FMC_CONTROL0 = FMC_USER_RELEASED; }

static void send_address(uint32_t address) {
    *spi_bytes() = (uint8_t)(address >> 16);
    *spi_bytes() = (uint8_t)(address >> 8);
    *spi_bytes() = (uint8_t)address;
}

static void write_enable(void) {
    select(WRITE_ENABLE);
    release();
}

static result_t wait_ready(void) {
    result_t result = RESULT_OF(ERROR_FLASH);
    select(READ_STATUS);
    for (uint32_t i = 0; i < BUSY_POLLS_MAX; i++) {
        if (*spi_bytes() & STATUS_BUSY) continue;
        result = RESULT_OK;
        break;
    }
    release();
    return result;
}

result_t port_flash_read(uint32_t address, void *data, uint32_t length) {
    uint8_t *to = data;
    select(READ);
    send_address(address);
    while (length >= 4 && ((uintptr_t)to & 3u) == 0) {
        *(uint32_t *)(void *)to = *spi_words();
        to += 4;
        length -= 4;
    }
    while (length-- != 0) *to++ = *spi_bytes();
    release();
    return RESULT_OK;
}

result_t port_flash_program(uint32_t address, const void *data, uint32_t length) {
    const uint8_t *from = data;
    write_enable();
    select(PROGRAM);
    send_address(address);
    while (length-- != 0) *spi_bytes() = *from++;
    release();
    return wait_ready();
}

result_t port_flash_erase(uint32_t address) {
    write_enable();
    select(ERASE_4K);
    send_address(address);
    release();
    return wait_ready();
}

bool port_flash_known(void) {
    static const uint8_t w25q80[3] = {0xEF, 0x40, 0x14};
    bool known = true;
    select(READ_ID);
    for (uint32_t i = 0; i < sizeof w25q80; i++) {
        if (*spi_bytes() != w25q80[i]) known = false;
    }
    release();
    return known;
}

// The twin's wire answers the byte n with n random bytes.
result_t port_entropy(uint8_t *data, uint32_t length) {
    uint8_t count = (uint8_t)length;
    uint32_t start = port_millis();
    if (length == 0 || length > 255) return RESULT_FAIL;
    for (uint32_t i = 0; i < 16 && ns16550_poll(&entropy) >= 0; i++) {  // what came unasked is not ours
    }
    ns16550_write(&entropy, &count, 1);
    for (uint32_t got = 0; got < length;) {
        int byte = ns16550_poll(&entropy);
        if (byte >= 0) data[got++] = (uint8_t)byte;
        else if (port_millis() - start > ENTROPY_MS) return RESULT_OF(ERROR_NO_ENTROPY);
    }
    return RESULT_OK;
}

void port_watchdog_start(void) {
    WATCHDOG_RELOAD = WATCHDOG_US;
    WATCHDOG_RESTART = WATCHDOG_RESTART_MAGIC;
    WATCHDOG_CONTROL = WATCHDOG_ON;
}

void port_watchdog_feed(void) { WATCHDOG_RESTART = WATCHDOG_RESTART_MAGIC; }

_Noreturn void port_reset(void) {
    SCB_AIRCR = AIRCR_RESET;
    for (;;) {
    }
}

void *port_memory(uint32_t address) { return (void *)(uintptr_t)address; }

static uint32_t regions;

// Each region is as large as what is left, and the alignment of its start, allow.
static void add_regions(uint32_t base, uint32_t size, uint32_t access) {
    MPU_CONTROL = 0;
    for (; size != 0 && regions < MPU_REGIONS; regions++) {
        uint32_t bits = (uint32_t)__builtin_ctz(base);
        while ((1u << bits) > size) bits--;
        MPU_NUMBER = regions;
        MPU_BASE = base;
        MPU_ATTRIBUTES = access | MPU_NORMAL_MEMORY | (bits - 1) << 1 | MPU_REGION_ON;
        base += 1u << bits;
        size -= 1u << bits;
    }
    MPU_CONTROL = MPU_ON;
    __asm__ volatile("dsb\n isb" ::: "memory");
}

void port_forbid_execution(uint32_t base, uint32_t size) { add_regions(base, size, MPU_NEVER_EXECUTE | MPU_READ_WRITE); }

// Whole pages: what is behind the last one is constants, and at most 4 KiB of them.
void port_forbid_writing_code(void) {
    uint32_t base = (uint32_t)(uintptr_t)&code_start & ~(CODE_PAGE - 1);
    uint32_t end = (uint32_t)(uintptr_t)&code_end & ~(CODE_PAGE - 1);
    add_regions(base, end - base, MPU_READ_ONLY);
}

_Noreturn void port_jump(uint32_t image, uint32_t header_size) {
    uint32_t base = image + header_size;
    __asm__ volatile("cpsid i" ::: "memory");
    MPU_CONTROL = 0;
    SYSTICK_CONTROL = 0;
    SCB_ICSR = 1u << 25;  // a tick that is pending
    NVIC_DISABLE(0) = 0xFFFFFFFFu;
    SCB_VTOR = base;
    __asm__ volatile("dsb\n isb\n msr msp, %0\n bx %1" ::"r"(REGISTER(base)), "r"(REGISTER(base + 4)) : "memory");
    __builtin_unreachable();
}
