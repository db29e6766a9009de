// SPDX-License-Identifier: Apache-2.0
// The tests' SMP client and stage; see smp_client.h.
#include "smp_client.h"

#include "boot.h"
#include "image_maker.h"
#include "smp_assay.h"

struct handoff handoff;
struct assay_stage assay_stage = {.stage = "app", .name = "test-module", .version = "1.0.0", .handoff = &handoff,
                                  .state = STATE_CONFIRMED, .health = HEALTH_PASS, .health_reason = ""};

static result_t judge(const struct image_source *source, struct image *image) {
    return boot_verify(source, test_key, image);
}

static result_t may_change(void) { return assay_stage.state == STATE_TESTING ? RESULT_OF(ERROR_BUSY) : RESULT_OK; }

const struct smp_image_stage app_image_stage = {
    .judge = judge, .running = true, .may_change = may_change};

const struct smp_command smp_commands[] = {
    {GROUP_OS, 0, smp_echo, smp_echo},
    {GROUP_OS, 5, 0, smp_reset},
    {GROUP_OS, 6, smp_parameters, 0},
    {GROUP_IMAGE, 0, smp_image_state, smp_image_set_state},
    {GROUP_IMAGE, 1, 0, smp_image_upload},
    {GROUP_IMAGE, 5, 0, smp_image_erase},
    {GROUP_ASSAY, 0, assay_info, 0},
    {GROUP_ASSAY, 1, 0, assay_key},
    {GROUP_ASSAY, 2, assay_certificate_read, assay_certificate_write},
    {GROUP_ASSAY, 3, assay_measure, 0},
    {GROUP_ASSAY, 4, 0, assay_evidence},
    {GROUP_ASSAY, 5, assay_health, 0},
    {GROUP_ASSAY, 6, assay_notes, 0},
    {GROUP_ASSAY, 7, assay_stats, 0},
    {0, 0, 0, 0},
};

uint8_t request[SMP_PACKET_MAX], answer[SMP_PACKET_MAX];
uint32_t answered;
struct cbor_writer body;

struct cbor_writer *start_request(uint32_t pairs) {
    cbor_start(&body, request + SMP_HEADER_SIZE, sizeof request - SMP_HEADER_SIZE);
    cbor_head(&body, CBOR_MAP, pairs);
    return &body;
}

void ask_version(uint32_t version, bool write, uint32_t group, uint32_t id) {
    request[0] = (uint8_t)(version << 3 | (write ? 2 : 0));
    request[1] = 0;
    request[2] = (uint8_t)(body.used >> 8);
    request[3] = (uint8_t)body.used;
    request[4] = (uint8_t)(group >> 8);
    request[5] = (uint8_t)group;
    request[6] = 42;
    request[7] = (uint8_t)id;
    answered = smp_answer(request, SMP_HEADER_SIZE + body.used, answer, sizeof answer);
}

void ask(bool write, uint32_t group, uint32_t id) { ask_version(1, write, group, id); }

bool got(const char *key, struct cbor_item *item) {
    return cbor_find(answer + SMP_HEADER_SIZE, answered - SMP_HEADER_SIZE, key, item);
}

// The error of a version 2 answer; 0 if it holds none.
uint32_t error(void) {
    struct cbor_item err, group, rc;
    if (answered < SMP_HEADER_SIZE) return 999;
    if (!got("err", &err)) return 0;
    const uint8_t *inner = answer + SMP_HEADER_SIZE + 5;  // behind {"err":
    uint32_t length = answered - SMP_HEADER_SIZE - 5;
    if (!cbor_find(inner, length, "group", &group) || group.value != GROUP_ASSAY) return 998;
    return cbor_find(inner, length, "rc", &rc) ? rc.value : 997;
}

uint32_t number(const char *key) {
    struct cbor_item item;
    return got(key, &item) && item.type == CBOR_UNSIGNED ? item.value : 0xFFFFFFFFu;
}
