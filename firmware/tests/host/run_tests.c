// SPDX-License-Identifier: Apache-2.0
// Runs the host tests, all or those whose file and name hold one of the given words, and counts.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "delta_program.h"
#include "image_maker.h"
#include "verify_lines.h"

static unsigned checks, failures;
static bool stop_at_first;
static char context[200];

void check_passed(void) { checks++; }

void check_context(const char *format, ...) {
    va_list values;
    va_start(values, format);
    vsnprintf(context, sizeof context, format, values);
    va_end(values);
}

void check_failed(const char *file, int line, const char *what) {
    failures++;
    const char *base = strrchr(file, '/');
    printf("FAIL %s:%d: %s (%s)\n", base ? base + 1 : file, line, what, context);
    if (stop_at_first) exit(1);
}

static const struct {
    const char *file;
    const struct test *tests;
} files[] = {
    {"image", tests_image}, {"boot_table", tests_boot_table}, {"frames", tests_frames}, {"cbor", tests_cbor},
    {"xmodem", tests_xmodem}, {"stores", tests_stores}, {"smp", tests_smp}, {"smp_upload", tests_smp_upload},
    {"identity", tests_identity}, {"second_decision", tests_second_decision}, {"rom", tests_rom}, {"group", tests_group},
    {"power_group", tests_power_group}, {"delta", tests_delta}, {"power_delta", tests_power_delta}, {"power", tests_power},
    {"marks", tests_marks}, {"power_upload", tests_power_upload}, {"power_stores", tests_power_stores},
};

// Words are divided by commas; none at all wants everything.
static bool is_wanted(const char *name, const char *words) {
    char copy[256];
    if (words[0] == '\0') return true;
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word = strtok(copy, ","); word; word = strtok(NULL, ",")) {
        if (strstr(name, word)) return true;
    }
    return false;
}

int main(int argc, char **argv) {
    unsigned tests = 0;
    image_maker_init();
    if (argc == 3 && strcmp(argv[1], "--apply-patches") == 0) return apply_patches(argv[2]);
    if (argc == 3 && strcmp(argv[1], "--verify") == 0) return verify_lines(argv[2]);
    const char *wanted = argc > 1 ? argv[1] : "";
    stop_at_first = argc > 2 && strcmp(argv[2], "--first") == 0;
    for (unsigned i = 0; i < sizeof files / sizeof files[0]; i++) {
        for (const struct test *test = files[i].tests; test->name; test++) {
            char name[128];
            snprintf(name, sizeof name, "%s.%s", files[i].file, test->name);
            if (!is_wanted(name, wanted)) continue;
            context[0] = '\0';
            test->run();
            tests++;
        }
    }
    printf("%u tests, %u checks, %u failures\n", tests, checks, failures);
    return failures != 0 || tests == 0;
}
