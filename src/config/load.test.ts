import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { isError } from "../core/errors.ts";
import { loadConfig, redacted, variables } from "./load.ts";

const dir = mkdtempSync(join(tmpdir(), "ironwright-config-"));
afterAll(() => rmSync(dir, { recursive: true }));

function file(text: string): string {
  const path = join(dir, "ironwright.yaml");
  writeFileSync(path, text);
  return path;
}

function problemsOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (isError(error, "IRW_CONFIG_INVALID")) return error.message;
    throw error;
  }
  throw new Error("the configuration was accepted");
}

test("flags win over the environment, the environment over the file, the file over the defaults", () => {
  const path = file("host:\n  address: 10.0.0.1\n  port: 1000\n");
  const config = loadConfig({ file: path, env: { IRONWRIGHT_HOST_PORT: "2000", IRONWRIGHT_DATA_DIR: "/data" }, set: ["host.port=3000"] });
  expect(config.host).toEqual({ address: "10.0.0.1", port: 3000 });
  expect(config.dataDir).toBe("/data");
  expect(config.boot.httpPort).toBe(8080);
});

test("lists come from the environment as YAML", () => {
  expect(loadConfig({ file: file(""), env: { IRONWRIGHT_TENANTS_PEOPLE: "[10.0.0.1, 10.0.0.2]" } }).tenants.people).toEqual([
    "10.0.0.1",
    "10.0.0.2",
  ]);
});

test.each([
  ["hots: {}", "hots"],
  ["host: {port: 70000}", "host.port"],
  ["host: {address: ::1}", "host.address"],
  ["redis: {url: 'http://x'}", "redis.url"],
  ["tenants: {ports: {from: 5, to: 4}}", "tenants.ports: from must not be greater than to"],
  [
    "boot: {interfaces: [{name: eth0, address: 10.0.0.1/24, pool: {from: 10.0.1.5, to: 10.0.1.9}}]}",
    "boot.interfaces[0].pool: lies outside",
  ],
  [
    "boot: {interfaces: [{name: eth0, address: 10.0.0.7/24, pool: {from: 10.0.0.5, to: 10.0.0.9}}]}",
    "boot.interfaces[0].pool: holds the daemon's own",
  ],
  [
    "boot: {interfaces: [{name: eth0, address: 10.0.0.1/24, pool: {from: 10.0.0.9, to: 10.0.0.5}}]}",
    "boot.interfaces[0].pool: from is greater",
  ],
  ["- a", "expected a map"],
  ["a: [", "ironwright.yaml"],
  ["a: &x 1\nb: *x", "lias"],
])("%s is refused and names %s", (text, expected) => {
  expect(problemsOf(() => loadConfig({ file: file(text), env: {} }))).toContain(expected);
});

test("an unknown variable is refused, since it is a misspelt setting", () => {
  expect(problemsOf(() => loadConfig({ file: file(""), env: { IRONWRIGHT_HOST_PROT: "1" } }))).toContain("IRONWRIGHT_HOST_PROT");
});

test("the artifacts are looked for in the cache that set-up used", () => {
  const path = file("");
  expect(loadConfig({ file: path, env: { IRONWRIGHT_CACHE: "/cache" } }).artifacts).toBe("/cache/artifacts.json");
  expect(loadConfig({ file: path, env: { IRONWRIGHT_CACHE: "/cache", IRONWRIGHT_ARTIFACTS: "/own.json" } }).artifacts).toBe("/own.json");
});

test("every setting has a variable of its own", () => {
  const names = variables().map((one) => one.name);
  expect(new Set(names).size).toBe(names.length);
  expect(names).toContain("IRONWRIGHT_BOOT_INTERFACES");
  expect(names).toContain("IRONWRIGHT_REDIS_URL");
});

test("a password in the Redis URL is not printed", () => {
  const config = loadConfig({ file: file(""), env: {}, set: ["redis.url=redis://:secret@localhost"] });
  expect(JSON.stringify(redacted(config))).not.toContain("secret");
});
