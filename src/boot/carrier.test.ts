import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../core/clock.ts";
import { startCarrier } from "./carrier.ts";

const log = pino({ level: "silent" });
const order = {
  path: "/x",
  version: "1",
  from: "127.0.0.1",
  to: "127.0.0.1:2070",
  blockSize: 512,
  windowSize: 1,
  timeoutMs: 1000,
  fixedTimeout: false,
  optionAck: "",
  askedSize: false,
};
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "ironwright-carrier-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** A program in the helper's place. */
function helper(text: string): string {
  const path = join(directory, "helper");
  writeFileSync(path, `#!${process.execPath}\n${text}\n`, { mode: 0o755 });
  return path;
}

test("without the program this process does the work, and stops", async () => {
  const carrier = await startCarrier({ native: join(directory, "none"), clock: systemClock, log });
  expect(carrier.tftp(order, new AbortController().signal)).toBeUndefined();
  await carrier.stop();
});

test("what a helper had under way when it ended has failed, and it can be stopped until it is back", async () => {
  const dies = helper("process.send({ ready: true }); process.on('message', () => process.exit(3));");
  const carrier = await startCarrier({ native: dies, clock: systemClock, log });
  const ending = carrier.tftp(order, new AbortController().signal);
  expect(await ending).toMatchObject({ how: "failed", why: "the native helper ended" });
  expect(carrier.tftp(order, new AbortController().signal)).toBeUndefined();
  await carrier.stop();
});

test("a helper that does not end by itself is ended", async () => {
  const hangs = helper("process.send({ ready: true }); setInterval(() => {}, 1000);");
  const carrier = await startCarrier({ native: hangs, clock: systemClock, log });
  await carrier.stop();
});
