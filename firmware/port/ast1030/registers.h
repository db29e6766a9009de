// SPDX-License-Identifier: Apache-2.0
// Aspeed AST1030: the few registers that the firmware uses.
#ifndef ASSAY_AST1030_REGISTERS_H
#define ASSAY_AST1030_REGISTERS_H

#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(address))

// UART5 is the console (QEMU: the first -serial), UART1 the twin's entropy (the second -serial).
#define UART5_BASE 0x7E784000u
#define UART1_BASE 0x7E783000u
#define UART_STRIDE 4u
#define UART5_IRQ 8u
#define UART_CLOCK_HZ 1846153u  // 24 MHz / 13

// Flash memory controller: chip select 0 in user mode, its window passes bytes through to the SPI bus.
#define FMC_CONFIG REGISTER(0x7E620000u)
#define FMC_CONTROL0 REGISTER(0x7E620010u)
#define FMC_WINDOW 0x80000000u
#define FMC_WRITE_ENABLE_CS0 (1u << 16)
#define FMC_USER_SELECTED 3u
#define FMC_USER_RELEASED 7u

// Watchdog 1, counting microseconds.
#define WATCHDOG_RELOAD REGISTER(0x7E785004u)
#define WATCHDOG_RESTART REGISTER(0x7E785008u)
#define WATCHDOG_CONTROL REGISTER(0x7E78500Cu)
#define WATCHDOG_RESTART_MAGIC 0x4755u
#define WATCHDOG_ON 0x13u  // enable, reset the system, 1 MHz clock

// Cortex-M4.
#define SYSTICK_CONTROL REGISTER(0xE000E010u)
#define SYSTICK_RELOAD REGISTER(0xE000E014u)
#define SYSTICK_VALUE REGISTER(0xE000E018u)
#define NVIC_ENABLE0 REGISTER(0xE000E100u)
#define NVIC_DISABLE(n) REGISTER(0xE000E180u + 4u * (n))
#define SCB_ICSR REGISTER(0xE000ED04u)
#define SCB_VTOR REGISTER(0xE000ED08u)
#define SCB_AIRCR REGISTER(0xE000ED0Cu)
#define AIRCR_RESET 0x05FA0004u

// Its memory protection unit (ARMv7-M architecture reference manual, B3.5). A region is a power of two, from 32 bytes.
#define MPU_CONTROL REGISTER(0xE000ED94u)
#define MPU_NUMBER REGISTER(0xE000ED98u)
#define MPU_BASE REGISTER(0xE000ED9Cu)
#define MPU_ATTRIBUTES REGISTER(0xE000EDA0u)
#define MPU_REGIONS 8u
#define MPU_ON 5u  // what is in no region is as without an MPU
#define MPU_NEVER_EXECUTE (1u << 28)
#define MPU_READ_WRITE (3u << 24)
#define MPU_READ_ONLY (6u << 24)
#define MPU_NORMAL_MEMORY (1u << 19 | 1u << 17)
#define MPU_REGION_ON 1u

#define CPU_KHZ 200000u

#endif
