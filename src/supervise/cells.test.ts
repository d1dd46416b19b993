import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { orAborted } from "../core/aborted.ts";
import { type Clock, systemClock } from "../core/clock.ts";
import { createLog } from "../observe/index.ts";
import { cellKeeper } from "./cells.ts";
import type { Child } from "./child.ts";
import { identify } from "./process.ts";
import { memoryOf } from "./usage.ts";

/** Pushing memory out takes as long as there is a file `hold`, and is written down; a note names whom it is of. */
const NATIVE = `#!/bin/sh
cd "$(dirname "$0")"
echo "$1 $2" >> did
if [ "$1 $2" = "page note" ]; then echo "$4 1000-2000" > "$3"; fi
if [ -e "fails $1 $2" ]; then echo "it does not $2" >&2; exit 1; fi
if [ "$1 $2" = "page out" ]; then
  echo began >> went
  for i in $(seq 500); do [ -e hold ] || break; sleep 0.02; done
fi
echo {}
`;

const WAIT = { timeout: 5_000, interval: 5 };

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "ironwright-cells-"));
  writeFileSync(join(dir, "native"), NATIVE, { mode: 0o755 });
});
afterAll(() => rmSync(dir, { recursive: true }));

const ROOMY = { status: async () => ({ on: true, kind: "encrypted", bytes: 2 ** 40, usedBytes: 0 }) as const };
const began = () => readFileSync(join(dir, "went"), "utf8").trim().split("\n").length;

/** The only child of a cell: this process, which goes on whatever it is told. Callers wait for it where there is something to wait for. */
function only(name: string, answers?: () => Promise<void>): Child {
  let rest: string | undefined;
  const child: Partial<Child> = {
    name,
    spec: () => ({
      name,
      command: ["/x"],
      logFile: "/l",
      cell: { name, native: join(dir, "native"), uid: 7, gid: 7, holder: false, mounts: [] },
      ...(answers ? { ready: { http: { url: "https://127.0.0.1/" } } } : {}),
    }),
    process: () => identify(process.pid),
    isResting: () => rest !== undefined,
    status: () => ({ name, state: rest === "frozen" ? "frozen" : "running", ready: true, restarts: 0, logFile: "/l" }),
    rest: async (how) => {
      rest = how;
    },
    rouse: async () => {
      rest = undefined;
    },
    waitReady: answers ?? (async () => {}),
  };
  return child as Child;
}

/** Does not answer before it is cut short; and says when it is asked. */
function hanging(name: string, asked: () => void): Child {
  return {
    ...only(name, async () => {}),
    async waitReady(_ms, signal) {
      asked();
      await orAborted(new Promise(() => {}), signal);
    },
  };
}

test("memory goes out of one cell at a time, and who is woken while he waits for his turn waits no longer", async () => {
  const children = ["first", "second"].map((name) => only(name));
  const cells = cellKeeper(() => children, { dir, clock: systemClock, log: createLog("silent"), swap: ROOMY });
  writeFileSync(join(dir, "hold"), "");
  const first = cells.freeze("first", true);
  await vi.waitFor(() => began(), WAIT);
  const second = cells.freeze("second", true);
  await vi.waitFor(() => expect(children[1]?.status().state).toBe("frozen"), WAIT);
  expect(await cells.wake("second")).toMatchObject({ from: "frozen", cold: false });
  expect(await second).toMatchObject({ state: "frozen" });
  expect(children[0]?.status().state).toBe("frozen");
  expect(began()).toBe(1);
  rmSync(join(dir, "hold"));
  expect(await first).toMatchObject({ state: "frozen" });
});

