// SPDX-License-Identifier: Apache-2.0
// QEMU's RISC-V virt machine: the few registers that the firmware uses.
#ifndef ASSAY_RV32_VIRT_REGISTERS_H
#define ASSAY_RV32_VIRT_REGISTERS_H

#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define RESET_DEVICE REGISTER(0x00100000u)
#define RESET_COMMAND 0x7777u

#define UART_BASE 0x10000000u
#define UART_STRIDE 1u
#define UART_CLOCK_HZ 3686400u
#define UART_SOURCE 10u  // of the interrupt controller

// Platform interrupt controller, context 0: hart 0 in machine mode.
#define PLIC_PRIORITY(source) REGISTER(0x0C000000u + 4u * (source))
#define PLIC_ENABLE REGISTER(0x0C002000u)
#define PLIC_THRESHOLD REGISTER(0x0C200000u)
#define PLIC_CLAIM REGISTER(0x0C200004u)

// Core-local timer, 10 MHz.
#define MTIMECMP_LOW REGISTER(0x02004000u)
#define MTIMECMP_HIGH REGISTER(0x02004004u)
#define MTIME_LOW REGISTER(0x0200BFF8u)
#define MTIME_HIGH REGISTER(0x0200BFFCu)
#define MTIME_KHZ 10000u

// CFI flash, two 16-bit chips side by side; unit 1 of the machine.
#define FLASH_BASE 0x22000000u

// PCI: configuration space of bus 0 (ECAM), and the memory window that addresses of devices are taken from.
#define PCI_ECAM_BASE 0x30000000u
#define PCI_DEVICES 32u
#define PCI_DEVICE_STRIDE 0x8000u
#define PCI_MEMORY_BASE 0x40000000u

#define VIRTIO_BASE 0x10001000u
#define VIRTIO_STRIDE 0x1000u
#define VIRTIO_SLOTS 8u

#endif
