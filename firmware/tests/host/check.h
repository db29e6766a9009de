// SPDX-License-Identifier: Apache-2.0
// The checks of the host tests. A failing check says where, is counted, and ends its test.
#ifndef ASSAY_CHECK_H
#define ASSAY_CHECK_H

#include <stdbool.h>
#include <stdint.h>

struct test {
    const char *name;
    void (*run)(void);
};

// One table for each file, ends with a null row.
extern const struct test tests_image[], tests_boot_table[], tests_frames[], tests_cbor[], tests_xmodem[];
extern const struct test tests_stores[], tests_smp[], tests_smp_upload[], tests_identity[], tests_rom[];
extern const struct test tests_power[], tests_power_stores[], tests_group[], tests_power_group[];
extern const struct test tests_delta[], tests_power_delta[], tests_power_upload[], tests_second_decision[], tests_marks[];

void check_failed(const char *file, int line, const char *what);
void check_passed(void);

// Says in what situation the checks that follow are made; shown if one fails.
void check_context(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define CHECK(condition)                                     \
    do {                                                     \
        if (!(condition)) {                                  \
            check_failed(__FILE__, __LINE__, #condition);    \
            return;                                          \
        }                                                    \
        check_passed();                                      \
    } while (0)

// In a function that returns a number: what to return if the check fails.
#define CHECK_OR(condition, otherwise)                       \
    do {                                                     \
        if (!(condition)) {                                  \
            check_failed(__FILE__, __LINE__, #condition);    \
            return otherwise;                                \
        }                                                    \
        check_passed();                                      \
    } while (0)

#endif
