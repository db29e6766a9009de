// SPDX-License-Identifier: Apache-2.0
// Evidence: COSE_Sign1 (RFC 9052 section 4.2) with EdDSA over an EAT claims map (RFC 9711), keys in the order of
// deterministic CBOR (RFC 8949 section 4.2.1). What it says of images comes from the hand-off: it was measured before
// they ran.
#include "evidence.h"

#include "bytes.h"
#include "cbor.h"
#include "text.h"

#define COSE_SIGN1_TAG 18u
#define UEID_RANDOM 0x01u
#ifndef EVIDENCE_HOW
#define EVIDENCE_HOW "verified-at-boot"  // a Linux module, which measures itself, says "recomputed"
#endif
#define PROFILE "urn:assay:evidence:v2"

enum claim {
    EAT_NONCE = 10,
    UEID = 256,
    HWMODEL = 259,
    HWVERSION = 260,
    EAT_PROFILE = 265,
    SWNAME = 270,
    SWVERSION = 271,
};
// Private claims, negative: -75000 is 74999 in CBOR's negative integers.
enum private_claim {
    IMAGE_HASH = 74999,
    BOOT_STATE,
    BOOT_HASH,
    SERIAL,
    SECURITY_COUNTER,
    HASH_ORIGIN,
    REVERTED,
    CONFIRMED_SINCE,
};
#define CLAIMS 15u

static const uint8_t protected_header[3] = {0xA1, 0x01, 0x27};  // {1: -8}

static void key(struct cbor_writer *out, enum claim claim) { cbor_head(out, CBOR_UNSIGNED, (uint32_t)claim); }
static void private_key(struct cbor_writer *out, enum private_claim claim) {
    cbor_head(out, CBOR_NEGATIVE, (uint32_t)claim);
}

static void text_list(struct cbor_writer *out, const char *text) {
    cbor_head(out, CBOR_ARRAY, 1);
    cbor_string(out, text);
}

static void put_hardware(struct cbor_writer *out) {
    uint8_t ueid[1 + CHIP_ID_SIZE] = {UEID_RANDOM};
    char revision[11];
    struct text line = text_start(revision, sizeof revision);
    text_number(&line, BOARD_REVISION);
    (void)chip_id(ueid + 1);
    key(out, UEID);
    cbor_bytes(out, ueid, sizeof ueid);
    key(out, HWMODEL);
    cbor_bytes(out, BOARD_NAME, sizeof BOARD_NAME - 1);
    key(out, HWVERSION);
    text_list(out, revision);
}

static void put_software(struct cbor_writer *out, const struct handoff *handoff) {
    char version[IMAGE_VERSION_TEXT];
    image_version_text(&handoff->app_version, version);
    key(out, EAT_PROFILE);
    cbor_string(out, PROFILE);
    key(out, SWNAME);
    cbor_string(out, handoff->app_name);
    key(out, SWVERSION);
    text_list(out, version);
}

// The boot state is the bootloader's. What the app did to it since is a claim of its own: the app's word.
static void put_measurements(struct cbor_writer *out, const struct identity *identity, const struct handoff *handoff,
                             enum boot_state now) {
    bool measured_confirmed = handoff->state == STATE_CONFIRMED;
    private_key(out, IMAGE_HASH);
    cbor_bytes(out, handoff->app_hash, SHA256_SIZE);
    private_key(out, BOOT_STATE);
    cbor_string(out, measured_confirmed ? "confirmed" : "testing");
    private_key(out, BOOT_HASH);
    cbor_bytes(out, handoff->boot_hash, SHA256_SIZE);
    private_key(out, SERIAL);
    cbor_text(out, identity->serial, identity->serial_length);
    private_key(out, SECURITY_COUNTER);
    cbor_head(out, CBOR_UNSIGNED, handoff->security_counter);
    private_key(out, HASH_ORIGIN);
    cbor_string(out, EVIDENCE_HOW);
    private_key(out, REVERTED);
    cbor_bool(out, handoff->event == EVENT_REVERTED);
    private_key(out, CONFIRMED_SINCE);
    cbor_bool(out, !measured_confirmed && now == STATE_CONFIRMED);
}

// Sig_structure of RFC 9052 section 4.4, signed at once.
static result_t sign(const struct identity *identity, const struct cbor_writer *payload, uint8_t *signature) {
    uint8_t buffer[EVIDENCE_MAX];
    struct cbor_writer out;
    cbor_start(&out, buffer, sizeof buffer);
    cbor_head(&out, CBOR_ARRAY, 4);
    cbor_string(&out, "Signature1");
    cbor_bytes(&out, protected_header, sizeof protected_header);
    cbor_bytes(&out, "", 0);
    cbor_bytes(&out, payload->data, payload->used);
    if (out.full) return RESULT_OF(ERROR_TOO_LARGE);
    bool signed_ = ed25519_sign(signature, out.data, out.used, identity->seed) == CRYPTO_OK;
    return signed_ ? RESULT_OK : RESULT_FAIL;
}

result_t evidence_make(const struct identity *identity, const struct handoff *handoff, enum boot_state now,
                       const uint8_t *nonce, uint32_t nonce_length, uint8_t *evidence, uint32_t *length) {
    uint8_t buffer[EVIDENCE_MAX], signature[ED25519_SIGNATURE_SIZE];
    struct cbor_writer claims, out;
    cbor_start(&claims, buffer, sizeof buffer);
    cbor_head(&claims, CBOR_MAP, CLAIMS);
    key(&claims, EAT_NONCE);
    cbor_bytes(&claims, nonce, nonce_length);
    put_hardware(&claims);
    put_software(&claims, handoff);
    put_measurements(&claims, identity, handoff, now);
    if (claims.full) return RESULT_OF(ERROR_TOO_LARGE);
    result_t result = sign(identity, &claims, signature);
    if (!result_ok(result)) return result;
    cbor_start(&out, evidence, EVIDENCE_MAX);
    cbor_head(&out, CBOR_TAG, COSE_SIGN1_TAG);
    cbor_head(&out, CBOR_ARRAY, 4);
    cbor_bytes(&out, protected_header, sizeof protected_header);
    cbor_head(&out, CBOR_MAP, 0);
    cbor_bytes(&out, claims.data, claims.used);
    cbor_bytes(&out, signature, sizeof signature);
    *length = out.used;
    return out.full ? RESULT_OF(ERROR_TOO_LARGE) : RESULT_OK;
}
