// SPDX-License-Identifier: Apache-2.0
// The system around the agent: the kernel's command line, programs, files, the boot chooser's variables.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "linux_unit.h"

#define COMMAND_LINE_MAX 2048u
#define READS_MAX 4096u  // of a program's words; one that never ends them is broken

static const char *command_line(void) {
    static char text[COMMAND_LINE_MAX];
    if (text[0] != '\0') return text;
    int file = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t count = file < 0 ? 0 : read(file, text, sizeof text - 1);
    if (file >= 0) close(file);
    text[count < 0 ? 0 : count] = '\0';
    return text;
}

char linux_slot(void) {
    const char *found = strstr(command_line(), "rauc.slot=");
    return found && found[10] == 'B' ? 'B' : 'A';
}

char linux_other_slot(void) { return linux_slot() == 'A' ? 'B' : 'A'; }

uint32_t linux_kernel_number(const char *name) {
    const char *found = strstr(command_line(), name);
    return found ? (uint32_t)strtoul(found + strlen(name), 0, 10) : 0;
}

static _Noreturn void become(const char *const arguments[], int out) {
    int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execv(arguments[0], (char *const *)(uintptr_t)arguments);
    _exit(127);
}

static void listen_to(int from, char *said) {
    char rest[512];
    uint32_t used = 0;
    for (uint32_t i = 0; i < READS_MAX; i++) {
        ssize_t count = read(from, rest, sizeof rest);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) break;
        for (ssize_t k = 0; said && k < count && used < SAID_MAX - 1; k++) said[used++] = rest[k];
    }
    if (said) said[used] = '\0';
}

bool linux_run(const char *const arguments[], char *said) {
    int ends[2], status = 0;
    if (said) said[0] = '\0';
    if (pipe2(ends, O_CLOEXEC) != 0) return false;
    pid_t child = fork();
    if (child == 0) become(arguments, ends[1]);
    close(ends[1]);
    if (child > 0) listen_to(ends[0], said);
    close(ends[0]);
    if (child < 0) return false;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void linux_boot_variable(const char *name, char *value, uint32_t size) {
    char said[SAID_MAX];
    const char *const arguments[] = {"/usr/bin/fw_printenv", "-n", name, 0};
    value[0] = '\0';
    if (!linux_run(arguments, said)) return;
    said[strcspn(said, "\r\n")] = '\0';
    snprintf(value, size, "%s", said);
}

bool linux_set_boot_variables(const char *script) {
    const char *const arguments[] = {"/usr/bin/fw_setenv", "-s", RUN_FOLDER "/variables", 0};
    return linux_write_file(RUN_FOLDER "/variables", script, (uint32_t)strlen(script)) && linux_run(arguments, 0);
}

bool linux_read_file(const char *path, void *data, uint32_t size) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    ssize_t count = read(file, data, size);
    close(file);
    return count == (ssize_t)size;
}

bool linux_keep_folder(const char *path) {
    char folder[128];
    snprintf(folder, sizeof folder, "%s", path);
    char *end = strrchr(folder, '/');
    if (!end) return false;
    *end = '\0';
    int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = file >= 0 && fsync(file) == 0;
    if (file >= 0) close(file);
    return good;
}

bool linux_write_file(const char *path, const void *data, uint32_t size) {
    char fresh[128];
    snprintf(fresh, sizeof fresh, "%s.new", path);
    int file = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0) return false;
    bool good = write(file, data, size) == (ssize_t)size && fsync(file) == 0;
    close(file);
    return good && rename(fresh, path) == 0 && linux_keep_folder(path);
}
