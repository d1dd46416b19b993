import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createMetrics } from "../observe/index.ts";
import { openAttemptStore } from "./attempt-store.ts";
import type { Sign } from "./contract.ts";
import { createJournal, type Journal } from "./journal.ts";

let directory: string;
let now: number;
const clock = { now: () => new Date(now), sleep: () => Promise.reject(new Error("nothing here waits")) };

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "ironwright-journal-"));
  now = Date.parse("2026-03-01T12:00:00Z");
});
afterEach(() => rmSync(directory, { recursive: true }));

const open = () => openAttemptStore(join(directory, "attempts.sqlite"));
const pxe = (what: Sign["what"]): Sign => ({ what, client: "pxe", name: "UEFI PXE", file: "snponly.efi" });

function wait(seconds: number): void {
  now += seconds * 1000;
}

/** A boot that takes as long as `kernel` says between its script and its kernel. */
function boot(journal: Journal, machine: string, kernel: number, model?: string): void {
  journal.add(machine, "dhcp", "offer", pxe("offered"));
  wait(1);
  journal.add(machine, "dhcp", "lease", pxe("leased"));
  wait(1);
  journal.add(machine, "tftp", "program", { what: "fetched", file: "snponly.efi" });
  journal.add(machine, "script", "script");
  wait(kernel);
  journal.add(machine, "kernel", "kernel", { what: "fetched" });
  wait(30);
  journal.add(machine, "hello", "hello");
  if (model !== undefined) journal.setModel(machine, model);
  journal.add(machine, "inspected", "inspected");
  wait(60);
}

test("attempts and what is usual for a model are there after a restart, open ones too", () => {
  const first = createJournal(clock, { store: open() });
  for (const [machine, kernel] of [
    ["m1", 2],
    ["m2", 4],
    ["m3", 9],
  ] as const)
    boot(first, machine, kernel, "Dell XE9680");
  first.add("m1", "dhcp", "offer", pxe("offered"));
  first.close();

  const second = createJournal(clock, { store: open() });
  expect(second.history("Dell XE9680")).toContainEqual({ step: "kernel", count: 3, median: 4, p90: 9 });
  expect(second.attempts("m1").map(({ number, end, model }) => [number, end, model])).toEqual([
    [1, "inspected", "Dell XE9680"],
    [2, undefined, "Dell XE9680"],
  ]);
  wait(2);
  second.add("m1", "dhcp", "lease", pxe("leased"));
  expect(second.attempts("m1").at(-1)?.steps).toMatchObject([{ step: "address", seconds: 2 }]);
  second.close();
});

test("an attempt that stops says why, at the next boot and after long silence; twenty are kept", () => {
  const metrics = createMetrics();
  const journal = createJournal(clock, { store: open(), metrics });
  for (let time = 0; time < 25; time++) {
    journal.add("m1", "dhcp", "lease", pxe("leased"));
    wait(1);
    journal.add("m1", "tftp", "program", { what: "fetched", file: "snponly.efi" });
    wait(60);
    journal.tick();
  }
  wait(1000);
  journal.tick();
  const attempts = journal.attempts("m1");
  expect(attempts.map(({ number }) => number)).toEqual(Array.from({ length: 20 }, (_, index) => index + 6));
  expect(attempts[3]).toMatchObject({ end: "stopped", why: expect.stringMatching(/^fetched snponly\.efi 60 s ago and never came back/) });
  expect(attempts.at(-1)?.end).toBe("stopped");
  journal.forget("m1");
  expect(journal.attempts("m1")).toEqual([]);
  journal.close();
});

test("what repeats is one event with a count, so that a flood drives nothing out", () => {
  const journal = createJournal(clock);
  journal.add("m1", "tftp", "program", { what: "fetched", file: "snponly.efi" });
  for (let time = 0; time < 500; time++) journal.add("m1", "dhcp", "offer", pxe("offered"));
  expect(journal.timeline("m1").map(({ detail, times }) => [detail, times])).toEqual([
    ["program", undefined],
    ["offer", 500],
  ]);
});

test("attempts that end are counted, their steps measured, those under way shown", async () => {
  const metrics = createMetrics();
  const journal = createJournal(clock, { metrics });
  boot(journal, "m1", 7);
  journal.add("m2", "dhcp", "offer", pxe("offered"));
  const text = await metrics.text();
  expect(text).toContain('ironwright_boot_attempts_total{end="inspected"} 1');
  expect(text).toContain('ironwright_boot_stage_seconds_sum{stage="kernel"} 7');
  expect(text).toContain("ironwright_boot_attempts_open 1");
});
