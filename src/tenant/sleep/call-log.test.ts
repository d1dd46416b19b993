import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type CallLogs, callLogs } from "./call-log.ts";

let dir: string;
let logs: CallLogs;
const log = () => join(dir, "kube-apiserver.log");

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "iw-audit-"));
  logs = callLogs(log);
});
afterEach(() => rmSync(dir, { recursive: true }));

function call(at: string): string {
  const event = { stage: "ResponseComplete", verb: "get", requestURI: "/api", userAgent: "kubectl", user: { username: "admin" } };
  return `${JSON.stringify({ ...event, stageTimestamp: at })}\n`;
}

test("a log that grows is read on, a line at a time, however it is cut", async () => {
  expect(await logs.lastCall("a")).toBeUndefined();
  writeFileSync(log(), `I0101 00:00:00.000000       1 server.go:1] serving\n${call("2026-01-01T00:00:01Z")}`);
  expect(await logs.lastCall("a")).toBe(Date.parse("2026-01-01T00:00:01Z"));
  const later = call("2026-01-01T00:00:02Z");
  appendFileSync(log(), later.slice(0, 40));
  expect(await logs.lastCall("a")).toBe(Date.parse("2026-01-01T00:00:01Z"));
  appendFileSync(log(), later.slice(40));
  expect(await logs.lastCall("a")).toBe(Date.parse("2026-01-01T00:00:02Z"));
  // an older line changes nothing
  appendFileSync(log(), call("2025-01-01T00:00:00Z"));
  expect(await logs.lastCall("a")).toBe(Date.parse("2026-01-01T00:00:02Z"));
});

test("a log that was rotated, or emptied, is read from its beginning", async () => {
  writeFileSync(log(), call("2026-01-01T00:00:01Z").repeat(3));
  await logs.lastCall("a");
  renameSync(log(), `${log()}.1`);
  expect(await logs.lastCall("a")).toBe(Date.parse("2026-01-01T00:00:01Z"));
  writeFileSync(log(), call("2026-01-01T00:00:05Z"));
  expect(await logs.lastCall("a")).toBe(Date.parse("2026-01-01T00:00:05Z"));
  writeFileSync(log(), "");
  await logs.lastCall("a");
  writeFileSync(log(), call("2026-01-01T00:00:06Z"));
  expect(await logs.lastCall("a")).toBe(Date.parse("2026-01-01T00:00:06Z"));
});
