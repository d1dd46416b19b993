import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openLeaseLog } from "./lease-log.ts";
import { decodeGroup, encodeGroup } from "./lease-record.ts";
import type { Lease, LeaseStore } from "./leases.ts";

let directory: string;
let troubles: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "ironwright-leases-"));
  troubles = [];
});
afterEach(() => rmSync(directory, { recursive: true }));

test("a group reads back as it was written, and no other bytes read as a group", () => {
  const lease = fc.record({
    address: fc.nat(0xffffffff),
    client: fc.oneof(fc.string({ unit: "binary", maxLength: 600 }), fc.constant("mac:02:00:00:00:00:01")),
    mac: fc.oneof(fc.string({ maxLength: 47 }), fc.constant("02:00:00:00:00:01")),
    expires: fc.integer({ min: 0, max: 2 ** 52 }),
  });
  const change = fc.oneof(
    lease.map((one) => [one.address, one] as const),
    fc.nat(0xffffffff).map((address) => [address, undefined] as const),
  );
  fc.assert(
    fc.property(fc.array(change, { maxLength: 20 }), fc.nat(2 ** 40), fc.nat(), (changes, number, place) => {
      const wellFormed = changes.map(([address, one]) => [address, one && { ...one, client: one.client.toWellFormed() }] as const);
      const bytes = encodeGroup(number, wellFormed, Buffer.alloc(0));
      expect(decodeGroup(bytes, 0)).toEqual({ number, changes: wellFormed, end: bytes.length });
      expect(decodeGroup(bytes.subarray(0, place % bytes.length), 0)).toBeUndefined();
      bytes[place % bytes.length] = (bytes[place % bytes.length] ?? 0) ^ (1 + (place % 255));
      expect(decodeGroup(bytes, 0)).toBeUndefined();
    }),
    { numRuns: 300 },
  );
});

describe("after a restart", () => {
  test("all that was synced is there, and what was dropped is not", async () => {
    const store = open();
    for (let one = 1; one <= 5; one++) store.put(lease(one, "a"));
    store.drop(3);
    await store.flush();
    store.put(lease(2, "b"));
    await store.close();
    expect(stateOf(open())).toEqual({ 1: "a", 2: "b", 4: "a", 5: "a" });
    expect(troubles).toEqual([]);
  });

  test("leases of an older release are taken over once", async () => {
    await open({ before: [lease(1, "old"), lease(2, "old")] }).close();
    const store = open({ before: [lease(1, "older")] });
    expect(stateOf(store)).toEqual({ 1: "old", 2: "old" });
    store.drop(1);
    await store.close();
    expect(stateOf(open({ before: [lease(1, "older")] }))).toEqual({ 2: "old" });
  });

  test("a log cut off at any byte holds exactly the groups that were whole", async () => {
    const { bytes, ends, states } = await written(12);
    for (let length = 0; length <= bytes.length; length++) {
      const copy = join(directory, `cut-${length}`);
      mkdirSync(copy);
      writeFileSync(join(copy, "0.log"), bytes.subarray(0, length));
      const store = openLeaseLog({ directory: copy });
      const whole = ends.filter((end) => end <= length).length;
      expect(stateOf(store)).toEqual(whole === 0 ? {} : states[whole - 1]);
      if (length % 50 === 0) {
        // and goes on from there
        store.put(lease(99, "new"));
        await store.close();
        expect(stateOf(openLeaseLog({ directory: copy }))).toMatchObject({ 99: "new" });
      }
      rmSync(copy, { recursive: true });
    }
  });

  test("a log with a byte changed anywhere holds the groups before that byte", async () => {
    const { bytes, ends, states } = await written(6);
    for (let place = 0; place < bytes.length; place++) {
      const copy = join(directory, `bad-${place}`);
      mkdirSync(copy);
      const bad = Buffer.from(bytes);
      bad[place] = (bad[place] ?? 0) ^ 0x41;
      writeFileSync(join(copy, "0.log"), bad);
      const whole = ends.filter((end) => end <= place).length;
      expect(stateOf(openLeaseLog({ directory: copy }))).toEqual(whole === 0 ? {} : states[whole - 1]);
      rmSync(copy, { recursive: true });
    }
  });

  test("what an earlier, longer write left behind the end is not taken for new", async () => {
    const { bytes, ends } = await written(4);
    // the third group lies where the second one ended, but is the first one's copy: an old number
    const stale = Buffer.concat([bytes.subarray(0, ends[1]), bytes.subarray(0, ends[0])]);
    writeFileSync(join(directory, "0.log"), stale);
    rmSync(join(directory, "log"), { recursive: true, force: true });
    const before = stateOf(open());
    truncateSync(join(directory, "0.log"), ends[1] ?? 0);
    expect(stateOf(open())).toEqual(before);
    expect(troubles).toHaveLength(1);
  });

  /** A log of so many groups, where each ends, and what there was after each. */
  async function written(groups: number) {
    const log = join(directory, "log");
    const store = openLeaseLog({ directory: log });
    const ends: number[] = [];
    const states: Record<number, string>[] = [];
    for (let group = 0; group < groups; group++) {
      store.put(lease(group % 5, `g${group}`));
      if (group % 3 === 2) store.drop((group + 2) % 5);
      await store.flush();
      ends.push(readFileSync(join(log, "0.log")).length);
      states.push(stateOf(store));
    }
    await store.close();
    return { bytes: readFileSync(join(log, "0.log")), ends, states };
  }
});

