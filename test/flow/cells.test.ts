import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isError } from "../../src/core/errors.ts";
import { groupsOfCells } from "./cell-groups.ts";
import { type CellWorld, cellWorld, groupsOf, inGroup, networkOf, statusField } from "./cell-world.ts";
import { eventually } from "./eventually.ts";

const isRoot = process.getuid?.() === 0;
let world: CellWorld;

beforeAll(async () => {
  world = await cellWorld();
});
afterAll(async () => {
  const { name } = world;
  await world?.stop();
  expect(groupsOf(name)).toEqual([]);
  expect(readFileSync("/proc/swaps", "utf8")).not.toContain(world.dir);
});

/** What the server behind the door says. */
function call(path = "/"): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath: join(world.dir, "door", "api.sock"), path, agent: false, timeout: 2_000 }, (answer) => {
      let text = "";
      answer.on("data", (chunk) => {
        text += chunk;
      });
      answer.once("end", () => resolve(text));
    });
    asked.once("timeout", () => asked.destroy(new Error("no answer")));
    asked.once("error", reject).end();
  });
}

test.each([
  ["version 1", ["memory/ironwright", "pids/ironwright", "systemd/other"], ["memory/ironwright", "pids/ironwright"]],
  ["version 2", ["ironwright", "system.slice"], ["ironwright"]],
])("groups of cells are looked for where cgroup %s has them", (_, made, found) => {
  const root = mkdtempSync(join(tmpdir(), "iw-"));
  try {
    for (const path of made) mkdirSync(join(root, path), { recursive: true });
    writeFileSync(join(root, "cgroup.procs"), "");
    expect(groupsOfCells(root)).toEqual(found.map((path) => join(root, path)));
  } finally {
    rmSync(root, { recursive: true });
  }
});

describe.runIf(isRoot)("a cell", () => {
  test("holds its children in one network, as one user, and nobody else gets in but by the door", async () => {
    await world.start();
    expect(await call()).toBe("1");
    const pids = await world.pids();
    expect(new Set(pids.map(networkOf)).size).toBe(1);
    expect(networkOf(pids[0])).not.toBe(networkOf("self"));
    for (const pid of pids) {
      expect(statusField(pid, "Uid").split("\t")).toEqual(Array(4).fill(String(world.uid)));
      expect(statusField(pid, "Groups")).toBe("");
      for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) expect(statusField(pid, set)).toMatch(/^0+$/);
      expect(statusField(pid, "NoNewPrivs")).toBe("1");
      expect(readFileSync(`/proc/${pid}/cgroup`, "utf8")).toContain(`/ironwright/${world.name}`);
      const interfaces = readFileSync(`/proc/${pid}/net/dev`, "utf8").trim().split("\n").slice(2);
      expect(interfaces.map((line) => line.trim().split(":")[0])).toEqual(["lo"]);
      expect(readFileSync(`/proc/${pid}/mountinfo`, "utf8")).not.toContain(world.dir.slice(0, -6).concat(" /"));
    }
    expect(groupsOf(world.name).length).toBeGreaterThan(0);
    expect(await world.supervisor().cell(world.name)).toMatchObject({ state: "awake" });
  });

  test("a door that died comes back into the network of those that live", async () => {
    const [door, server] = await world.pids();
    const network = networkOf(server);
    process.kill(door, "SIGKILL");
    await eventually("a new door", async () => {
      expect((await world.child("door")).pid).not.toBe(door);
      expect(await call()).toBe("1");
    });
    expect(networkOf((await world.child("door")).pid ?? 0)).toBe(network);
  });

  test("a supervisor that was killed leaves it running, and the next one knows it", async () => {
    const before = await world.pids();
    await world.killSupervisor();
    await world.connect();
    expect(await world.pids()).toEqual(before);
    expect(await call()).toBe("1");
  });

  test("when all of it was killed with the supervisor, it comes back in one network, whoever is first", async () => {
    const before = await world.pids();
    await world.killSupervisor();
    for (const pid of before) process.kill(pid, "SIGKILL");
    await world.connect();
    await eventually("it answers", async () => expect(await call()).toBe("1"), 20_000);
    const after = await eventually("all run", () => world.pids());
    expect(after.filter((pid) => before.includes(pid))).toEqual([]);
    expect(new Set(after.map(networkOf)).size).toBe(1);
  });

  test("what cannot be put into it is refused, says at which step, and runs nowhere", async () => {
    const { idle } = world.specs();
    const name = `${world.name}-lost`;
    if (!idle.cell) throw new Error("it has no cell");
    await world.supervisor().ensure({
      ...idle,
      name,
      command: ["/bin/sh", "-c", "echo it ran"],
      logFile: join(world.dir, "lost.log"),
      cell: { ...idle.cell, mounts: [...idle.cell.mounts, { source: "/no/such/directory", target: "/x" }] },
    });
    await eventually("it says why", async () => {
      const lost = (await world.supervisor().list()).find((child) => child.name === name);
      expect(lost?.lastLog).toContain("cell: mount view: /no/such/directory: no such file or directory");
      expect(lost?.lastLog).not.toContain("it ran");
    });
    await world.supervisor().remove(name);
    await expect(world.supervisor().ensure({ ...idle, cell: { ...idle.cell, uid: 0 } })).rejects.toMatchObject({
      code: "IRW_CHILD_INVALID",
    });
  });
});

