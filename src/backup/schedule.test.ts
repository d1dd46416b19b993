import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { backupsIn, prune } from "./backup.ts";
import { nextBackup } from "./schedule.ts";

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
