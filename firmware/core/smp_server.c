// SPDX-License-Identifier: Apache-2.0
// Dispatches SMP packets (version 1 and 2) and answers errors as values; the OS group is here too. A request that is
// malformed gets an error, never silence, as long as its header is whole.
#include "smp_server.h"

#include "bytes.h"

enum { OP_READ = 0, OP_WRITE = 2, OP_ANSWER = 1 };
enum version_1_error {
    V1_UNKNOWN = 1,
    V1_INVALID = 3,
    V1_NO_ENTRY = 5,
    V1_BAD_STATE = 6,
    V1_NOT_SUPPORTED = 8,
    V1_CORRUPT = 9,
    V1_BUSY = 10,
    V1_DENIED = 11,
};

#define COMMANDS_MAX 64u  // rows of a stage's table

static bool reset_requested;

void smp_request_reset(void) { reset_requested = true; }
bool smp_reset_requested(void) { return reset_requested; }

// Version 1 knows one list of errors for all groups; the word in `rsn` says what was meant.
static uint32_t version_1_error(uint32_t error) {
    switch (error) {
        case ERROR_BAD_REQUEST: return V1_INVALID;
        case ERROR_NO_IMAGE:
        case ERROR_NO_KEY: return V1_NO_ENTRY;
        case ERROR_ALREADY_PROVISIONED:
        case ERROR_NOT_HERE: return V1_BAD_STATE;
        case ERROR_BUSY: return V1_BUSY;
        case ERROR_BAD_HASH:
        case ERROR_BAD_HEADER:
        case ERROR_WRONG_LENGTH:
        case ERROR_TOO_LARGE: return V1_CORRUPT;
        case ERROR_BAD_SIGNATURE:
        case ERROR_DOWNGRADE:
        case ERROR_UNKNOWN_TLV:
        case ERROR_LYING_TRAILER:
        case ERROR_DEPENDENCY:
        case ERROR_REVISION:
        case ERROR_BOARD_MISMATCH: return V1_DENIED;
        default: return V1_UNKNOWN;
    }
}

static void answer_error(struct cbor_writer *answer, bool version_2, result_t result) {
    uint32_t error = result_error(result);
    if (version_2) {
        cbor_head(answer, CBOR_MAP, 1);
        cbor_string(answer, "err");
        cbor_head(answer, CBOR_MAP, 2);
        cbor_put_number(answer, "group", GROUP_ASSAY);
        cbor_put_number(answer, "rc", error);
        return;
    }
    cbor_head(answer, CBOR_MAP, 2);
    cbor_put_number(answer, "rc", version_1_error(error));
    cbor_put_string(answer, "rsn", result_word(error));
}

static smp_handler find(uint32_t group, uint32_t id, bool write) {
    for (uint32_t i = 0; i < COMMANDS_MAX && (smp_commands[i].read || smp_commands[i].write); i++) {
        const struct smp_command *command = &smp_commands[i];
        if (command->group == group && command->id == id) return write ? command->write : command->read;
    }
    return 0;
}

static void answer_body(const uint8_t *packet, uint32_t length, struct cbor_writer *answer) {
    bool version_2 = (packet[0] & 0x18u) != 0;
    struct smp_request request = {.write = (packet[0] & 7u) == OP_WRITE, .body = packet + SMP_HEADER_SIZE,
                                  .length = length - SMP_HEADER_SIZE};
    smp_handler handler = find(be16(packet + 4), packet[7], request.write);
    if (!handler) {  // a matter of the protocol, not of a group: both versions answer `rc`, as Zephyr does
        cbor_head(answer, CBOR_MAP, 1);
        cbor_put_number(answer, "rc", V1_NOT_SUPPORTED);
        return;
    }
    static const uint8_t empty_map = 0xA0;
    if (request.length == 0) {  // some clients send nothing where others send {}
        request.body = &empty_map;
        request.length = 1;
    }
    result_t result = RESULT_OF(ERROR_BAD_REQUEST);
    if (cbor_is_map(request.body, request.length)) result = handler(&request, answer);
    if (result_ok(result) && answer->full) result = RESULT_OF(ERROR_TOO_LARGE);
    if (result_ok(result)) return;
    cbor_start(answer, answer->data, answer->size);
    answer_error(answer, version_2, result);
}

