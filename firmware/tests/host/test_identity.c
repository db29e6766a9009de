// SPDX-License-Identifier: Apache-2.0
// The commands of identity: key, certificate, evidence.
#include <string.h>

#include "check.h"
#include "evidence.h"
#include "host_port.h"
#include "identity.h"
#include "smp_client.h"
#include "smp_scene.h"

static void test_identity_commands(void) {
    struct cbor_item key, proof, item;
    uint8_t challenge[32] = {5}, message[13 + 16 + 32 + 32];
    prepare();
    start_request(0);
    ask(false, GROUP_ASSAY, 2);
    CHECK(error() == ERROR_NO_KEY);
    host_entropy_works = false;
    cbor_put_bytes(start_request(1), "challenge", challenge, 32);
    ask(true, GROUP_ASSAY, 1);
    CHECK(error() == ERROR_NO_ENTROPY);
    host_entropy_works = true;
    cbor_put_bytes(start_request(1), "challenge", challenge, 31);
    ask(true, GROUP_ASSAY, 1);
    CHECK(error() == ERROR_BAD_REQUEST);
    cbor_put_bytes(start_request(1), "challenge", challenge, 32);
    ask(true, GROUP_ASSAY, 1);
    CHECK(error() == 0 && got("pubkey", &key) && got("pop", &proof) && key.value == 32 && proof.value == 64);
    memcpy(message, "assay-pop-v1\0" "0123456789abcdef", 29);
    memcpy(message + 29, challenge, 32);
    memcpy(message + 61, key.data, 32);
    CHECK(ed25519_verify(proof.data, message, sizeof message, key.data) == CRYPTO_OK);
    memcpy(challenge, key.data, 32);
    cbor_put_bytes(start_request(1), "challenge", challenge, 32);
    ask(true, GROUP_ASSAY, 1);
    CHECK(got("pubkey", &item) && memcmp(item.data, challenge, 32) == 0);  // the same key again
}

static void write_certificate(const char *serial, uint32_t length) {
    static uint8_t certificate[2000];
    struct cbor_writer *out = start_request(2);
    cbor_put_string(out, "serial", serial);
    cbor_put_bytes(out, "cert", certificate, length);
    ask(true, GROUP_ASSAY, 2);
}

static void test_certificate(void) {
    struct cbor_item item;
    uint8_t challenge[32] = {5};
    char long_serial[66];
    prepare();
    write_certificate("SN-1", 500);
    CHECK(error() == ERROR_NO_KEY);
    cbor_put_bytes(start_request(1), "challenge", challenge, 32);
    ask(true, GROUP_ASSAY, 1);
    memset(long_serial, 'x', 65);
    long_serial[65] = 0;
    write_certificate(long_serial, 500);
    CHECK(error() == ERROR_BAD_REQUEST);
    write_certificate("", 500);
    CHECK(error() == ERROR_BAD_REQUEST);
    write_certificate("SN-1", 1025);
    CHECK(error() == ERROR_BAD_REQUEST);
    write_certificate("SN-1", 1024);
    CHECK(error() == 0);
    write_certificate("SN-1", 1024);
    CHECK(error() == 0);
    write_certificate("SN-2", 1024);
    CHECK(error() == ERROR_ALREADY_PROVISIONED);
    write_certificate("SN-1", 1023);
    CHECK(error() == ERROR_ALREADY_PROVISIONED);
    start_request(0);
    ask(false, GROUP_ASSAY, 2);
    CHECK(got("cert", &item) && item.value == 1024 && got("serial", &item) && memcmp(item.data, "SN-1", 4) == 0);
    start_request(0);
    ask(false, GROUP_ASSAY, 0);
    CHECK(got("serial", &item) && item.value == 4);
}

static void test_evidence_of_any_length(void) {
    struct identity identity = {.serial_length = SERIAL_MAX, .certificate_length = 1};
    uint8_t nonce[NONCE_MAX], evidence[EVIDENCE_MAX];
    uint32_t length;
    prepare();
    memset(identity.serial, 'S', SERIAL_MAX);
    memset(handoff.app_name, 'n', IMAGE_NAME_MAX);
    handoff.app_version = (struct image_version){255, 255, 65535, 4294967295u};
    for (uint32_t size = NONCE_MIN; size <= NONCE_MAX; size++)
        CHECK(result_ok(evidence_make(&identity, &handoff, STATE_TESTING, nonce, size, evidence, &length)));
    CHECK(length <= EVIDENCE_MAX);
    memset(&handoff, 0, sizeof handoff);
}

const struct test tests_identity[] = {
    {"commands", test_identity_commands},
    {"certificate", test_certificate},
    {"evidence_of_any_length", test_evidence_of_any_length},
    {0, 0},
};
