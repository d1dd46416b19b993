import { spawn } from "node:child_process";
import { expect, test } from "vitest";
import { identify, isAlive, kill } from "./process.ts";

test("a process is known by its start time, killed once, and a pid used again is not it", async () => {
  const child = spawn("sleep", ["60"], { stdio: "ignore" });
  const id = identify(child.pid ?? 0);
  if (!id) throw new Error("no process");
  expect(isAlive(id)).toBe(true);
  expect(isAlive({ ...id, startTime: "1" })).toBe(false);
  await kill({ ...id, startTime: "1" });
  expect(isAlive(id)).toBe(true);
  await kill(id);
  expect(isAlive(id)).toBe(false);
  await kill(id);
});
