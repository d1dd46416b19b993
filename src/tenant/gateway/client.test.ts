import { chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { gatewayChild, gatewayDir, gatewaySocket, prepareGatewayDir } from "./client.ts";
import { hostNames } from "./route.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "iw-gwc-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const options = {
  dir: "/data/gateway",
  people: { address: "0.0.0.0", port: 16_442 },
  nodesAddress: "0.0.0.0",
  wakeSocket: "/data/run/wake.sock",
  logFile: "/data/logs/gateway.log",
};

test("the same gateway is the same child, and its program is there", () => {
  const child = gatewayChild({ ...options, uid: 2_000_001 });
  expect(gatewayChild({ ...options, uid: 2_000_001 })).toEqual(child);
  expect(child.command.slice(-7)).toEqual(["/data/gateway", "0.0.0.0", "16442", "0.0.0.0", "/data/run/wake.sock", "2000001", "2000001"]);
  expect(
    child.command
      .slice(1)
      .filter((word) => word.endsWith(".ts"))
      .every((file) => existsSync(file)),
  ).toBe(true);
  expect(child).toMatchObject({ uid: 2_000_001, gid: 2_000_001, becomesUser: true });
  expect(child.ready).toEqual({ unix: gatewaySocket("/data/gateway") });
});

test.runIf(process.getuid?.() === 0)("its directory becomes its own, with what an earlier user left, and no link is followed", () => {
  const home = gatewayDir(dir);
  mkdirSync(join(home, "routes"), { recursive: true });
  writeFileSync(join(home, "routes", "a.json"), "{}");
  writeFileSync(join(dir, "other"), "");
  symlinkSync(join(dir, "other"), join(home, "link"));
  chownSync(join(dir, "other"), 7, 7);
  prepareGatewayDir(home, 2_000_001);
  for (const file of ["", "routes", "routes/a.json"]) expect(statSync(join(home, file)).uid).toBe(2_000_001);
  expect(statSync(home).mode & 0o7777).toBe(0o2750);
  expect(statSync(join(dir, "other")).uid).toBe(7);
});

test("people call a tenant by its name, its project and the domain", () => {
  expect(hostNames({ namespace: "research", name: "acme" }, "tenants.example")).toEqual(["acme.research.tenants.example"]);
});
