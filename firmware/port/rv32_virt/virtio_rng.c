// SPDX-License-Identifier: Apache-2.0
// Virtio entropy device (virtio 1.1 section 5.4) behind the legacy MMIO transport (section 4.2.4), a request at a time.
#include "virtio_rng.h"

#include "bytes.h"
#include "port.h"
#include "registers.h"

enum reg {
    MAGIC = 0x00,
    VERSION = 0x04,
    DEVICE = 0x08,
    GUEST_FEATURES = 0x20,
    GUEST_PAGE_SIZE = 0x28,
    QUEUE_SELECT = 0x30,
    QUEUE_MAX = 0x34,
    QUEUE_SIZE = 0x38,
    QUEUE_ALIGN = 0x3C,
    QUEUE_PAGE = 0x40,
    QUEUE_NOTIFY = 0x50,
    STATUS = 0x70,
};
#define MAGIC_VALUE 0x74726976u
#define LEGACY 1u
#define ENTROPY_DEVICE 4u
enum { STATUS_RESET = 0, STATUS_ACKNOWLEDGE = 1, STATUS_DRIVER = 2, STATUS_DRIVER_OK = 4 };
#define DESCRIPTOR_WRITE 2u
#define PAGE 4096u
#define SLOTS 2u
#define TIMEOUT_MS 2000u

struct queue {
    struct {
        uint64_t address;
        uint32_t length;
        uint16_t flags, next;
    } descriptors[SLOTS];
    struct {
        uint16_t flags, index, ring[SLOTS];
    } available;
    uint8_t padding[PAGE - 16u * SLOTS - 4u - 2u * SLOTS];
    struct {
        uint16_t flags;
        volatile uint16_t index;
        struct {
            uint32_t id, length;
        } ring[SLOTS];
    } used;
};
_Static_assert(__builtin_offsetof(struct queue, used) == PAGE, "the used ring starts on a page (section 2.6.2)");

static _Alignas(PAGE) struct queue queue;
static uint8_t buffer[64];

static volatile uint32_t *at(uint32_t device, enum reg reg) {
    return (volatile uint32_t *)(uintptr_t)(device + (uint32_t)reg);
}

static uint32_t find_device(void) {
    for (uint32_t i = 0; i < VIRTIO_SLOTS; i++) {
        uint32_t device = VIRTIO_BASE + i * VIRTIO_STRIDE;
        bool known = *at(device, MAGIC) == MAGIC_VALUE && *at(device, VERSION) == LEGACY;
        if (known && *at(device, DEVICE) == ENTROPY_DEVICE) return device;
    }
    return 0;
}

static result_t set_up(uint32_t device) {
    memset(&queue, 0, sizeof queue);
    *at(device, STATUS) = STATUS_RESET;
    *at(device, STATUS) = STATUS_ACKNOWLEDGE | STATUS_DRIVER;
    *at(device, GUEST_FEATURES) = 0;
    *at(device, GUEST_PAGE_SIZE) = PAGE;
    *at(device, QUEUE_SELECT) = 0;
    if (*at(device, QUEUE_MAX) < SLOTS) return RESULT_OF(ERROR_NO_ENTROPY);
    *at(device, QUEUE_SIZE) = SLOTS;
    *at(device, QUEUE_ALIGN) = PAGE;
    *at(device, QUEUE_PAGE) = (uint32_t)(uintptr_t)&queue / PAGE;
    *at(device, STATUS) = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK;
    return RESULT_OK;
}

// One request for `length` bytes; gives how many came.
static uint32_t request(uint32_t device, uint32_t length, uint32_t start) {
    uint16_t before = queue.used.index;
    queue.descriptors[0].address = (uintptr_t)buffer;
    queue.descriptors[0].length = length;
    queue.descriptors[0].flags = DESCRIPTOR_WRITE;
    queue.available.ring[queue.available.index % SLOTS] = 0;
    __asm__ volatile("fence" ::: "memory");
    queue.available.index++;
    __asm__ volatile("fence" ::: "memory");
    *at(device, QUEUE_NOTIFY) = 0;
    while (queue.used.index == before) {
        if (port_millis() - start > TIMEOUT_MS) return 0;
    }
    __asm__ volatile("fence" ::: "memory");
    return smaller(queue.used.ring[before % SLOTS].length, length);
}

result_t virtio_rng_read(uint8_t *data, uint32_t length) {
    uint32_t device = find_device();
    uint32_t start = port_millis();
    uint32_t got = 0;
    if (device == 0 || !result_ok(set_up(device))) return RESULT_OF(ERROR_NO_ENTROPY);
    while (got < length) {
        uint32_t part = request(device, smaller(length - got, sizeof buffer), start);
        if (part == 0) break;
        memcpy(data + got, buffer, part);
        got += part;
    }
    *at(device, STATUS) = STATUS_RESET;  // also takes back a request that was not answered
    memset(buffer, 0, sizeof buffer);
    return got == length ? RESULT_OK : RESULT_OF(ERROR_NO_ENTROPY);
}