test("a cell whose memory does not go out holds up the next one for the length of a turn, and nobody who stops it", async () => {
  const children = ["stalled", "next"].map((name) => only(name));
  let endTurn = () => {};
  const clock: Clock = {
    now: () => new Date(),
    sleep: (ms, signal) => (ms < 15_000 ? systemClock.sleep(ms, signal) : new Promise((resolve) => (endTurn = resolve))),
  };
  const cells = cellKeeper(() => children, { dir, clock, log: createLog("silent"), swap: ROOMY });
  rmSync(join(dir, "went"), { force: true });
  writeFileSync(join(dir, "hold"), "");
  const stalled = cells.freeze("stalled", true);
  await vi.waitFor(() => expect(began()).toBe(1), WAIT);
  const next = cells.freeze("next", true);
  await vi.waitFor(() => expect(children[1]?.status().state).toBe("frozen"), WAIT);
  expect(began()).toBe(1);
  endTurn();
  await vi.waitFor(() => expect(began()).toBe(2), WAIT);
  expect(await cells.stop("stalled")).toMatchObject({ state: "stopped" });
  expect(await stalled).toMatchObject({ state: "frozen" });
  rmSync(join(dir, "hold"));
  expect(await next).toMatchObject({ state: "frozen" });
});

test("memory goes out no further once the supervisor is to end, and the next one takes it up", async () => {
  const children = [only("held")];
  const surroundings = { dir, clock: systemClock, log: createLog("silent"), swap: ROOMY };
  rmSync(join(dir, "went"), { force: true });
  writeFileSync(join(dir, "hold"), "");
  const cells = cellKeeper(() => children, surroundings);
  const freezing = cells.freeze("held", true);
  await vi.waitFor(() => began(), WAIT);
  cells.letGo();
  expect(await freezing).toMatchObject({ state: "frozen" });
  rmSync(join(dir, "hold"));
  const next = cellKeeper(() => children, surroundings);
  next.resume();
  await vi.waitFor(() => expect(began()).toBe(2), WAIT);
  expect(await next.wake("held")).toMatchObject({ from: "frozen", cold: false });
  next.resume();
  expect(await next.freeze("held", true)).toMatchObject({ state: "frozen" });
  expect(began()).toBe(3);
});

test("of two that are frozen at once into swap with room for one, one is stopped; the next one has room again", async () => {
  const self = identify(process.pid);
  const room = self ? memoryOf(self, "RssAnon") * 1.6 : 0;
  const children = ["one", "other", "third"].map((name) => only(name));
  const swap = { status: async () => ({ on: true, kind: "encrypted", bytes: room, usedBytes: 0 }) as const };
  const cells = cellKeeper(() => children, { dir, clock: systemClock, log: createLog("silent"), swap });
  const [one, other] = await Promise.all(["one", "other"].map((name) => cells.freeze(name, true)));
  expect(one).toMatchObject({ state: "frozen" });
  expect(other).toMatchObject({ state: "stopped", reason: expect.stringContaining("swap has room for") });
  expect(await cells.freeze("third", true)).toMatchObject({ state: "frozen" });
});

test("what cannot be noted of a sleeper's memory keeps nothing of it from going on", async () => {
  const child = only("noted");
  const file = join(dir, "file");
  writeFileSync(file, "");
  const cells = cellKeeper(() => [child], { dir: file, clock: systemClock, log: createLog("silent"), swap: ROOMY });
  expect(await cells.freeze("noted", true)).toMatchObject({ state: "frozen" });
  expect(await cells.wake("noted")).toMatchObject({ from: "frozen", cold: false });
  expect(child.isResting()).toBe(false);
});

