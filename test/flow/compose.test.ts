import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { parse } from "yaml";
import { artifactFiles, loadConfig, readArtifacts } from "../../src/config/index.ts";
import { connectSupervisor, freePort } from "../../src/supervise/index.ts";

/** docker-compose.yml is held against the configuration's schema, and its commands are started as they stand there, without Docker. */

interface Service {
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly network_mode?: string;
  readonly volumes?: readonly string[];
}

const repository = fileURLToPath(new URL("../..", import.meta.url));
const cache = process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright");
const compose = parse(readFileSync(join(repository, "docker-compose.yml"), "utf8"), { merge: true }) as {
  services: Readonly<Record<string, Service>>;
  volumes: Readonly<Record<string, unknown>>;
};
const dir = mkdtempSync(join(tmpdir(), "ironwright-compose-"));
const started: ChildProcess[] = [];

afterAll(async () => {
  for (const child of started.reverse()) await end(child);
  rmSync(dir, { recursive: true, force: true });
});

test.each(["supervisor", "daemon"])("the variables of %s are settings, and every value is accepted", (name) => {
  const config = loadConfig({ file: "/dev/null", env: environmentOf(name, {}) });
  expect(config.supervisor.embedded).toBe(false);
  expect(config.redis?.url).toMatch(/^redis:/);
});

test("every service is on the host's network", () => {
  for (const [name, { network_mode }] of Object.entries(compose.services)) expect([name, network_mode]).toEqual([name, "host"]);
});

test.each(["supervisor", "daemon"])("%s mounts the data directory, and read-only every artifact where it is", (name) => {
  const mounts = (compose.services[name]?.volumes ?? []).map((volume) => resolved(volume, { IRONWRIGHT_CACHE: cache }).split(":"));
  const readOnly = mounts.filter(([from, to, mode]) => from === to && mode === "ro").map(([from]) => from);
  expect(mounts.filter(([from = ""]) => !readOnly.includes(from))).toEqual([["data", environmentOf(name, {}).IRONWRIGHT_DATA_DIR]]);
  expect(compose.volumes).toHaveProperty("data");
  const index = join(cache, "artifacts.json");
  for (const path of [index, ...artifactFiles(readArtifacts(index)).map((one) => one.path)])
    expect([path, readOnly.some((from) => path.startsWith(`${from}/`))]).toEqual([path, true]);
});

test("the same commands come up without Docker: Redis, the supervisor, the daemon", { timeout: 120_000 }, async () => {
  const redisPort = await freePort();
  const given = {
    IRONWRIGHT_DATA_DIR: join(dir, "data"),
    IRONWRIGHT_TENANTS_WARM: "0",
    IRONWRIGHT_ARTIFACTS: join(cache, "artifacts.json"),
    IRONWRIGHT_REDIS_URL: `redis://127.0.0.1:${redisPort}`,
    IRONWRIGHT_HOST_PORT: String(await freePort()),
  };
  const redis = (compose.services.redis?.command ?? []).map((word) => (word === "6390" ? String(redisPort) : word));
  expect(redis).toContain(String(redisPort));
  start(readArtifacts(join(cache, "artifacts.json")).redis, redis.slice(1), {});
  const ironwright = join(repository, "bin", "ironwright");
  start(ironwright, compose.services.supervisor?.command ?? [], environmentOf("supervisor", given));
  const daemon = start(ironwright, compose.services.daemon?.command ?? [], environmentOf("daemon", given));
  try {
    await said(daemon, '"msg":"ready"');
  } finally {
    await end(daemon);
    await connectSupervisor(join(dir, "data", "run", "supervisor.sock")).shutdown();
  }
});

/** `${NAME:-default}` as Compose resolves it. */
function resolved(text: string, set: Readonly<Record<string, string>> = {}): string {
  return text.replace(/\$\{(\w+):-([^}]*)\}/g, (_, name: string, standard: string) => set[name] ?? standard);
}

/** What Compose would set. */
function environmentOf(name: string, given: Readonly<Record<string, string>>): Record<string, string> {
  const listed = compose.services[name]?.environment ?? {};
  return { ...Object.fromEntries(Object.entries(listed).map(([key, value]) => [key, resolved(value)])), ...given };
}

function start(command: string, args: readonly string[], environment: Readonly<Record<string, string>>): ChildProcess {
  const child = spawn(command, args, {
    cwd: dir,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...environment },
    stdio: ["ignore", "ignore", "pipe"],
  });
  started.push(child);
  return child;
}

async function said(child: ChildProcess, text: string): Promise<void> {
  let all = "";
  await new Promise<void>((resolve, reject) => {
    child.stderr?.on("data", (data: Buffer) => {
      all += data.toString();
      if (all.includes(text)) resolve();
    });
    child.once("exit", (code) => reject(new Error(`ended with ${code}:\n${all.slice(-2_000)}`)));
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  await new Promise((resolve) => child.once("exit", resolve));
}