describe.runIf(isRoot)("sleep", () => {
  // a machine may have swap of its own
  test.runIf(!readFileSync("/proc/meminfo", "utf8").match(/^SwapTotal: +[1-9]/m))(
    "without swap it is stopped, and that is said; waking starts it",
    async () => {
      const before = await world.pids();
      const slept = await world.supervisor().freezeCell(world.name);
      expect(slept).toMatchObject({ state: "stopped", reason: "there is no swap", residentBytes: 0 });
      await eventually("they are gone", () => expect(before.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]));
      expect(await world.supervisor().cell(world.name)).toMatchObject({ state: "stopped" });
      // the same specification changes nothing
      await world.supervisor().ensure(world.specs().server);
      expect((await world.child("server")).state).toBe("stopped");
      expect(await world.supervisor().wakeCell(world.name)).toMatchObject({ from: "stopped", cold: false });
      expect(await call()).toBe("1");
      expect(await world.supervisor().wakeCell(world.name)).toMatchObject({ from: "awake" });
    },
  );

  test("swap that cannot be made is refused with the reason, and leaves nothing", async () => {
    const { native } = world;
    expect(await world.supervisor().keepSwap({ bytes: 2 ** 50, native })).toMatchObject({
      on: false,
      reason: expect.stringContaining("has no room"),
    });
    expect(existsSync(join(world.dir, "swap", "cells.swap"))).toBe(false);
  });

  test("who may be in encrypted swap alone is stopped where ours is in clear, and that is said", async () => {
    const { native } = world;
    expect(await world.supervisor().keepSwap({ bytes: 512 * 2 ** 20, native, encryption: "off" })).toMatchObject({ kind: "plain" });
    const slept = await world.supervisor().freezeCell(world.name, { encrypted: true });
    expect(slept).toMatchObject({ state: "stopped", reason: "there is no encrypted swap", swappedBytes: 0 });
    expect(await world.supervisor().wakeCell(world.name)).toMatchObject({ from: "stopped" });
  });

  test.runIf(existsSync("/sys/class/zram-control"))(
    "into swap of ours alone it is frozen only where all of it has room there",
    async () => {
      const zram = (mebibytes: number) =>
        world.supervisor().keepSwap({ bytes: mebibytes * 2 ** 20, native: world.native, medium: "zram", encryption: "require" });
      const freeze = () => world.supervisor().freezeCell(world.name, { encrypted: true });
      expect(await zram(32)).toMatchObject({ on: true, kind: "zram" });
      expect(await freeze()).toMatchObject({
        state: "stopped",
        reason: expect.stringMatching(/^it holds \d+ MiB, and swap has room for 32 MiB$/),
      });
      await world.supervisor().wakeCell(world.name);
      expect(await zram(256)).toMatchObject({ on: true, kind: "zram" });
      expect(await freeze()).toMatchObject({ state: "frozen" });
      expect(await world.supervisor().wakeCell(world.name)).toMatchObject({ from: "frozen", cold: false });
      expect(await call()).toBe("1");
      // which leaves nothing of it there
      await world.supervisor().stopCell(world.name);
      await world.supervisor().wakeCell(world.name);
    },
  );

  test("frozen it holds no memory; awake it goes on where it was", async () => {
    expect(await world.supervisor().keepSwap({ bytes: 512 * 2 ** 20, native: world.native })).toMatchObject({ on: true });
    const before = await world.pids();
    const slept = await world.supervisor().freezeCell(world.name);
    expect(slept.state).toBe("frozen");
    expect(slept.swappedBytes).toBeGreaterThan(40 * 2 ** 20);
    expect(slept.residentBytes).toBeLessThan(8 * 2 ** 20);
    expect(slept.chargedBytes).toBeLessThan(12 * 2 ** 20);
    // also what left its session
    expect(inGroup(world.name).length).toBeGreaterThan(before.length);
    for (const pid of inGroup(world.name)) expect(statusField(pid, "State")).toMatch(/^T/);
    expect(await world.pids()).toEqual(before);
    expect((await world.child("server")).state).toBe("frozen");
    expect(await world.supervisor().keepSwap({ bytes: 256 * 2 ** 20, native: world.native })).toMatchObject({
      on: true,
      reason: expect.stringContaining("those who sleep"),
    });
    const [one, other] = await Promise.all([world.supervisor().wakeCell(world.name), world.supervisor().wakeCell(world.name)]);
    expect(one).toMatchObject({ from: "frozen", cold: false });
    // one waking, shared
    expect(other).toEqual(one);
    expect(await call()).toBe("1");
    expect(await world.pids()).toEqual(before);
    await eventually("all of it goes on", () => {
      for (const pid of inGroup(world.name)) expect(statusField(pid, "State")).not.toMatch(/^T/);
    });
  });

  test("who wakes it while it falls asleep does not wait until it is out of memory", async () => {
    const before = await world.pids();
    const sleeping = world.supervisor().freezeCell(world.name);
    await eventually("it is stopped", () => expect(statusField(before[0], "State")).toMatch(/^T/));
    const woken = await world.supervisor().wakeCell(world.name);
    expect(woken).toMatchObject({ from: "frozen", cold: false });
    expect(await sleeping).toMatchObject({ state: "frozen" });
    expect(await call()).toBe("1");
    expect(await world.pids()).toEqual(before);
  });

  test("what goes on is asked by its awake probe alone, what is started by its readiness first", async () => {
    const before = await world.pids();
    await call("/unready");
    await world.supervisor().freezeCell(world.name);
    expect(await world.supervisor().wakeCell(world.name, { thawMs: 5_000 })).toMatchObject({ from: "frozen", cold: false });
    expect(await world.child("server")).toMatchObject({ state: "running", ready: true });
    expect(await world.pids()).toEqual(before);
    await world.supervisor().stopCell(world.name);
    expect(await world.supervisor().wakeCell(world.name)).toMatchObject({ from: "stopped", cold: false });
  });

  test("a door that does not shut in time keeps it awake, and is open again", async () => {
    const [door] = await world.pids();
    process.kill(door, "SIGSTOP");
    await expect(world.supervisor().freezeCell(world.name)).rejects.toMatchObject({ code: "IRW_CELL" });
    process.kill(door, "SIGCONT");
    await eventually("it heard both", () => expect(statusField(door, "SigQ")).toMatch(/^0/));
    await eventually("it is open", () => expect(readFileSync(`/proc/${door}/comm`, "utf8")).toBe("door-open\n"));
    expect(await call()).toBe("1");
    expect(await world.supervisor().cell(world.name)).toMatchObject({ state: "awake" });
  });

  test("it sleeps on when the supervisor was killed, and wakes by the next one", async () => {
    const before = await world.pids();
    await world.supervisor().freezeCell(world.name);
    await world.killSupervisor();
    await world.connect();
    expect(await world.supervisor().cell(world.name)).toMatchObject({ state: "frozen" });
    for (const pid of before) expect(statusField(pid, "State")).toMatch(/^T/);
    expect(await world.supervisor().wakeCell(world.name)).toMatchObject({ from: "frozen", cold: false });
    expect(await world.pids()).toEqual(before);
  });

  test("what was killed while it was frozen is started on waking; the others go on", async () => {
    const [door, server, idle] = await world.pids();
    await world.supervisor().freezeCell(world.name);
    process.kill(server, "SIGKILL");
    await eventually("it is seen", async () =>
      expect(await world.child("server")).toMatchObject({ state: "stopped", reason: expect.stringContaining("frozen") }),
    );
    expect(await world.supervisor().wakeCell(world.name)).toMatchObject({ from: "frozen", cold: false });
    expect(await call()).toBe("1");
    expect(await world.pids()).toEqual([door, expect.any(Number), idle]);
    expect((await world.child("server")).pid).not.toBe(server);
  });

  test("a changed specification ends what is frozen, and waking starts the new one", async () => {
    const [, server] = await world.pids();
    await world.supervisor().freezeCell(world.name);
    const changed = { ...world.specs().server, env: { CHANGED: "1" } };
    await world.supervisor().ensure(changed);
    expect(await world.child("server")).toMatchObject({ state: "stopped" });
    await world.supervisor().wakeCell(world.name);
    const now = (await world.child("server")).pid ?? 0;
    expect(now).not.toBe(server);
    expect(readFileSync(`/proc/${now}/environ`, "utf8")).toContain("CHANGED=1");
  });

  test("what does not go on is started anew, and that is said", async () => {
    const before = await world.pids();
    await call("/break");
    await world.supervisor().freezeCell(world.name);
    expect(await world.supervisor().wakeCell(world.name, { thawMs: 500 })).toMatchObject({
      from: "frozen",
      cold: true,
      reason: expect.stringContaining("server"),
    });
    expect(await call()).toBe("1");
    const after = await world.pids();
    expect(after.filter((pid) => before.includes(pid))).toEqual([]);
    expect(new Set(after.map(networkOf)).size).toBe(1);
  });

  type Pids = Awaited<ReturnType<CellWorld["pids"]>>;
  const standsStill = (pid: number) => statusField(pid, "State").startsWith("T");
  const nameOf = (pid: number) => readFileSync(`/proc/${pid}/comm`, "utf8").trim();

  test.each<[string, (pids: Pids) => boolean]>([
    ["the first of it stands still", (pids) => pids.some(standsStill)],
    ["its door is shut", ([door]) => nameOf(door) === "door-shut"],
    ["all of it stands still", (pids) => pids.every(standsStill)],
  ])("a supervisor killed while freezing, when %s, leaves it whole: it sleeps or it runs", async (_, when) => {
    await killedWhen(when, () => world.supervisor().freezeCell(world.name));
  });

  test.each<[string, (pids: Pids) => boolean]>([
    ["its door goes on", ([door]) => !standsStill(door)],
    ["its door is open", ([door]) => nameOf(door) === "door-open"],
  ])("a supervisor killed while waking, when %s, leaves it whole", async (_, when) => {
    await world.supervisor().freezeCell(world.name);
    await killedWhen(when, () => world.supervisor().wakeCell(world.name));
  });

  async function killedWhen(when: (pids: Pids) => boolean, act: () => Promise<unknown>): Promise<void> {
    const before = await world.pids();
    const acting = act().catch((error: unknown) => {
      if (!isError(error, "IRW_SUPERVISOR_UNREACHABLE")) throw error;
    });
    await eventually("it is time to kill", () => expect(when(before)).toBe(true), 10_000, 1);
    await world.killSupervisor();
    await acting;
    await world.connect();
    const state = (await world.supervisor().cell(world.name))?.state;
    const stopped = before.filter(standsStill).length;
    expect(state === "frozen" ? [3] : [0]).toContain(stopped);
    await world.supervisor().wakeCell(world.name);
    expect(await call()).toBe("1");
    expect(await world.pids()).toEqual(before);
    expect(nameOf(before[0])).toBe("door-open");
  }

  test("the waking socket wakes, and does nothing else", async () => {
    await world.supervisor().freezeCell(world.name);
    const ask = (method: string, path: string) =>
      new Promise<number>((resolve, reject) => {
        const asked = request({ socketPath: join(world.dir, "run", "wake.sock"), method, path, agent: false }, (answer) =>
          resolve(answer.resume().statusCode ?? 0),
        );
        asked.once("error", reject).end();
      });
    expect(await ask("POST", `/cells/${world.name}/freeze`)).toBe(404);
    expect(await ask("GET", "/children")).toBe(404);
    expect(await ask("POST", `/cells/${world.name}/wake`)).toBe(200);
    expect(await call()).toBe("1");
    expect(await ask("POST", "/cells/none/wake")).toBe(422);
  });

  test("stopped, nobody of it is left, also who left his session", async () => {
    expect(inGroup(world.name).length).toBeGreaterThan(3);
    await world.supervisor().stopCell(world.name);
    expect(inGroup(world.name)).toEqual([]);
  });

  test("removed, it leaves no group, and a waking under way starts nothing of it", async () => {
    const waking = world
      .supervisor()
      .wakeCell(world.name)
      .catch((error: unknown) => {
        if (!isError(error, "IRW_CELL")) throw error;
      });
    for (const part of ["idle", "server", "door"] as const) await world.supervisor().remove(`${world.name}-${part}`);
    expect(groupsOf(world.name)).toEqual([]);
    await waking;
    expect(await world.supervisor().cell(world.name)).toBeUndefined();
    expect(existsSync(join(world.dir, "children", `${world.name}-server.json`))).toBe(false);
  });
});

describe.runIf(isRoot)("on a full disk", () => {
  test("a cell stops, wakes and runs on; a supervisor that comes back finds it", async () => {
    const full = await cellWorld({ diskMiB: 4 });
    try {
      await full.start();
      fill(join(full.dir, "filler"));
      expect(await full.supervisor().stopCell(full.name)).toMatchObject({ state: "stopped" });
      expect(await full.supervisor().wakeCell(full.name)).toMatchObject({ from: "stopped" });
      const before = await full.pids();
      await full.killSupervisor();
      await full.connect();
      // what could not be written down is found by what it was started with
      expect(await full.pids()).toEqual(before);
      rmSync(join(full.dir, "filler"));
      expect(await full.supervisor().wakeCell(full.name)).toMatchObject({ cold: false });
    } finally {
      await full.stop();
    }
  });
});

/** Until nothing more fits, byte by byte. */
function fill(file: string): void {
  const handle = openSync(file, "w");
  for (const size of [64 * 1024, 4096, 1]) {
    try {
      for (;;) writeSync(handle, Buffer.alloc(size));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    }
  }
  closeSync(handle);
}
