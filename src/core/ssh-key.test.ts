import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ssh2 from "ssh2";
import { expect, onTestFinished, test } from "vitest";
import { SEED_BYTES, sshKey } from "./ssh-key.ts";

const comments = Array.from({ length: 9 }, (_, length) => "c".repeat(length));

test("whatever its padding, ssh2 reads the key and signs by it", () => {
  for (const comment of comments) {
    const made = sshKey(randomBytes(SEED_BYTES), comment);
    const key = ssh2.utils.parseKey(made.privateKey);
    if (key instanceof Error) throw key;
    expect(`${key.type} ${key.getPublicSSH().toString("base64")} ${comment}`).toBe(made.publicKey);
    const signature = key.sign("text");
    if (signature instanceof Error) throw signature;
    expect(key.verify("text", signature)).toBe(true);
  }
});

test("OpenSSH reads it too, and one seed is one key", () => {
  const dir = mkdtempSync(join(tmpdir(), "iw-key-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const file = join(dir, "id");
  for (const comment of comments) {
    const seed = randomBytes(SEED_BYTES);
    const made = sshKey(seed, comment);
    writeFileSync(file, made.privateKey, { mode: 0o600 });
    expect(execFileSync("ssh-keygen", ["-y", "-P", "", "-f", file], { encoding: "utf8" }).trim()).toBe(made.publicKey.trim());
    expect(sshKey(seed, comment)).toEqual(made);
  }
});
