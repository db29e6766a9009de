// SPDX-License-Identifier: Apache-2.0
//! The cryptography of the firmware behind a few C symbols: SHA-256 and Ed25519 (RFC 8032) of Zig's standard library.
//! It holds no key and keeps no state of its own. Failing is the default: success is a multi-bit word, all else is not.

const std = @import("std");
const Sha256 = std.crypto.hash.sha2.Sha256;
const Ed25519 = std.crypto.sign.Ed25519;
const Curve = Ed25519.Curve;

/// Equal to CRYPTO_OK and CRYPTO_FAIL of assay_crypto.h.
const ok: u32 = 0x5AC3693C;
const fail: u32 = 0xA53C96C3;

/// Bytes that C reserves for one running hash: SHA256_CONTEXT_SIZE of assay_crypto.h.
const context_size = 128;

comptime {
    if (@sizeOf(Sha256) > context_size) @compileError("SHA256_CONTEXT_SIZE is too small");
    if (@alignOf(Sha256) > 16) @compileError("the C context is aligned to 16 only");
}

/// Nothing here can be continued after a broken invariant, and there is nobody to tell: stop.
pub const panic = std.debug.FullPanic(struct {
    fn stop(_: []const u8, _: ?usize) noreturn {
        while (true) {}
    }
}.stop);

export fn sha256_init(context: *align(16) [context_size]u8) void {
    const hash: *Sha256 = @ptrCast(context);
    hash.* = Sha256.init(.{});
}

/// Block by block: std keeps what is left behind the last whole block, and an instruction that a fault skips in its loop
/// would make that all the rest, which is longer than the context has room for.
export fn sha256_update(context: *align(16) [context_size]u8, data: [*]const u8, length: usize) void {
    const hash: *Sha256 = @ptrCast(context);
    var done: usize = 0;
    while (done < length) {
        const part = @min(Sha256.block_length, length - done);
        hash.update(data[done..][0..part]);
        done += part;
    }
}

export fn sha256_final(context: *align(16) [context_size]u8, digest: *[32]u8) void {
    const hash: *Sha256 = @ptrCast(context);
    hash.final(digest);
}

/// Strict: canonical encodings, no point of small order, no cofactor. The point that the signature leads to is encoded and
/// compared byte by byte with R: std subtracts R and asks whether the identity is left, which what a fault has made zero,
/// and what was never computed, is as well. R of small order is refused, since its encoding may be that of such a point.
export fn ed25519_verify(signature: *const [64]u8, message: [*]const u8, length: usize, public: *const [32]u8) u32 {
    const key = Ed25519.PublicKey.fromBytes(public.*) catch return fail;
    var verifier = Ed25519.Signature.fromBytes(signature.*).verifier(key) catch return fail;
    verifier.expected_r.rejectLowOrder() catch return fail;
    verifier.update(message[0..length]);
    var digest: [std.crypto.hash.sha2.Sha512.digest_length]u8 = undefined;
    verifier.h.final(&digest);
    const minus_a = verifier.a.neg();
    const r = Curve.basePoint.mulDoubleBasePublic(verifier.s, minus_a, Curve.scalar.reduce64(digest)) catch return fail;
    return if (difference(&r.toBytes(), signature[0..32]) == 0) ok else fail;
}

/// Zero if they are equal. Without a loop: one that ends early has compared too little.
fn difference(a: *const [32]u8, b: *const [32]u8) u32 {
    var found: u32 = 0;
    inline for (0..8) |word| {
        found |= std.mem.readInt(u32, a[4 * word ..][0..4], .little) ^ std.mem.readInt(u32, b[4 * word ..][0..4], .little);
    }
    return found;
}

export fn ed25519_public(public: *[32]u8, seed: *const [32]u8) u32 {
    const pair = Ed25519.KeyPair.generateDeterministic(seed.*) catch return fail;
    public.* = pair.public_key.toBytes();
    return ok;
}

export fn ed25519_sign(signature: *[64]u8, message: [*]const u8, length: usize, seed: *const [32]u8) u32 {
    const pair = Ed25519.KeyPair.generateDeterministic(seed.*) catch return fail;
    const made = pair.sign(message[0..length], null) catch return fail;
    signature.* = made.toBytes();
    return ok;
}
