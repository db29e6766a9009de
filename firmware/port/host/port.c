// SPDX-License-Identifier: Apache-2.0
// The port of the host build; see host_port.h. The flash is stricter than any chip: what a chip would do silently wrong
// (programming a bit that is not erased, crossing a page, a crooked erase) ends the program here.
#include "port.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host_port.h"

struct host_chip host_chip;
uint32_t host_operations, host_cut_address;
jmp_buf host_power_lost, host_left;
bool host_jumped, host_reset;
uint8_t host_sent[65536];
uint32_t host_sent_length;
uint32_t host_now_ms;
bool host_entropy_works = true;

static uint8_t ram_boot[RAM_BOOT_SIZE], ram_app[RAM_APP_SIZE], ram_handoff[RAM_HANDOFF_SIZE];
static bool cut_armed, leaves_unsettled;
static uint32_t cut_operation, fail_operation = UINT32_MAX, fail_times;
static enum tear cut_tear;
static uint64_t random_state = 1;
static uint8_t typed[65536];
static uint32_t typed_length, typed_read;

static _Noreturn void misuse(const char *what, uint32_t address, uint32_t length) {
    fprintf(stderr, "flash misuse: %s at 0x%x, %u bytes\n", what, address, length);
    abort();
}

void host_seed(uint64_t seed) { random_state = seed * 0x9E3779B97F4A7C15u + 1; }

// xorshift64*
uint32_t host_random(void) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * 0x2545F4914F6CDD1Du) >> 32);
}

static void rubbish(uint8_t *memory, uint32_t length) {
    for (uint32_t i = 0; i < length; i++) memory[i] = (uint8_t)host_random();
}

// A unit that reads as erased is taken for erased: nobody can tell.
static void read_anew(void) {
    for (uint32_t i = 0; i < FLASH_SIZE; i++) {
        uint8_t mask = host_chip.unsettled[i];
        if (mask == 0) continue;
        host_flash[i] = (uint8_t)((host_flash[i] & ~mask) | (host_random() >> 11 & mask));
        uint32_t unit = i / FLASH_WRITE_SIZE, bad = 0;
        for (uint32_t k = 0; k < FLASH_WRITE_SIZE; k++) bad += host_flash[unit * FLASH_WRITE_SIZE + k] != FLASH_ERASED;
        if (FLASH_WRITE_SIZE > 1) host_chip.written[unit] = bad != 0;
    }
}

void host_leave_unsettled(bool on) { leaves_unsettled = on; }

void host_power_on(void) {
    if (leaves_unsettled) read_anew();
    cut_armed = false;
    fail_operation = UINT32_MAX;
    host_operations = 0;
    host_sent_length = typed_length = typed_read = 0;
    host_jumped = host_reset = false;
    rubbish(ram_boot, sizeof ram_boot);
    rubbish(ram_app, sizeof ram_app);
    rubbish(ram_handoff, sizeof ram_handoff);
}

void host_cut_at(uint32_t operation, enum tear tear) {
    cut_armed = true;
    cut_operation = host_operations + operation;
    cut_tear = tear;
}

void host_fail_from(uint32_t operation, uint32_t times) {
    fail_operation = host_operations + operation;
    fail_times = times;
}

void host_fail_at(uint32_t operation) { host_fail_from(operation, 1); }

static bool refuses(void) {
    if (host_operations != fail_operation) return false;
    if (--fail_times == 0) fail_operation = UINT32_MAX;
    return true;
}

// What is left in flash of an operation that turns `from` into `to` when the power goes in it. Each bit is as it was
// or as it should become: which one is what the kinds of tearing differ in.
static void tear(uint8_t *flash, const uint8_t *to, uint32_t length, bool erase) {
    uint32_t half = length / 2;
    for (uint32_t i = 0; i < length; i++) {
        uint8_t mask = 0;  // bits that have arrived
        if (cut_tear == TEAR_FIRST_HALF) mask = i < half ? 0xFF : (i == half ? 0x0F : 0);
        if (cut_tear == TEAR_LAST_HALF) mask = i > half ? 0xFF : (i == half ? 0xF0 : 0);
        if (cut_tear == TEAR_BITS || cut_tear == TEAR_PROGRAMMED) mask = (uint8_t)(host_random() >> 7);
        uint8_t changes = flash[i] ^ to[i];
        flash[i] = (uint8_t)((flash[i] & ~mask) | (to[i] & mask));
        if (erase && cut_tear == TEAR_PROGRAMMED) flash[i] = (uint8_t)~FLASH_ERASED;
        if (!leaves_unsettled || cut_tear == TEAR_BEFORE) continue;
        // Each second time the operation had hardly begun: then all reads as before, or some bits do not.
        bool weak = cut_tear == TEAR_BITS;
        uint8_t some = (uint8_t)(host_random() >> 5) & (weak ? (uint8_t)(host_random() >> 13) : 0xFF);
        if (weak) flash[i] ^= (uint8_t)(changes & mask);
        host_chip.unsettled[&flash[i] - host_flash] = changes & some;
    }
}

void host_blank(void) {
    memset(host_flash, FLASH_ERASED, sizeof host_flash);
    memset(host_chip.written, 0, sizeof host_chip.written);
    memset(host_chip.unsettled, 0, sizeof host_chip.unsettled);
}

