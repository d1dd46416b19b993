import { join } from "node:path";
import { createInterface } from "node:readline";
import { startApi } from "../../src/api/index.ts";
import { type BootPlane, createBootPlane, inheritedSockets } from "../../src/boot/index.ts";
import { usedBytes } from "../../src/boot/work.fixture.ts";
import { systemClock } from "../../src/core/clock.ts";
import { createLog, createMetrics } from "../../src/observe/index.ts";

/**
 * A boot plane with the daemon's API, as a process in a network namespace. Its configuration is the first argument; each line of standard input
 * is `{id, call, args}` on it, or asks for `usedBytes`; each line of standard output `{id, value}` or `{id, error}`.
 */
const { config, assets, native } = JSON.parse(process.argv[2] ?? "{}");
const log = createLog(process.env.LEVEL ?? "info");
const metrics = createMetrics();
const plane = createBootPlane({
  config,
  assets,
  sockets: inheritedSockets(process.env, process.pid),
  ...(native ? { native } : {}),
  clock: systemClock,
  log,
  metrics,
});
await plane.start();
const api = await startApi(
  { boot: plane, metrics, explainPod: () => "starting", topTenants: async () => "starting", log },
  { socket: join(config.dataDir, "run", "daemon.sock") },
);
say({ id: 0, value: "up" });

for await (const line of createInterface({ input: process.stdin })) {
  const { id, call, args } = JSON.parse(line) as { id: number; call: keyof BootPlane | "usedBytes"; args: unknown[] };
  void run(call, args).then(
    (value) => say({ id, value }),
    (error: unknown) => say({ id, error: String(error) }),
  );
}
await api.stop();
await plane.stop();

async function run(call: keyof BootPlane | "usedBytes", args: unknown[]): Promise<unknown> {
  if (call === "usedBytes") return usedBytes();
  const method = plane[call] as (...given: unknown[]) => unknown;
  return method(...args, ...(call === "hello" ? [AbortSignal.timeout(300_000)] : []));
}

function say(message: unknown): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
