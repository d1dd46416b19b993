import { expect, test } from "vitest";
import { systemClock } from "../../core/clock.ts";
import { IronwrightError } from "../../core/errors.ts";
import { type Fenced, runSaga, type Step } from "./saga.ts";

const lost = () => new IronwrightError("IRW_FENCE_LOST", { machine: "m", held: 1, now: 2 });

/** Keeps what a Machine's status would, and writes down all that happens. */
function bench(done: readonly string[] = []) {
  const told: string[] = [];
  const record = new Set(done);
  const stop = new AbortController();
  const at = { held: true };
  const on: Fenced = {
    done: record,
    clock: systemClock,
    signal: stop.signal,
    async hold() {
      if (!at.held) throw lost();
    },
    async begin(step) {
      told.push(`begin ${step}`);
    },
    async checkpoint(step) {
      record.add(step);
      told.push(`done ${step}`);
    },
    notTakenBack(error) {
      told.push(`not taken back: ${error instanceof Error ? error.message : ""}`);
    },
    async forget(step) {
      record.delete(step);
      told.push(`forget ${step}`);
    },
  };
  const step = (name: string, action: () => void = () => {}, undo?: () => void): Step<Fenced> => ({
    name,
    async do() {
      told.push(`do ${name}`);
      action();
      return undefined;
    },
    undo: undo
      ? async () => {
          told.push(`undo ${name}`);
          undo();
        }
      : "nothing to undo",
  });
  return { on, told, at, stop, step };
}

const fail = () => {
  throw new Error("broken");
};

test("steps run in order, each recorded before the next", async () => {
  const { on, told, step } = bench();
  await runSaga([step("a"), step("b")], on);
  expect(told).toEqual(["begin a", "do a", "done a", "begin b", "do b", "done b"]);
});

test("a killed daemon goes on with the step it was at", async () => {
  const { on, told, step } = bench(["a"]);
  await runSaga([step("a"), step("b")], on);
  expect(told).toEqual(["begin b", "do b", "done b"]);
});

test("a failure takes back what has an undo, newest first, also what an earlier run did", async () => {
  const { on, told, step } = bench(["a"]);
  const steps = [step("a", undefined, () => {}), step("b"), step("c", fail, () => {}), step("d", undefined, () => {})];
  await expect(runSaga(steps, on)).rejects.toThrow("broken");
  expect(told.slice(-4)).toEqual(["undo c", "forget c", "undo a", "forget a"]);
});

test("whoever lost the fence does not even clean up", async () => {
  const { on, told, step, at } = bench();
  const steps = [step("a", undefined, () => {}), step("b", () => (at.held = false)), step("c")];
  await expect(runSaga(steps, on)).rejects.toMatchObject({ code: "IRW_FENCE_LOST" });
  expect(told).toEqual(["begin a", "do a", "done a", "begin b", "do b", "done b"]);
});

test("a daemon that stops leaves everything to the next one", async () => {
  const { on, told, step, stop } = bench();
  const steps = [step("a", undefined, () => {}), step("b", () => stop.abort(new Error("stopping"))), step("c")];
  await expect(runSaga(steps, on)).rejects.toThrow("stopping");
  expect(told).not.toContain("undo a");
  expect(told).not.toContain("do c");
});

test("an undo of a superseded worker is not begun", async () => {
  const { on, told, step, at } = bench();
  const broken = () => {
    at.held = false;
    fail();
  };
  await expect(runSaga([step("a", undefined, () => {}), step("b", broken)], on)).rejects.toMatchObject({ code: "IRW_FENCE_LOST" });
  expect(told).not.toContain("undo a");
});

test("an undo that fails does not hide why the saga failed", async () => {
  const { on, told, step } = bench();
  const undo = () => {
    throw new Error("no tenant");
  };
  await expect(runSaga([step("a", undefined, undo), step("b", fail)], on)).rejects.toThrow("broken");
  expect(told.at(-1)).toBe("not taken back: no tenant");
});
