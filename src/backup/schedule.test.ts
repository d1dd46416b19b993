import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { type Clock, systemClock } from "../core/clock.ts";
import { createLog, createMetrics } from "../observe/index.ts";
import { newIdentity } from "./age-header.ts";
import { backupsIn, prune } from "./backup.ts";
import { backupSchedule, nextBackup } from "./schedule.ts";

const daily = { schedule: "15 3 * * *", timeZone: "Europe/Berlin" };
const now = new Date("2026-07-01T12:00:00Z");

test.each<[string, Date | undefined, string]>([
  ["none was taken yet", undefined, "2026-07-02T01:15:00.000Z"],
  ["the last one was taken when it was due", new Date("2026-07-01T01:15:02Z"), "2026-07-02T01:15:00.000Z"],
  ["one was missed while the daemon was down: now", new Date("2026-06-30T01:15:02Z"), now.toISOString()],
])("%s", (_, last, expected) => {
  expect(nextBackup(daily, last, now).toISOString()).toBe(expected);
});

test("a time zone's clock change neither drops a backup nor doubles it", () => {
  // 2:30 does not exist on 29 March 2026, and comes twice on 25 October
  const half = { schedule: "30 2 * * *", timeZone: "Europe/Berlin" };
  const days = (from: string, count: number) => {
    let at = new Date(from);
    return Array.from({ length: count }, () => {
      at = nextBackup(half, undefined, at);
      return at.toISOString();
    });
  };
  expect(new Set(days("2026-03-28T12:00:00Z", 3).map((one) => one.slice(0, 10))).size).toBe(3);
  expect(new Set(days("2026-10-24T12:00:00Z", 3).map((one) => one.slice(0, 10))).size).toBe(3);
});

test("a schedule that is none is refused before anything starts", () => {
  expect(() => nextBackup({ schedule: "99 3 * * *", timeZone: "UTC" }, undefined, now)).toThrow(/backup\.schedule/);
});

test("the oldest of this host's backups go, nobody else's files", () => {
  const dir = mkdtempSync(join(tmpdir(), "iwp-"));
  try {
    const [mine, theirs] = ["aaaaaaaa", "bbbbbbbb"];
    const names = [1, 2, 3].map((day) => `ironwright-${mine}-2026010${day}T031500Z.age`);
    const others = [`ironwright-${theirs}-20250101T031500Z.age`, `ironwright-${mine}-notes.age`, "family.jpg"];
    for (const name of [...names, ...others]) writeFileSync(join(dir, name), "");
    expect(prune(dir, `${mine}ffff`, 2)).toEqual(names.slice(0, 1));
    expect(readdirSync(dir).sort()).toEqual([...names.slice(1), ...others].sort());
    expect(backupsIn(dir, mine)).toEqual(names.slice(1));
  } finally {
    rmSync(dir, { recursive: true });
  }
});

/** Time goes by as it is slept. */
function hastyClock(from: Date): Clock {
  let at = from.getTime();
  return {
    now: () => new Date(at),
    async sleep(ms, signal) {
      await setImmediate();
      signal?.throwIfAborted();
      at += ms;
    },
  };
}

/** Of a host whose data directory is empty: no etcd runs. */
function scheduleOf(dir: string, clock: Clock) {
  const told: string[] = [];
  const metrics = createMetrics();
  const directory = join(dir, "backups");
  const schedule = backupSchedule({
    dataDir: join(dir, "data"),
    plan: { ...daily, directory, keep: 2, recipients: [newIdentity().recipient] },
    tenants: true,
    config: {},
    versions: { ironwright: "0", kubernetes: "v0" },
    metrics,
    events: { record: (_, type, reason, message) => void told.push(`${type} ${reason}: ${message}`), flush: async () => {} },
    about: { apiVersion: "v1", kind: "Namespace", metadata: { name: "n" } },
    clock,
    random: randomBytes,
    log: createLog("fatal"),
  });
  return { schedule, told, metrics, directory };
}

test("a directory that is a file is a failed backup, told and tried again, and never the end of the process", async () => {
  const dir = mkdtempSync(join(tmpdir(), "iwd-"));
  const { schedule, told, metrics, directory } = scheduleOf(dir, hastyClock(now));
  try {
    writeFileSync(directory, "");
    schedule.start();
    await expect.poll(() => told.length, { timeout: 10_000 }).toBeGreaterThan(2);
    expect(told.every((one) => /^Warning BackupFailed: .*backups.*ENOTDIR/.test(one))).toBe(true);
    expect((await metrics.backups.get()).values).toMatchObject([{ labels: { end: "failed" } }]);
    rmSync(directory);
    mkdirSync(directory);
    await expect.poll(() => backupsThere(directory), { timeout: 10_000 }).toBeGreaterThan(0);
  } finally {
    await schedule.stop();
    rmSync(dir, { recursive: true });
  }
  expect(told.some((one) => one.startsWith("Normal BackupWritten"))).toBe(true);
});

function backupsThere(directory: string): number {
  return readdirSync(directory).filter((name) => name.endsWith(".age")).length;
}

test("one that is told to stop while it waits for its directory stops", async () => {
  const dir = mkdtempSync(join(tmpdir(), "iwd-"));
  try {
    const { schedule, told, directory } = scheduleOf(dir, systemClock);
    writeFileSync(directory, "");
    schedule.start();
    await expect.poll(() => told.length).toBe(1);
    await schedule.stop();
  } finally {
    rmSync(dir, { recursive: true });
  }
});
