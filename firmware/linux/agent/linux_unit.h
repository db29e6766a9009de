// SPDX-License-Identifier: Apache-2.0
// What the parts of the agent share: which slot runs, the boot chooser's variables, programs of the system, files.
#ifndef ASSAY_LINUX_UNIT_H
#define ASSAY_LINUX_UNIT_H

#include "handoff.h"
#include "smp_server.h"

#define RUN_FOLDER "/run/assay"
#define UPLOAD_PART "/data/upload.part"
#define UPLOAD_NAME "/data/upload.name"
#define SAID_MAX 2048u  // bytes of a program's words that are looked at

bool linux_port_open(const char *path);
struct handoff *linux_handoff(void);
bool linux_input_ended(void);
void linux_forget_window(void);

// 'A' or 'B': as the boot chooser told the kernel.
char linux_slot(void);
char linux_other_slot(void);

// A number that the boot chooser told the kernel (`name=number`); 0 if it did not.
uint32_t linux_kernel_number(const char *name);

// Runs a program by its argument list and waits; true if it ended with 0. `said` (SAID_MAX bytes) takes what it wrote
// to either stream, as far as it fits; may be null.
bool linux_run(const char *const arguments[], char *said);

// One variable of the boot chooser; empty if it is not there.
void linux_boot_variable(const char *name, char *value, uint32_t size);

// Several variables at once: one sector, written once. `script` is of fw_setenv: lines `NAME=VALUE`.
bool linux_set_boot_variables(const char *script);

bool linux_read_file(const char *path, void *data, uint32_t size);
// What was renamed or removed beside `path` stays so when the power goes.
bool linux_keep_folder(const char *path);
// Whole or not at all, and durable.
bool linux_write_file(const char *path, const void *data, uint32_t size);

// Keep the slot that runs; its counter rises. Used when the client confirms, and at each boot of a kept slot.
result_t linux_keep_running(void);

#endif