uint32_t smp_answer(const uint8_t *packet, uint32_t length, uint8_t *answer, uint32_t size) {
    struct cbor_writer body;
    if (length < SMP_HEADER_SIZE || length != SMP_HEADER_SIZE + be16(packet + 2)) return 0;
    uint32_t op = packet[0] & 7u;
    if (op != OP_READ && op != OP_WRITE) return 0;  // an answer: two servers must not talk to each other
    cbor_start(&body, answer + SMP_HEADER_SIZE, size - SMP_HEADER_SIZE);
    answer_body(packet, length, &body);
    memcpy(answer, packet, SMP_HEADER_SIZE);
    answer[0] = (uint8_t)((packet[0] & 0x18u) | op | OP_ANSWER);
    put_be16(answer + 2, body.used);
    return SMP_HEADER_SIZE + body.used;
}

static result_t get_string(const struct smp_request *request, const char *key, enum cbor_type type, uint32_t lowest,
                           uint32_t highest, struct cbor_item *item) {
    if (!cbor_find(request->body, request->length, key, item)) return RESULT_OF(ERROR_BAD_REQUEST);
    bool good = item->type == type && item->value >= lowest && item->value <= highest;
    return good ? RESULT_OK : RESULT_OF(ERROR_BAD_REQUEST);
}

result_t smp_get_bytes(const struct smp_request *request, const char *key, uint32_t lowest, uint32_t highest,
                       struct cbor_item *item) {
    return get_string(request, key, CBOR_BYTES, lowest, highest, item);
}

result_t smp_get_text(const struct smp_request *request, const char *key, uint32_t lowest, uint32_t highest,
                      struct cbor_item *item) {
    return get_string(request, key, CBOR_TEXT, lowest, highest, item);
}

result_t smp_get_number(const struct smp_request *request, const char *key, uint32_t *value) {
    struct cbor_item item;
    bool found = cbor_find(request->body, request->length, key, &item) && item.type == CBOR_UNSIGNED;
    if (!found) return RESULT_OF(ERROR_BAD_REQUEST);
    *value = item.value;
    return RESULT_OK;
}

bool smp_get_bool(const struct smp_request *request, const char *key) {
    struct cbor_item item;
    bool found = cbor_find(request->body, request->length, key, &item);
    return found && item.type == CBOR_SIMPLE && item.value == CBOR_TRUE;
}

bool smp_has(const struct smp_request *request, const char *key) {
    struct cbor_item item;
    return cbor_find(request->body, request->length, key, &item);
}

result_t smp_echo(const struct smp_request *request, struct cbor_writer *answer) {
    struct cbor_item said;
    result_t result = smp_get_text(request, "d", 0, SMP_PACKET_MAX, &said);
    if (!result_ok(result)) return result;
    cbor_head(answer, CBOR_MAP, 1);
    cbor_string(answer, "r");
    cbor_text(answer, (const char *)said.data, said.value);
    return RESULT_OK;
}

result_t smp_reset(const struct smp_request *request, struct cbor_writer *answer) {
    (void)request;
    smp_request_reset();
    cbor_head(answer, CBOR_MAP, 0);
    return RESULT_OK;
}

result_t smp_parameters(const struct smp_request *request, struct cbor_writer *answer) {
    (void)request;
    cbor_head(answer, CBOR_MAP, 2);
    cbor_put_number(answer, "buf_size", SMP_PACKET_MAX);
    cbor_put_number(answer, "buf_count", SMP_BUFFERS);
    return RESULT_OK;
}
