import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createLog } from "../observe/index.ts";
import type { SwapWanted } from "./supervisor.ts";
import { swapKeeper } from "./swap.ts";

/** Keeps in a file what it was told to turn on, and turns nothing on. */
const NATIVE = `#!/bin/sh
here=$(dirname "$0")
echo "$2 $3" >> "$here/calls"
case $2 in
  show) cat "$here/on" 2> /dev/null || echo null ;;
  off) rm -f "$here/on" ;;
  on)
    if [ "$3" = encrypted ] && [ -e "$here/no-crypt" ]; then cat "$here/no-crypt" >&2; exit 1; fi
    if [ "$3" = zram ] && [ -e "$here/no-zram" ]; then echo "zram: no such file" >&2; exit 1; fi
    if [ "$3" = plain ] && [ -e "$here/no-plain" ]; then echo "invalid argument" >&2; exit 1; fi
    echo "{\\"kind\\":\\"$3\\",\\"bytes\\":$5,\\"usedBytes\\":0}" > "$here/on" ;;
esac
`;
const MIB = 2 ** 20;

let dir: string;
let native: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "ironwright-swap-"));
  native = join(dir, "native");
  writeFileSync(native, NATIVE, { mode: 0o755 });
});
afterEach(() => rmSync(dir, { recursive: true }));

const keeper = () => swapKeeper(dir, createLog("silent"));
const wanted = (more: Partial<SwapWanted> = {}): SwapWanted => ({ bytes: 4 * MIB, native, ...more });
const cannotEncrypt = (because = "device mapper: no such device") => writeFileSync(join(dir, "no-crypt"), because);
const turnedOn = () => readFileSync(join(dir, "calls"), "utf8").match(/(?<=^on )\S+/gm) ?? [];
const canEncrypt = () => rmSync(join(dir, "no-crypt"));
const holding = (kind: string, usedBytes: number) => writeFileSync(join(dir, "on"), JSON.stringify({ kind, bytes: 4 * MIB, usedBytes }));
const BECAUSE = "it cannot be encrypted: device mapper: no such device";

test.each([
  ["encrypted, where nothing is said", {}, "encrypted"],
  ["in clear, where the disk is encrypted already", { encryption: "off" }, "plain"],
  ["in memory", { medium: "zram" }, "zram"],
] as const)("it is %s", async (_, more, kind) => {
  expect(await keeper().keep(wanted(more))).toEqual({ on: true, kind, bytes: 4 * MIB, usedBytes: 0 });
});

test("a kernel that cannot encrypt leaves it in clear, and that is said, also later; it is tried once a start of the supervisor", async () => {
  cannotEncrypt();
  const plain = { on: true, kind: "plain", bytes: 4 * MIB, usedBytes: 0, reason: BECAUSE };
  const swap = keeper();
  expect(await swap.keep(wanted())).toEqual(plain);
  expect(await swap.keep(wanted())).toEqual(plain);
  expect(await swap.status()).toEqual(plain);
  expect(turnedOn()).toEqual(["encrypted", "plain"]);
  cannotEncrypt("loop device: no such file");
  const next = keeper();
  await next.resume();
  const now = { ...plain, reason: "it cannot be encrypted: loop device: no such file" };
  expect(await next.status()).toEqual(now);
  expect(await next.keep(wanted())).toEqual(now);
  expect(turnedOn()).toEqual(["encrypted", "plain", "encrypted", "plain"]);
});

test("what could not be encrypted is, once the supervisor is started anew and nobody sleeps in it any more", async () => {
  cannotEncrypt();
  await keeper().keep(wanted());
  holding("plain", 5);
  canEncrypt();
  const next = keeper();
  await next.resume();
  expect(await next.keep(wanted())).toMatchObject({ kind: "plain", usedBytes: 5, reason: BECAUSE });
  holding("plain", 0);
  const encrypted = { on: true, kind: "encrypted", bytes: 4 * MIB, usedBytes: 0 };
  expect(await next.keep(wanted())).toEqual(encrypted);
  expect(await next.status()).toEqual(encrypted);
});

test.each([
  ["no dm-crypt, and it has to be encrypted", { encryption: "require" }, BECAUSE],
  ["no zram", { medium: "zram" }, "zram: no such file"],
  ["no room", { bytes: 2 ** 50 }, expect.stringContaining("has no room")],
  ["neither", {}, `${BECAUSE}; nor is there a plain one: invalid argument`],
] as const)("why there is none is said until there is one: %s", async (_, more, reason) => {
  const none = { on: false, bytes: 0, usedBytes: 0 };
  expect(await keeper().status()).toEqual(none);
  cannotEncrypt();
  for (const what of ["no-zram", "no-plain"]) writeFileSync(join(dir, what), "");
  expect(await keeper().keep(wanted(more))).toEqual({ ...none, reason });
  expect(await keeper().status()).toEqual({ ...none, reason });
  canEncrypt();
  const next = keeper();
  await next.keep(wanted());
  expect(await next.status()).toEqual({ on: true, kind: "encrypted", bytes: 4 * MIB, usedBytes: 0 });
  rmSync(join(dir, "on"));
  expect(await next.status()).toEqual({ ...none, reason: "something else took it away" });
  await next.keep(wanted({ bytes: 0 }));
  expect(await next.status()).toEqual(none);
});

test("where it has to be encrypted and cannot be, there is none", async () => {
  cannotEncrypt();
  expect(await keeper().keep(wanted({ encryption: "require" }))).toEqual({ on: false, bytes: 0, usedBytes: 0, reason: BECAUSE });
  expect(turnedOn()).toEqual(["encrypted"]);
});

test("another kind is made when another is wanted, but not over what holds somebody's memory", async () => {
  const swap = keeper();
  await swap.keep(wanted({ encryption: "off" }));
  expect(await swap.keep(wanted({ encryption: "require" }))).toMatchObject({ kind: "encrypted" });
  holding("encrypted", 5);
  expect(await swap.keep(wanted({ medium: "zram" }))).toMatchObject({
    kind: "encrypted",
    reason: expect.stringContaining("those who sleep"),
  });
});

test("after a start of the machine it is made again, and encrypted where that can be by now", async () => {
  cannotEncrypt();
  await keeper().keep(wanted());
  rmSync(join(dir, "on"));
  canEncrypt();
  const next = keeper();
  await next.resume();
  expect(await next.status()).toEqual({ on: true, kind: "encrypted", bytes: 4 * MIB, usedBytes: 0 });
  await next.release();
  expect(existsSync(join(dir, "on"))).toBe(false);
  expect(await next.status()).toMatchObject({ on: false });
});
