// SPDX-License-Identifier: Apache-2.0
// The port of a Linux module: the flash is the disk, the UART is the channel that sshd gives (standard input and output).
// What is read comes from the disk and not from the page cache (O_DIRECT), so that a measurement is one of the medium.
// The two slots are called primary and secondary by what runs: A/B slots do not swap, their names do.
#define _GNU_SOURCE
#include "port.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "linux_unit.h"

#define WINDOW_SIZE (1024u * 1024u)  // bytes that are read at once: a hash over a slot is a walk
#define IDLE_MS 100
#define WRITE_TIMEOUT_MS 10000  // for a client that does not read: it is gone

static int disk = -1;
static _Alignas(4096) uint8_t window[WINDOW_SIZE];
static uint32_t window_at, window_length;
static bool input_ended;
static struct handoff kept;

bool linux_port_open(const char *path) {
    disk = open(path, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
    return disk >= 0;
}

struct handoff *linux_handoff(void) { return &kept; }

bool linux_input_ended(void) { return input_ended; }

void linux_forget_window(void) { window_length = 0; }

static uint32_t moved(uint32_t address, uint32_t from, uint32_t size, uint32_t to) {
    return address - from < size ? address - from + to : address;
}

// Where it is on the disk: with slot B running, what the core calls primary is slot B.
static uint32_t place(uint32_t address) {
    if (linux_slot() == 'A') return address;
    if (address - AREA_PRIMARY_OFFSET < AREA_PRIMARY_SIZE)
        return moved(address, AREA_PRIMARY_OFFSET, AREA_PRIMARY_SIZE, AREA_SECONDARY_OFFSET);
    return moved(address, AREA_SECONDARY_OFFSET, AREA_SECONDARY_SIZE, AREA_PRIMARY_OFFSET);
}

static bool fill_window(uint32_t at) {
    at -= at % WINDOW_SIZE;
    uint32_t length = FLASH_SIZE - at < WINDOW_SIZE ? FLASH_SIZE - at : WINDOW_SIZE;
    for (uint32_t done = 0; done < length;) {
        ssize_t count = pread(disk, window + done, length - done, (off_t)at + done);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return false;
        done += (uint32_t)count;
    }
    window_at = at;
    window_length = length;
    return true;
}

result_t port_flash_read(uint32_t address, void *data, uint32_t length) {
    uint8_t *to = data;
    if (address > FLASH_SIZE || length > FLASH_SIZE - address) return RESULT_OF(ERROR_FLASH);
    uint32_t at = place(address);
    while (length != 0) {
        if (window_length == 0 || at - window_at >= window_length) {
            window_length = 0;
            if (!fill_window(at)) return RESULT_OF(ERROR_FLASH);
        }
        uint32_t part = window_length - (at - window_at);
        if (part > length) part = length;
        memcpy(to, window + (at - window_at), part);
        to += part;
        at += part;
        length -= part;
    }
    return RESULT_OK;
}

// Whole sectors, as the disk takes them; the core writes a page at a time.
static result_t write_sector(uint32_t at, uint32_t offset, const void *data, uint32_t length) {
    static _Alignas(4096) uint8_t sector[FLASH_ERASE_SIZE];
    result_t result = port_flash_read(at, sector, sizeof sector);
    if (!result_ok(result)) return result;
    memcpy(sector + offset, data, length);
    window_length = 0;
    ssize_t count = pwrite(disk, sector, sizeof sector, (off_t)place(at));
    return count == (ssize_t)sizeof sector ? RESULT_OK : RESULT_OF(ERROR_FLASH);
}

result_t port_flash_program(uint32_t address, const void *data, uint32_t length) {
    uint32_t offset = address % FLASH_ERASE_SIZE;
    if (length > FLASH_ERASE_SIZE - offset) return RESULT_OF(ERROR_FLASH);
    return write_sector(address - offset, offset, data, length);
}

result_t port_flash_erase(uint32_t address) {
    static uint8_t erased[FLASH_ERASE_SIZE];
    memset(erased, FLASH_ERASED, sizeof erased);
    return write_sector(address, 0, erased, sizeof erased);
}

bool port_flash_known(void) { return lseek(disk, 0, SEEK_END) == (off_t)FLASH_SIZE; }

void port_init(void) {}

uint32_t port_millis(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u);
}

void port_idle(void) {
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    (void)poll(&in, 1, IDLE_MS);
}

// The end of the input is the end of the session: the client is gone.
uint32_t port_uart_read(uint8_t *data, uint32_t limit) {
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    if (poll(&in, 1, 0) <= 0) return 0;
    ssize_t count = read(STDIN_FILENO, data, limit);
    if (count > 0) return (uint32_t)count;
    if (count == 0 || (errno != EINTR && errno != EAGAIN)) {
        input_ended = true;
        smp_request_reset();  // serve() returns; what is done then is for main.c to say
    }
    return 0;
}

void port_uart_write(const void *data, uint32_t length) {
    const uint8_t *from = data;
    while (length != 0) {
        struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
        if (poll(&out, 1, WRITE_TIMEOUT_MS) <= 0) _exit(1);
        ssize_t count = write(STDOUT_FILENO, from, length);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) _exit(1);
        from += count;
        length -= (uint32_t)count;
    }
}

void port_uart_flush(void) {}
uint32_t port_uart_lost(void) { return 0; }

result_t port_entropy(uint8_t *data, uint32_t length) {
    return getrandom(data, length, 0) == (ssize_t)length ? RESULT_OK : RESULT_OF(ERROR_NO_ENTROPY);
}

// Who resets the machine is init; here it is the end of this process.
_Noreturn void port_reset(void) { exit(0); }

void port_watchdog_start(void) {}
void port_watchdog_feed(void) {}

void port_forbid_execution(uint32_t base, uint32_t size) {
    (void)base;
    (void)size;
}

void port_forbid_writing_code(void) {}

_Noreturn void port_jump(uint32_t image, uint32_t header_size) {
    (void)image;
    (void)header_size;
    abort();
}

void *port_memory(uint32_t address) { return address == RAM_HANDOFF_BASE ? &kept : 0; }

// A process has a stack that grows by itself: nothing to measure.
uint32_t port_stack_free(void) { return 65536; }
bool port_stack_whole(void) { return true; }