describe("compaction", () => {
  test("goes on beside the service, and leaves one base and one log", async () => {
    const store = open({ compactAfter: 20_000 });
    for (let round = 0; round < 60; round++) {
      for (let one = 0; one < 40; one++) store.put(lease(one, `r${round}`));
      store.drop(round % 40);
      await store.flush();
    }
    store.put(lease(77, "last"));
    const expected = stateOf(store);
    await store.close();
    const names = readdirSync(directory).sort();
    const generation = Number(names[0]?.split(".")[0]);
    expect(generation).toBeGreaterThan(1);
    expect(names).toEqual([`${generation}.base`, `${generation}.log`]);
    expect(readFileSync(join(directory, `${generation}.log`)).length).toBeLessThan(60_000);
    expect(stateOf(open())).toEqual(expected);
  });

  test("cut off before its base is whole, the older files say the same", async () => {
    const store = open();
    for (let one = 0; one < 10; one++) store.put(lease(one, "a"));
    await store.close();
    // log 1 was begun, its base was not: so a crash in between leaves it
    copyFileSync(join(directory, "0.log"), join(directory, "1.base.new"));
    truncateSync(join(directory, "1.base.new"), 30);
    writeFileSync(join(directory, "1.log"), encodeGroup(2, [[3, lease(3, "b")]], Buffer.alloc(0)));
    expect(stateOf(open())).toMatchObject({ 2: "a", 3: "b" });
    expect(readdirSync(directory).sort()).toEqual(["0.log", "1.log"]);
  });
});

describe("killed at any moment", () => {
  test("nothing that was promised is forgotten or promised twice", { timeout: 60_000 }, async () => {
    /** The last promise heard for each address. */
    const promised = new Map<number, number>();
    for (let round = 0; round < 12; round++) {
      const child = promiser(4000);
      const heard: [number, number][] = [];
      const lines = createInterface({ input: child.stdout ?? process.stdin });
      lines.on("line", (line) => void heard.push(line.split(" ").map(Number) as [number, number]));
      const enough = 20 + ((round * 7919) % 600);
      while (heard.length < enough) await new Promise((resolve) => lines.once("line", resolve));
      child.kill("SIGKILL");
      await new Promise((resolve) => lines.once("close", resolve));
      for (const [address, serial] of heard) promised.set(address, serial);
      const store = open();
      for (const [address, serial] of promised) {
        // later ones may be on disk that could not be said any more; an earlier one never
        expect(Number(store.leases.get(address)?.client)).toBeGreaterThanOrEqual(serial);
      }
      await store.close();
    }
    expect(promised.size).toBeGreaterThan(20);
  });
});

test("a disk that is full promises nothing, and goes on when there is room", { timeout: 30_000 }, async () => {
  const child = promiser(1e9, "trap '' XFSZ; ulimit -S -f 40;");
  const lines: string[] = [];
  const input = createInterface({ input: child.stdout ?? process.stdin });
  input.on("line", (line) => void lines.push(line));
  const until = async (found: () => boolean) => {
    while (!found()) await new Promise((resolve) => input.once("line", resolve));
  };
  try {
    await until(() => lines.some((line) => line.startsWith("error EFBIG")));
    const silent = lines.findIndex((line) => line.startsWith("error"));
    execFileSync("prlimit", ["--pid", String(child.pid), "--fsize=unlimited:"]);
    await until(() => lines.slice(silent).some((line) => !line.startsWith("error")));
  } finally {
    child.kill("SIGKILL");
  }
  await new Promise((resolve) => input.once("close", resolve));
  const store = open();
  const said = lines.filter((line) => /^\d+ \d+$/.test(line)).map((line) => line.split(" ").map(Number) as [number, number]);
  for (const [address, serial] of new Map(said)) expect(Number(store.leases.get(address)?.client)).toBeGreaterThanOrEqual(serial);
});

/** A process that promises addresses as long as it lives, and says so when they are on disk. */
function promiser(compactAfter: number, limits = ""): ChildProcess {
  const program = fileURLToPath(new URL("lease-log.fixture.ts", import.meta.url));
  const child = spawn("sh", ["-c", `${limits} exec "$0" "$@"`, process.execPath, program, directory, String(compactAfter)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  return child;
}

function open(options: { compactAfter?: number; before?: Iterable<Lease> } = {}): LeaseStore {
  return openLeaseLog({ directory, onTrouble: (what) => void troubles.push(what), ...options });
}

function lease(address: number, client: string): Lease {
  return { address, client, mac: "02:00:00:00:00:01", expires: 1e12 };
}

function stateOf(store: LeaseStore): Record<number, string> {
  return Object.fromEntries([...store.leases].map(([address, one]) => [address, one.client]));
}