// After an operation, whole or torn: what was changed in a unit of several bytes stays until the unit is erased.
static void keep_account(uint32_t address, const uint8_t *before, uint32_t length, bool erase, bool whole) {
    uint8_t erased_unit[FLASH_WRITE_SIZE];
    if (FLASH_WRITE_SIZE == 1) return;
    memset(erased_unit, FLASH_ERASED, sizeof erased_unit);
    for (uint32_t at = 0; at < length; at += FLASH_WRITE_SIZE) {
        bool *written = &host_chip.written[(address + at) / FLASH_WRITE_SIZE];
        if (whole) *written = !erase;
        else if (erase) *written = *written && memcmp(host_flash + address + at, erased_unit, FLASH_WRITE_SIZE) != 0;
        else *written = memcmp(host_flash + address + at, before + at, FLASH_WRITE_SIZE) != 0;
    }
}

static void change(uint32_t address, const uint8_t *to, uint32_t length, bool erase) {
    static uint8_t before[FLASH_ERASE_SIZE];
    memcpy(before, host_flash + address, length);
    if (cut_armed && host_operations == cut_operation) {
        cut_armed = false;
        host_cut_address = address;
        tear(host_flash + address, to, length, erase);
        keep_account(address, before, length, erase, false);
        longjmp(host_power_lost, 1);
    }
    host_operations++;
    memcpy(host_flash + address, to, length);
    memset(host_chip.unsettled + address, 0, length);
    keep_account(address, before, length, erase, true);
}

result_t port_flash_read(uint32_t address, void *data, uint32_t length) {
    if (address > FLASH_SIZE || length > FLASH_SIZE - address) misuse("read beyond the end", address, length);
    memcpy(data, host_flash + address, length);
    return RESULT_OK;
}

result_t port_flash_program(uint32_t address, const void *data, uint32_t length) {
    if (length == 0 || address > FLASH_SIZE || length > FLASH_SIZE - address) misuse("program", address, length);
    if (address % FLASH_WRITE_SIZE != 0 || length % FLASH_WRITE_SIZE != 0) misuse("part of a unit", address, length);
    bool one_page = address / FLASH_PROGRAM_SIZE == (address + length - 1) / FLASH_PROGRAM_SIZE;
    if (!one_page) misuse("page crossed", address, length);
    for (uint32_t i = 0; i < length; i++) {
        if (host_flash[address + i] != FLASH_ERASED) misuse("program without erase", address + i, length);
    }
    uint32_t end = FLASH_WRITE_SIZE > 1 ? (address + length) / FLASH_WRITE_SIZE : 0;
    for (uint32_t unit = address / FLASH_WRITE_SIZE; unit < end; unit++) {
        if (host_chip.written[unit]) misuse("unit programmed twice", unit * FLASH_WRITE_SIZE, length);
    }
    if (refuses()) return RESULT_OF(ERROR_FLASH);
    change(address, data, length, false);
    return RESULT_OK;
}

result_t port_flash_erase(uint32_t address) {
    static uint8_t erased[FLASH_ERASE_SIZE];
    if (address >= FLASH_SIZE || address % FLASH_ERASE_SIZE != 0) misuse("erase", address, FLASH_ERASE_SIZE);
    memset(erased, FLASH_ERASED, sizeof erased);
    if (refuses()) return RESULT_OF(ERROR_FLASH);
    change(address, erased, sizeof erased, true);
    return RESULT_OK;
}

bool port_flash_known(void) { return true; }

void port_init(void) {}
uint32_t port_millis(void) { return host_now_ms; }
void port_idle(void) { host_now_ms += 10; }

void host_type(const void *data, uint32_t length) {
    if (length > sizeof typed - typed_length) abort();
    memcpy(typed + typed_length, data, length);
    typed_length += length;
}

uint32_t port_uart_read(uint8_t *data, uint32_t limit) {
    uint32_t count = typed_length - typed_read < limit ? typed_length - typed_read : limit;
    memcpy(data, typed + typed_read, count);
    typed_read += count;
    return count;
}

void port_uart_write(const void *data, uint32_t length) {
    if (length > sizeof host_sent - host_sent_length) abort();
    memcpy(host_sent + host_sent_length, data, length);
    host_sent_length += length;
}

void port_uart_flush(void) {}
uint32_t port_uart_lost(void) { return 0; }

result_t port_entropy(uint8_t *data, uint32_t length) {
    if (!host_entropy_works) return RESULT_OF(ERROR_NO_ENTROPY);
    rubbish(data, length);
    return RESULT_OK;
}

void port_watchdog_start(void) {}
void port_watchdog_feed(void) {}

_Noreturn void port_reset(void) {
    host_reset = true;
    longjmp(host_left, 1);
}

void port_forbid_execution(uint32_t base, uint32_t size) {
    (void)base;
    (void)size;
}

void port_forbid_writing_code(void) {}

_Noreturn void port_jump(uint32_t image, uint32_t header_size) {
    (void)image;
    (void)header_size;
    host_jumped = true;
    longjmp(host_left, 1);
}

void *port_memory(uint32_t address) {
    if (address == RAM_BOOT_BASE) return ram_boot;
    if (address == RAM_APP_BASE) return ram_app;
    if (address == RAM_HANDOFF_BASE) return ram_handoff;
    fprintf(stderr, "no memory at 0x%x\n", address);
    abort();
}

uint32_t port_stack_free(void) { return 4096; }
bool port_stack_whole(void) { return true; }