describe("who goes to sleep for the first time", () => {
  const did = () =>
    readFileSync(join(dir, "did"), "utf8")
      .trim()
      .split("\n")
      .filter((line) => line.startsWith("page"));
  beforeEach(() => rmSync(join(dir, "did"), { force: true }));

  test("is roused once before anybody calls: what it needs to answer is noted, and lies together anew", async () => {
    const states: boolean[] = [];
    const child: Child = only("learner", async () => {
      states.push(child.isResting());
    });
    const cells = cellKeeper(() => [child], { dir, clock: systemClock, log: createLog("silent"), swap: ROOMY });
    expect(await cells.freeze("learner", true)).toMatchObject({ state: "frozen" });
    expect([did(), states, child.isResting()]).toEqual([["page out", "page note", "page anew"], [false], true]);
    // known by then
    expect(await cells.wake("learner")).toMatchObject({ from: "frozen", cold: false });
    rmSync(join(dir, "did"));
    expect(await cells.freeze("learner", true)).toMatchObject({ state: "frozen" });
    expect(did().at(-1)).toBe("page out");
    expect(did()).not.toContain("page anew");
  });

  test("goes on from there when somebody calls meanwhile", async () => {
    const { promise: isLearning, resolve: learns } = Promise.withResolvers<void>();
    let calls = 0;
    const slow = hanging("called", learns);
    const cut: Child = { ...slow, waitReady: (ms, signal) => (++calls === 1 ? slow.waitReady(ms, signal) : Promise.resolve()) };
    const cells = cellKeeper(() => [cut], { dir, clock: systemClock, log: createLog("silent"), swap: ROOMY });
    const freezing = cells.freeze("called", true);
    await isLearning;
    expect(await cells.wake("called")).toMatchObject({ cold: false });
    expect(await freezing).toMatchObject({ state: "frozen" });
    expect(cut.isResting()).toBe(false);
    expect(did()).not.toContain("page anew");
  });

  test("waits for no other that is roused, once somebody calls; nor does he who calls", async () => {
    const onStage = Promise.withResolvers<void>();
    const slow = hanging("on-stage", onStage.resolve);
    const next = only("next", async () => {});
    const cells = cellKeeper(() => [slow, next], { dir, clock: systemClock, log: createLog("silent"), swap: ROOMY });
    const first = cells.freeze("on-stage", true);
    await onStage.promise;
    const second = cells.freeze("next", true);
    await vi.waitFor(() => expect(did().filter((line) => line === "page out")).toHaveLength(2), WAIT);
    expect(await cells.wake("next")).toMatchObject({ from: "frozen", cold: false });
    expect(await second).toMatchObject({ state: "frozen" });
    expect(next.isResting()).toBe(false);
    expect(await cells.stop("on-stage")).toMatchObject({ state: "stopped" });
    expect(await first).toMatchObject({ state: "frozen" });
  });

  test("is stopped where not all of it lies down again, and out all the same where it cannot lie together", async () => {
    const restless = only("restless", async () => writeFileSync(join(dir, "fails cgroup stop"), ""));
    const cells = cellKeeper(() => [restless], { dir, clock: systemClock, log: createLog("silent"), swap: ROOMY });
    expect(await cells.freeze("restless", true)).toMatchObject({ state: "stopped", reason: "it does not stop" });
    rmSync(join(dir, "fails cgroup stop"));

    writeFileSync(join(dir, "fails page anew"), "");
    const apart = only("apart", async () => {});
    const others = cellKeeper(() => [apart], { dir, clock: systemClock, log: createLog("silent"), swap: ROOMY });
    expect(await others.freeze("apart", true)).toMatchObject({ state: "frozen" });
    expect(did().slice(-2)).toEqual(["page anew", "page out"]);
    rmSync(join(dir, "fails page anew"));
  });

  test("lies down again where it does not answer, or the supervisor ends", async () => {
    const mute = only("mute", () => Promise.reject(new Error("it does not answer")));
    const keeper = () => cellKeeper(() => [mute], { dir, clock: systemClock, log: createLog("silent"), swap: ROOMY });
    expect(await keeper().freeze("mute", true)).toMatchObject({ state: "frozen" });
    expect([did(), mute.isResting()]).toEqual([["page out"], true]);

    const { promise: isLearning, resolve: learns } = Promise.withResolvers<void>();
    const ending = hanging("slow", learns);
    const cells = cellKeeper(() => [ending], { dir, clock: systemClock, log: createLog("silent"), swap: ROOMY });
    const freezing = cells.freeze("slow", true);
    await isLearning;
    await cells.letGo();
    expect(ending.isResting()).toBe(true);
    expect(await freezing).toMatchObject({ state: "frozen" });
  });
});
