import { expect, test } from "vitest";
import { cellCommand, entryOf } from "./cell.ts";
import { noRoomFor, noRoomInOurs } from "./cells.ts";
import { identify } from "./process.ts";
import { type ChildRecord, settled } from "./record.ts";
import { isSame } from "./spec.ts";
import type { CellPlace, ChildSpec } from "./supervisor.ts";
import { recentCounts, usageOf } from "./usage.ts";

const PLACE: CellPlace = { name: "c", native: "/opt/native", uid: 7, gid: 8, holder: false, mounts: [{ source: "/a b", target: "/x" }] };
const SPEC: ChildSpec = { name: "one", command: ["/x/run", "--flag"], logFile: "/l", cwd: "/x", cell: PLACE };

function self() {
  const process_ = identify(process.pid);
  if (!process_) throw new Error("we do not run?");
  return process_;
}

test.each([
  ["the first one of a cell makes its network, when it is the door", true, [], true, {}],
  ["anybody else waits for the door", false, [], true, "wait"],
  ["who comes later joins one that lives", false, [self()], true, { join: self() }],
  ["the door, coming back, too", true, [self()], true, { join: self() }],
  ["nobody comes while another is on its way, the door neither", true, [self()], false, "wait"],
  ["one that is gone is nobody", true, [{ ...self(), startTicks: "1" }], false, {}],
])("%s", (_, holder, processes, inside, entry) => {
  expect(
    entryOf(
      holder,
      processes.map((one) => ({ process: one })),
      () => inside,
    ),
  ).toEqual(entry);
});

test("the command that enters a cell says all of it, and ends with the child's own", () => {
  const place = {
    ...PLACE,
    limits: { cpuMillis: 500, pids: 9 },
    listen: { socket: "/d/api.sock", gid: 6 },
    mounts: [...PLACE.mounts, { source: "/s", target: "/w", writable: true }],
  };
  const command = cellCommand(SPEC, place, { pid: 3, startTicks: "44", bootId: "b" });
  const parts = [
    "--name c --uid 7 --gid 8 --join 3:44 --listen /d/api.sock=6 --cpu 500 --pids 9 --dir /x --read-only",
    "/a b=/x",
    "--writable /s=/w -- /x/run --flag",
  ];
  expect(command.join(" ")).toBe(`/opt/native cell ${parts.join(" ")}`);
  expect(command).toContain("/a b=/x");
});

test("a new native program restarts nobody; another limit does", () => {
  expect(isSame(SPEC, { ...SPEC, cell: { ...PLACE, native: "/opt/newer" } })).toBe(true);
  expect(isSame(SPEC, { ...SPEC, awake: { tcp: "127.0.0.1:1" } })).toBe(true);
  expect(isSame(SPEC, { ...SPEC, cell: { ...PLACE, limits: { pids: 1 } } })).toBe(false);
  expect(isSame(SPEC, { ...SPEC, cell: { ...PLACE, uid: 9 } })).toBe(false);
});

test("after a crash a cell sleeps when all of it slept, and is awake otherwise", () => {
  const record = (name: string, cell: string | undefined, rest?: "frozen"): ChildRecord => {
    const { cell: _cell, ...plain } = SPEC;
    const spec = cell === undefined ? { ...plain, name } : { ...plain, name, cell: { ...PLACE, name: cell } };
    return { spec, wanted: "running", restarts: 0, ...(rest ? { rest } : {}) };
  };
  const kept = settled([
    record("a", "asleep", "frozen"),
    record("b", "asleep", "frozen"),
    record("c", "half", "frozen"),
    record("d", "half"),
    record("e", undefined),
  ]);
  expect(kept.map(({ rest }) => rest)).toEqual(["frozen", "frozen", undefined, undefined, undefined]);
});

test.each([
  ["no swap at all", 0, 0, 0, "there is no swap"],
  ["too little of it", 900, 205, 0, "it holds 200 MiB, and swap has room for 205 MiB"],
  ["enough, were there no others", 900, 500, 300, "it holds 200 MiB, and swap has room for 170 MiB"],
  ["enough", 900, 300, 0, undefined],
])("freezing with %s", (_, total, free, others, reason) => {
  const meminfo = `MemTotal: 8 kB\nSwapTotal:      ${total * 1024} kB\nSwapFree:       ${free * 1024} kB\n`;
  expect(noRoomFor(200 * 2 ** 20, others * 2 ** 20, meminfo)).toBe(reason);
});

test.each([
  ["absent", { on: false, bytes: 0, usedBytes: 0, reason: "no dm-crypt" }, 0, "there is no encrypted swap: no dm-crypt"],
  ["in clear", { on: true, kind: "plain", bytes: 900, usedBytes: 0 }, 0, "there is no encrypted swap"],
  ["nearly full", { on: true, kind: "encrypted", bytes: 900, usedBytes: 695 }, 0, "it holds 200 MiB, and swap has room for 205 MiB"],
  ["where two others go", { on: true, kind: "zram", bytes: 900, usedBytes: 0 }, 700, "it holds 200 MiB, and swap has room for 130 MiB"],
  ["promised to others", { on: true, kind: "zram", bytes: 900, usedBytes: 0 }, 900, "it holds 200 MiB, and swap has room for 0 MiB"],
  ["large enough", { on: true, kind: "encrypted", bytes: 900, usedBytes: 300 }, 300, undefined],
] as const)("freezing into our swap alone, which is %s", (_, { bytes, usedBytes, ...more }, others, reason) => {
  const status = { bytes: bytes * 2 ** 20, usedBytes: usedBytes * 2 ** 20, ...more };
  expect(noRoomInOurs(200 * 2 ** 20, others * 2 ** 20, status)).toBe(reason);
});

test("looking at all cells asks the kernel once in ten seconds, for all of them", async () => {
  let now = 0;
  const asked: (readonly string[])[] = [];
  const recent = recentCounts({ now: () => new Date(now), sleep: async () => {} }, async (places) => {
    asked.push(places.map(({ name }) => name));
    return { c: { memoryBytes: now, cpuMicros: 2e6 } };
  });
  const look = async () => (await recent([PLACE, { ...PLACE, name: "d" }])).c;
  expect(usageOf([], await look())).toEqual({ residentBytes: 0, swappedBytes: 0, chargedBytes: 0, cpuSeconds: 2 });
  now = 9_999;
  expect((await look())?.memoryBytes).toBe(0);
  now = 10_000;
  expect((await look())?.memoryBytes).toBe(10_000);
  expect(asked).toEqual([
    ["c", "d"],
    ["c", "d"],
  ]);
});
