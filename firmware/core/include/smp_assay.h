// SPDX-License-Identifier: Apache-2.0
// Group 0x4153: info, measure, notes in both stages; key, certificate, evidence, health, stats in the app.
#ifndef ASSAY_SMP_ASSAY_H
#define ASSAY_SMP_ASSAY_H

#include "handoff.h"
#include "smp_server.h"

enum health { HEALTH_RUNNING, HEALTH_PASS, HEALTH_FAIL };

struct assay_stage {
    const char *stage;  // "boot" or "app"
    const char *name, *version;
    const struct handoff *handoff;  // null in the bootloader
    enum boot_state state;          // changes when the app confirms
    enum health health;
    uint32_t health_code;
    const char *health_reason;
    uint32_t frames_bad;  // kept up to date by serve.c
};

extern struct assay_stage assay_stage;

result_t assay_info(const struct smp_request *request, struct cbor_writer *answer);
result_t assay_measure(const struct smp_request *request, struct cbor_writer *answer);
result_t assay_notes(const struct smp_request *request, struct cbor_writer *answer);

result_t assay_key(const struct smp_request *request, struct cbor_writer *answer);
result_t assay_certificate_read(const struct smp_request *request, struct cbor_writer *answer);
result_t assay_certificate_write(const struct smp_request *request, struct cbor_writer *answer);
result_t assay_evidence(const struct smp_request *request, struct cbor_writer *answer);
result_t assay_health(const struct smp_request *request, struct cbor_writer *answer);
result_t assay_stats(const struct smp_request *request, struct cbor_writer *answer);

const char *boot_state_text(enum boot_state state);

#endif
