import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../core/clock.ts";
import { type Dropbear, startDropbear } from "./dropbear.fixture.ts";
import type { Playbook, PlaybookStep } from "./playbook.ts";
import { runPlaybook } from "./run-playbook.ts";
import { connectSsh, type Ssh } from "./ssh.ts";

let server: Dropbear;
let ssh: Ssh;
const signal = AbortSignal.timeout(120_000);
const keeper = readFileSync(fileURLToPath(new URL("../../playbooks/step.sh", import.meta.url)), "utf8");
beforeAll(async () => {
  server = await startDropbear();
  ssh = await connect();
});
afterAll(async () => {
  ssh.close();
  await server.stop();
});

function connect(): Promise<Ssh> {
  return connectSsh({ address: "127.0.0.1", port: server.port, hostKey: server.hostKey, key: server.key, signal });
}

function step(action: PlaybookStep["action"], change: Partial<PlaybookStep> = {}): PlaybookStep {
  return {
    name: "s",
    action,
    when: undefined,
    timeoutMs: 30_000,
    retry: { times: 0, delayMs: 10 },
    register: undefined,
    secret: false,
    ...change,
  };
}

function script(text: string, change: Partial<PlaybookStep> = {}): PlaybookStep {
  return step({ do: "run", script: text }, change);
}

function run(steps: readonly PlaybookStep[], vars: Readonly<Record<string, string>> = {}, change: object = {}) {
  const playbook: Playbook = { name: "a/b", description: "d", vars: Object.keys(vars), steps };
  return runPlaybook(playbook, {
    ssh,
    machine: "m-1",
    fence: 1,
    keeper,
    vars,
    clock: systemClock,
    log: pino({ level: "silent" }),
    signal,
    ...change,
  });
}

test("variables reach the script as they are, and never as code", async () => {
  const odd = `a'b"c $(touch ${server.dir}/pwned) \`id\` \\ \n*`;
  const got = await run([script(`printf '{"value":"%s"}' "$(printf %s "$IW_ODD_ONE" | base64 | tr -d '\\n')"`, { register: "r" })], {
    odd_one: odd,
  });
  expect(Buffer.from((got.r as { value: string }).value, "base64").toString()).toBe(odd);
  expect(() => statSync(join(server.dir, "pwned"))).toThrow();
});

test("exactly the declared variables are taken", async () => {
  const playbook: Playbook = { name: "a/b", description: "d", vars: ["disk"], steps: [script("true")] };
  const given = runPlaybook(playbook, {
    ssh,
    machine: "m",
    fence: 1,
    keeper,
    vars: { url: "" },
    clock: systemClock,
    log: pino({ level: "silent" }),
    signal,
  });
  await expect(given).rejects.toThrow(/disk was not given\n {2}vars: url is not declared/);
});

test("when, upload and template", async () => {
  const [a, b] = [join(server.dir, "etc", "a"), join(server.dir, "b")];
  await run(
    [
      step({ do: "upload", content: Buffer.from([0, 255, 10, 13]), to: a, mode: "0600" }),
      step({ do: "template", text: "name={{ name }}\n", to: b, mode: "0644" }),
      script("exit 1", { when: { variable: "name", equal: true, literal: "other" } }),
      script("exit 1", { when: { variable: "name", equal: false, literal: "$(id)" } }),
    ],
    { name: "$(id)" },
  );
  expect(readFileSync(a)).toEqual(Buffer.from([0, 255, 10, 13]));
  expect(statSync(a).mode & 0o777).toBe(0o600);
  expect(readFileSync(b, "utf8")).toBe("name=$(id)\n");
});

test("a step that fails is tried again as often as it says, and then tells its output", async () => {
  const counter = join(server.dir, "count");
  await run([script(`echo x >> ${counter}; [ "$(wc -l < ${counter})" -ge 3 ]`, { retry: { times: 2, delayMs: 1 } })]);
  await expect(run([script("echo a lot >&2; exit 9")])).rejects.toMatchObject({
    code: "IRW_STEP_FAILED",
    message: "a/b (s) on m-1 ended with 9: a lot",
  });
  await expect(run([script("echo no json", { register: "r" })])).rejects.toThrow(/its output is no JSON: no json/);
});

test("a secret step tells nothing of its output", async () => {
  const failed = run([script('echo "$IW_TOKEN" >&2; exit 1', { secret: true })], { token: "hunter2" });
  const error = await failed.catch((thrown: unknown) => thrown);
  expect(String(error)).not.toContain("hunter2");
  expect(error).toMatchObject({ code: "IRW_STEP_FAILED" });
});

test("a wait asks until it is so, and no longer than it may", async () => {
  const file = join(server.dir, "ready");
  const waiting = run([step({ do: "wait", script: `test -e ${file}`, everyMs: 20 })]);
  writeFileSync(file, "");
  await waiting;
  await expect(run([step({ do: "wait", script: "false", everyMs: 20 }, { timeoutMs: 300 })])).rejects.toMatchObject({
    code: "IRW_STEP_TIMEOUT",
  });
});

test("a step that takes too long is ended on the machine, with all it started", async () => {
  const file = join(server.dir, "late");
  await expect(run([script(`sleep 1000 & echo $! > ${file}; wait`, { timeoutMs: 1_000 })])).rejects.toMatchObject({
    code: "IRW_STEP_TIMEOUT",
  });
  await expect.poll(() => isRunning(Number(readFileSync(file, "utf8"))), { timeout: 5_000 }).toBe(false);
});

test("a step left running by a killed daemon is ended before the next one begins", async () => {
  const file = join(server.dir, "left");
  const other = await connect();
  const running = runPlaybook(
    { name: "a/b", description: "d", vars: [], steps: [script(`echo $$ > ${file}; trap '' HUP TERM; while :; do sleep 0.1; done`)] },
    { ssh: other, machine: "m-1", fence: 1, keeper, vars: {}, clock: systemClock, log: pino({ level: "silent" }), signal },
  ).catch((error: unknown) => error);
  const pid = await expect
    .poll(() => readPid(file), { timeout: 5_000 })
    .toBeGreaterThan(0)
    .then(() => readPid(file));
  other.close();
  await running;
  await run([script("true")]);
  expect(isRunning(pid)).toBe(false);
});

test("a machine that has seen a higher fence refuses the lower one", async () => {
  await run([script("true")], {}, { fence: 5 });
  await expect(run([script(`touch ${server.dir}/stale`)], {}, { fence: 4 })).rejects.toMatchObject({
    code: "IRW_FENCE_LOST",
    facts: { machine: "m-1", held: 4, now: 5 },
  });
  expect(() => statSync(join(server.dir, "stale"))).toThrow();
});

function readPid(file: string): number {
  try {
    return Number(readFileSync(file, "utf8"));
  } catch {
    return 0;
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
