// SPDX-License-Identifier: Apache-2.0
// The commands that need the device key, and those that tell how the app is: app only. The key is made here from the
// board's entropy and never leaves; what is given out is its public half and what it signs.
#include "smp_assay.h"

#include "bytes.h"
#include "evidence.h"
#include "identity.h"
#include "port.h"

#define CHALLENGE_SIZE 32u
#define ENTROPY_SIZE 32u
static const char pop_label[] = "assay-pop-v1";  // with its NUL

// The seed is a hash over entropy and chip id: two chips with the same bad entropy still have two keys.
static result_t make_key(struct identity *identity, const uint8_t chip[CHIP_ID_SIZE]) {
    uint8_t entropy[ENTROPY_SIZE];
    struct sha256 hash;
    memset(identity, 0, sizeof *identity);
    result_t result = port_entropy(entropy, sizeof entropy);
    if (!result_ok(result)) return RESULT_OF(ERROR_NO_ENTROPY);
    // A source that is stuck gives no key that anybody could guess.
    if (bytes_are(entropy, entropy[0], sizeof entropy)) return RESULT_OF(ERROR_NO_ENTROPY);
    sha256_init(&hash);
    sha256_update(&hash, entropy, sizeof entropy);
    sha256_update(&hash, chip, CHIP_ID_SIZE);
    sha256_final(&hash, identity->seed);
    memset(entropy, 0, sizeof entropy);
    return identity_store(identity);
}

static result_t prove(const struct identity *identity, const uint8_t *chip, const uint8_t *challenge,
                      uint8_t public_key[ED25519_PUBLIC_SIZE], uint8_t proof[ED25519_SIGNATURE_SIZE]) {
    uint8_t message[sizeof pop_label + CHIP_ID_SIZE + CHALLENGE_SIZE + ED25519_PUBLIC_SIZE];
    uint8_t *at = message;
    if (ed25519_public(public_key, identity->seed) != CRYPTO_OK) return RESULT_FAIL;
    memcpy(at, pop_label, sizeof pop_label);
    memcpy(at += sizeof pop_label, chip, CHIP_ID_SIZE);
    memcpy(at += CHIP_ID_SIZE, challenge, CHALLENGE_SIZE);
    memcpy(at += CHALLENGE_SIZE, public_key, ED25519_PUBLIC_SIZE);
    return ed25519_sign(proof, message, sizeof message, identity->seed) == CRYPTO_OK ? RESULT_OK : RESULT_FAIL;
}

result_t assay_key(const struct smp_request *request, struct cbor_writer *answer) {
    struct cbor_item challenge;
    struct identity identity;
    uint8_t chip[CHIP_ID_SIZE], public_key[ED25519_PUBLIC_SIZE], proof[ED25519_SIGNATURE_SIZE];
    result_t result = smp_get_bytes(request, "challenge", CHALLENGE_SIZE, CHALLENGE_SIZE, &challenge);
    if (!result_ok(result)) return result;
    if (chip_id(chip) == RESULT_OF(ERROR_FLASH)) return RESULT_OF(ERROR_FLASH);
    result = identity_load(&identity);
    if (result == RESULT_EMPTY) result = make_key(&identity, chip);
    if (result_ok(result)) result = prove(&identity, chip, challenge.data, public_key, proof);
    memset(identity.seed, 0, sizeof identity.seed);
    if (!result_ok(result)) return result;
    cbor_head(answer, CBOR_MAP, 3);
    cbor_put_bytes(answer, "pubkey", public_key, sizeof public_key);
    cbor_put_bytes(answer, "pop", proof, sizeof proof);
    cbor_put_bytes(answer, "chip", chip, sizeof chip);
    return RESULT_OK;
}

static result_t load_identity(struct identity *identity) {
    result_t result = identity_load(identity);
    return result == RESULT_EMPTY ? RESULT_OF(ERROR_NO_KEY) : result;
}

static bool same(const struct identity *identity, const struct cbor_item *serial, const struct cbor_item *certificate) {
    return identity->serial_length == serial->value && identity->certificate_length == certificate->value &&
           bytes_equal(identity->serial, serial->data, serial->value) &&
           bytes_equal(identity->certificate, certificate->data, certificate->value);
}

result_t assay_certificate_write(const struct smp_request *request, struct cbor_writer *answer) {
    struct cbor_item serial, certificate;
    struct identity identity;
    result_t result = smp_get_text(request, "serial", 1, SERIAL_MAX, &serial);
    if (result_ok(result)) result = smp_get_bytes(request, "cert", 1, CERTIFICATE_MAX, &certificate);
    if (result_ok(result)) result = load_identity(&identity);
    if (!result_ok(result)) return result;
    cbor_head(answer, CBOR_MAP, 0);
    if (identity.serial_length != 0)
        return same(&identity, &serial, &certificate) ? RESULT_OK : RESULT_OF(ERROR_ALREADY_PROVISIONED);
    identity.serial_length = serial.value;
    identity.certificate_length = certificate.value;
    memcpy(identity.serial, serial.data, serial.value);
    memcpy(identity.certificate, certificate.data, certificate.value);
    return identity_store(&identity);
}

result_t assay_certificate_read(const struct smp_request *request, struct cbor_writer *answer) {
    struct identity identity;
    (void)request;
    result_t result = load_identity(&identity);
    if (!result_ok(result)) return result;
    if (identity.serial_length == 0) return RESULT_OF(ERROR_NO_KEY);
    cbor_head(answer, CBOR_MAP, 2);
    cbor_string(answer, "serial");
    cbor_text(answer, identity.serial, identity.serial_length);
    cbor_put_bytes(answer, "cert", identity.certificate, identity.certificate_length);
    return RESULT_OK;
}

result_t assay_evidence(const struct smp_request *request, struct cbor_writer *answer) {
    struct cbor_item nonce;
    struct identity identity;
    uint8_t evidence[EVIDENCE_MAX];
    uint32_t length;
    result_t result = smp_get_bytes(request, "nonce", NONCE_MIN, NONCE_MAX, &nonce);
    if (result_ok(result)) result = load_identity(&identity);
    if (!result_ok(result)) return result;
    if (identity.serial_length == 0) return RESULT_OF(ERROR_NO_KEY);
    result = evidence_make(&identity, assay_stage.handoff, assay_stage.state, nonce.data, nonce.value, evidence,
                           &length);
    if (!result_ok(result)) return result;
    cbor_head(answer, CBOR_MAP, 1);
    cbor_put_bytes(answer, "evidence", evidence, length);
    return RESULT_OK;
}

result_t assay_health(const struct smp_request *request, struct cbor_writer *answer) {
    static const char *const states[] = {[HEALTH_RUNNING] = "running", [HEALTH_PASS] = "pass", [HEALTH_FAIL] = "fail"};
    (void)request;
    cbor_head(answer, CBOR_MAP, 3);
    cbor_put_string(answer, "state", states[assay_stage.health]);
    cbor_put_number(answer, "code", assay_stage.health_code);
    cbor_put_string(answer, "reason", assay_stage.health_reason);
    return RESULT_OK;
}

result_t assay_stats(const struct smp_request *request, struct cbor_writer *answer) {
    (void)request;
    cbor_head(answer, CBOR_MAP, 4);
    cbor_put_number(answer, "uptime_ms", port_millis());
    cbor_put_number(answer, "boots", assay_stage.handoff->boots);
    cbor_put_number(answer, "stack_free", port_stack_free());
    cbor_put_number(answer, "frames_bad", assay_stage.frames_bad + port_uart_lost());
    return RESULT_OK;
}
