import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../core/clock.ts";
import { createLog } from "../observe/index.ts";
import { cellKeeper } from "./cells.ts";
import type { Child } from "./child.ts";
import { identify } from "./process.ts";
import { memoryOf } from "./usage.ts";

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "ironwright-cells-"));
  writeFileSync(join(dir, "native"), "#!/bin/sh\necho {}\n", { mode: 0o755 });
});
afterAll(() => rmSync(dir, { recursive: true }));

/** The only child of a cell: this process, which goes on whatever it is told. */
function only(name: string): Child {
  let rest: string | undefined;
  const child: Partial<Child> = {
    name,
    spec: () => ({
      name,
      command: ["/x"],
      logFile: "/l",
      cell: { name, native: join(dir, "native"), uid: 7, gid: 7, holder: false, mounts: [] },
    }),
    process: () => identify(process.pid),
    isResting: () => rest !== undefined,
    status: () => ({ name, state: rest === "frozen" ? "frozen" : "running", ready: true, restarts: 0, logFile: "/l" }),
    rest: async (how) => {
      rest = how;
    },
  };
  return child as Child;
}

test("of two that are frozen at once into swap with room for one, one is stopped; the next one has room again", async () => {
  const self = identify(process.pid);
  const room = self ? memoryOf(self, "RssAnon") * 1.6 : 0;
  const children = ["one", "other", "third"].map(only);
  const swap = { status: async () => ({ on: true, kind: "encrypted", bytes: room, usedBytes: 0 }) as const };
  const cells = cellKeeper(() => children, { clock: systemClock, log: createLog("silent"), swap });
  const [one, other] = await Promise.all(["one", "other"].map((name) => cells.freeze(name, true)));
  expect(one).toMatchObject({ state: "frozen" });
  expect(other).toMatchObject({ state: "stopped", reason: expect.stringContaining("swap has room for") });
  expect(await cells.freeze("third", true)).toMatchObject({ state: "frozen" });
});
