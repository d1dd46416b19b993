import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeBech32, encodeBech32 } from "../core/bech32.ts";
import { AgeProblem, decrypt, encrypt } from "./age.ts";
import { isIdentity, isRecipient, type Lock, newIdentity, type Unlock } from "./age-header.ts";

/** Files, keys and passphrase of age's own TypeScript implementation (npm age-encryption 0.3.1). */
const THEIRS = {
  identity: "AGE-SECRET-KEY-1D9379KE2DYR8MYJL4PWN8LYU3LRD7U2V8CFK64WAESYJTZJTC0TSH4EZ46",
  recipient: "age1p3d3m9urugq2l8vre4eyl7tp0c69g8q4twa84syte7dt9qcvjp9q9gqalq",
  file: "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBjenR3WW11T1BlOGVoU280Q3ZMeUVGS05CNjVGMExuNEdyMGF1NmlsMGlzCmVqUWRKRXBxSlZFYjhwYlJaNS9sK1dYYjVBQUc1S0s1cnFLeFRWdVlmd0UKLS0tIHVCVnI1L2s5ay9tdnFhMWJxRDBrY1pQajNLM01helRMT3Q0Z2FnaE5RN0EKhyz147z0xvb/dYnHxKM7clCySGLsSd62fRF5jpP0vTL/X4pmR1R2KKl0",
  passphrase: "correct horse",
  underPassphrase:
    "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCBhQlFzVVc2YkJnUDFjVUM2cWdhOUR3IDEwCkVaUEZYcXZjYm9lREYwYjFjMUJSTmIzNUtVV0syLzlIWGVHY3BFZ250cVUKLS0tIExmSHB5ZmorTCtvZm9sZXVVTGQwSE1hbkJJVUFlL2U0Q25tZGt0UGIzRGcKIdWQ+jkaiEhz8KJN0xplyI5E9AzwfrOUMmF6xBimRG0f2TaBt0aeDW/r",
} as const;

async function* pieces(bytes: Buffer, size = 10_000): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function all(source: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of source) parts.push(part);
  return Buffer.concat(parts);
}

const { identity, recipient } = newIdentity();
const seal = (bytes: Buffer, lock: Lock = { recipients: [recipient] }) => all(encrypt(pieces(bytes), lock, randomBytes, 4));
const open = (bytes: Buffer, unlock: Unlock = { identities: [identity] }, size?: number) => all(decrypt(pieces(bytes, size), unlock));

test("what age's own implementation wrote is read", async () => {
  const byKey = { identities: [THEIRS.identity] };
  expect((await open(Buffer.from(THEIRS.file, "base64"), byKey)).toString()).toBe("ironwright");
  const byPassphrase = { passphrase: THEIRS.passphrase };
  expect((await open(Buffer.from(THEIRS.underPassphrase, "base64"), byPassphrase)).toString()).toBe("ironwright");
  expect([isIdentity(THEIRS.identity), isRecipient(THEIRS.recipient)]).toEqual([true, true]);
});

test.each([0, 1, 65_535, 65_536, 65_537, 200_000])("%i bytes come back, however they arrive", async (length) => {
  const bytes = randomBytes(length);
  const sealed = await seal(bytes, { recipients: [newIdentity().recipient, recipient] });
  for (const size of [1 << 20, 977]) expect((await open(sealed, { identities: [identity] }, size)).equals(bytes)).toBe(true);
});

test("under a passphrase, and under no other", async () => {
  const sealed = await seal(Buffer.from("x"), { passphrase: "correct horse" });
  expect((await open(sealed, { passphrase: "correct horse" })).toString()).toBe("x");
  await expect(open(sealed, { passphrase: "wrong horse" })).rejects.toThrow(/no key given/);
});

test("a key that is not its own opens nothing", async () => {
  await expect(open(await seal(Buffer.from("x")), { identities: [newIdentity().identity] })).rejects.toThrow(/no key given/);
});

test("a file that is cut anywhere, has a bit turned anywhere, or goes on after its end is refused", async () => {
  const bytes = randomBytes(70_000);
  const sealed = await seal(bytes);
  await fc.assert(
    fc.asyncProperty(fc.nat(sealed.length - 1), fc.nat(7), fc.constantFrom("cut", "turn", "add"), async (at, bit, how) => {
      const spoiled = Buffer.from(sealed);
      if (how === "turn") spoiled[at] = (spoiled[at] ?? 0) ^ (1 << bit);
      const input =
        how === "cut" ? spoiled.subarray(0, at) : how === "add" ? Buffer.concat([spoiled, randomBytes(1 + (at % 70_000))]) : spoiled;
      await expect(open(input)).rejects.toBeInstanceOf(AgeProblem);
    }),
    { numRuns: 150 },
  );
});

test("whatever is given, it is refused as what it is", async () => {
  const start = Buffer.from("age-encryption.org/v1\n");
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), fc.boolean(), async (noise, begins) => {
      const input = begins ? Buffer.concat([start, noise]) : Buffer.from(noise);
      await expect(open(input)).rejects.toBeInstanceOf(AgeProblem);
    }),
    { numRuns: 300 },
  );
  await expect(open(Buffer.concat([start, Buffer.alloc(1 << 20, 65)]))).rejects.toThrow(/does not end/);
});

test("a header may not ask for more work than we give", async () => {
  const sealed = await seal(Buffer.from("x"), { passphrase: "correct horse" });
  const heavy = Buffer.from(sealed.toString("latin1").replace(/(-> scrypt \S+) 4\n/, "$1 30\n"), "latin1");
  await expect(open(heavy, { passphrase: "correct horse" })).rejects.toThrow(/no key given/);
});

test("a key that was mistyped is none", () => {
  fc.assert(
    fc.property(fc.nat(recipient.length - 1), fc.constantFrom(..."qpzry9x8gf2tvdw0s3jn54khce6mua7l"), (at, letter) => {
      const typed = recipient.slice(0, at) + letter + recipient.slice(at + 1);
      expect(isRecipient(typed)).toBe(typed === recipient);
    }),
  );
  expect(isRecipient(identity)).toBe(false);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      expect(decodeBech32(encodeBech32("age", bytes))).toEqual({ prefix: "age", bytes });
    }),
  );
});
