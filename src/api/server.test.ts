import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createLog, createMetrics } from "../observe/index.ts";
import type { LeasesAnswer, TimelineAnswer } from "./answers.ts";
import { askDaemon } from "./client.ts";
import { type Api, type ApiParts, startApi } from "./server.ts";

let directory: string;
let socket: string;
let api: Api | undefined;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "ironwright-api-"));
  socket = join(directory, "run", "daemon.sock");
});
afterEach(async () => {
  await api?.stop();
  api = undefined;
  rmSync(directory, { recursive: true });
});

const lease = { interface: "prov0", address: "10.77.0.10", mac: "52:54:00:00:00:01", client: "mac:52:54:00:00:00:01" } as const;
const attempt = { machine: "m1", number: 3, startedAt: "2026-03-01T12:00:00.000Z", lastAt: "2026-03-01T12:00:01.000Z", steps: [] };

function parts(over: Partial<ApiParts> = {}): ApiParts {
  return {
    boot: {
      attempts: (machine) => (machine === "m1" ? [{ ...attempt, model: "Dell XE9680" }, attempt] : []),
      history: (model) => (model === "Dell XE9680" ? [{ step: "kernel", count: 3, median: 4, p90: 9 }] : []),
      lastSeen: () => "fetched snponly.efi 60 s ago and never came back",
      leases: () => [{ ...lease, state: "bound", expires: "2026-03-04T12:00:00.000Z" }],
      records: () => [{ machine: "m2", macs: [], hostname: "m2", intent: { boot: "disk" } }],
      refusals: () => [{ reason: "dhcp: op", count: 2, lastAt: "2026-03-01T12:00:00.000Z", last: { from: "10.77.0.9" } }],
      timeline: () => [],
    },
    metrics: createMetrics(),
    explainPod: (tenant) => (tenant === "ns.a" ? { at: new Date(0), placed: { node: "m1", planned: true } } : undefined),
    topTenants: async () => "starting",
    log: createLog("silent"),
    ...over,
  };
}

test("only its owner may open the socket; a stale one of a killed daemon is no hindrance, a live one is", async () => {
  api = await startApi(parts(), { socket });
  expect((statSync(socket).mode & 0o777).toString(8)).toBe("600");
  expect((statSync(join(directory, "run")).mode & 0o777).toString(8)).toBe("700");
  await expect(startApi(parts(), { socket })).rejects.toMatchObject({ code: "IRW_API_LISTEN" });
  expect(await askDaemon(socket, "/v1/leases")).toMatchObject({ items: [{ address: "10.77.0.10" }] });
  await api.stop();
  writeFileSync(socket, "left behind");
  api = await startApi(parts(), { socket });
  expect(await askDaemon(socket, "/v1/boot/refusals")).toMatchObject({ items: [{ reason: "dhcp: op", count: 2 }] });
});

test("leases come in parts, each lease once", async () => {
  const many = Array.from({ length: 4_500 }, (_, at) => ({
    ...lease,
    address: `10.0.${at >> 8}.${at & 255}`,
    state: "bound" as const,
    expires: "",
  }));
  const { boot } = parts();
  api = await startApi(parts({ boot: { ...boot, leases: (from) => many.slice(from) } }), { socket });
  const seen: string[] = [];
  let asked = 0;
  for (let from: number | undefined = 0; from !== undefined; asked += 1) {
    const part: LeasesAnswer = await askDaemon(socket, `/v1/leases?from=${from}`);
    seen.push(...part.items.map(({ address }) => address));
    from = part.next;
  }
  expect(seen).toEqual(many.map(({ address }) => address));
  expect(asked).toBe(3);
  await expect(askDaemon(socket, "/v1/leases?from=-1")).rejects.toMatchObject({ code: "IRW_API_REQUEST" });
});

test("a machine's boots come with what is usual for its model; one nobody knows is said to be so", async () => {
  api = await startApi(parts(), { socket });
  const answer = await askDaemon<TimelineAnswer>(socket, "/v1/machines/m1/timeline");
  expect(answer).toMatchObject({ model: "Dell XE9680", attempts: [{ number: 3 }, { number: 3 }], history: [{ step: "kernel", p90: 9 }] });
  expect(answer.seen).toMatch(/never came back/);
  expect(await askDaemon<TimelineAnswer>(socket, "/v1/machines/m2/timeline")).toMatchObject({ attempts: [], history: [] });
  await expect(askDaemon(socket, "/v1/machines/m3/timeline")).rejects.toMatchObject({ code: "IRW_BOOT_UNKNOWN", next: /get machines/ });
});

test("the autoscaler's word on a pod, once there is an autoscaler", async () => {
  let starting = true;
  const { explainPod } = parts();
  api = await startApi(parts({ explainPod: (...args) => (starting ? "starting" : explainPod(...args)) }), { socket });
  await expect(askDaemon(socket, "/v1/explain/pod?tenant=ns.a&pod=default/p")).rejects.toMatchObject({ code: "IRW_API_STARTING" });
  starting = false;
  expect(await askDaemon(socket, "/v1/explain/pod?tenant=ns.a&pod=default/p")).toMatchObject({ explanation: { placed: { node: "m1" } } });
  expect(await askDaemon(socket, "/v1/explain/pod?tenant=ns.b&pod=default/p")).toMatchObject({ explanation: null });
  await expect(askDaemon(socket, "/v1/explain/pod?tenant=ns.b")).rejects.toMatchObject({ code: "IRW_API_REQUEST" });
});

test("what tenants have, once there is a host control plane to ask", async () => {
  const usage = {
    project: "team",
    name: "acme",
    phase: "Ready",
    sleep: "awake",
    nodes: 1,
    gpus: 8,
    nodeHours: 2,
    gpuHours: 16,
    awakeHours: 3,
  } as const;
  let starting = true;
  const topTenants = async () => (starting ? ("starting" as const) : { at: "2026-03-01T12:00:00.000Z", items: [usage] });
  api = await startApi(parts({ topTenants }), { socket });
  await expect(askDaemon(socket, "/v1/top/virtualclusters")).rejects.toMatchObject({ code: "IRW_API_STARTING" });
  starting = false;
  expect(await askDaemon(socket, "/v1/top/virtualclusters")).toMatchObject({ items: [{ name: "acme", gpuHours: 16 }] });
});

test("metrics by TCP when that is asked for, and nothing else there", async () => {
  api = await startApi(parts(), { socket, metrics: { address: "127.0.0.1", port: 0 } });
  const url = api.metricsAddress ?? "";
  const answer = await fetch(`${url}/metrics`);
  expect(answer.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
  expect(await answer.text()).toContain("# TYPE ironwright_dhcp_received_total counter");
  for (const path of ["/v1/leases", "/v1/boot/refusals", "/"]) expect((await fetch(`${url}${path}`)).status).toBe(404);
});

test("without a daemon the error names the socket and what to do", async () => {
  await expect(askDaemon(socket, "/v1/leases")).rejects.toMatchObject({
    code: "IRW_API_UNREACHABLE",
    message: expect.stringContaining(socket),
  });
  await expect(startApi(parts(), { socket: `/${"x".repeat(120)}` })).rejects.toMatchObject({ code: "IRW_API_LISTEN" });
});
