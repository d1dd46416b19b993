import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { chmodSync, chownSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { peers } from "../bench/peers.ts";

/**
 * The scripts of package.json as a user without rights runs them, in a checkout of the user's own whose set-up and programs say what
 * they find. The sudo is Debian's, unpacked and laid over this machine's in a mount namespace, with leave for this user alone.
 */

const repository = fileURLToPath(new URL("../..", import.meta.url));
const scripts: Readonly<Record<string, string>> = JSON.parse(readFileSync(join(repository, "package.json"), "utf8")).scripts;
const USER = 65534;
const programs = { demo: "test/rack/demo.ts", test: "scripts/test.mjs", bench: "test/bench/main.ts", soak: "test/soak/main.ts" };
const names = Object.keys(programs);

const dir = mkdtempSync(join(tmpdir(), "iw-start-"));
const checkout = join(dir, "checkout");
const cache = join(dir, "cache");
const home = join(dir, "home");
const bin = join(dir, "bin");

const setup = `console.log("set-up " + process.argv.slice(2).join(" ") + " as " + process.getuid());`;
const program = `import { mkdirSync, writeFileSync } from "node:fs";
const { HOME, PATH, IRONWRIGHT_CACHE, LD_PRELOAD } = process.env;
mkdirSync(IRONWRIGHT_CACHE + "/logs", { recursive: true });
writeFileSync(IRONWRIGHT_CACHE + "/logs/made", "");
writeFileSync("node_modules/made", "");
console.log(JSON.stringify({ uid: process.getuid(), HOME, PATH, IRONWRIGHT_CACHE, LD_PRELOAD, args: process.argv.slice(2) }));
process.on("SIGTERM", () => process.exit(8));
if (process.argv.includes("wait")) process.kill(Number(process.env.IRONWRIGHT_TEST_START), "SIGTERM");
setTimeout(() => process.exit(7), process.argv.includes("wait") ? 60_000 : 0);
`;

beforeAll(async () => {
  chmodSync(dir, 0o755);
  for (const made of [checkout, cache, home, bin, join(checkout, "scripts"), join(checkout, "node_modules/.bin")])
    mkdirSync(made, { recursive: true });
  for (const file of ["start.mjs", "rights.mjs"]) copyFileSync(join(repository, "scripts", file), join(checkout, "scripts", file));
  writeFileSync(join(checkout, "scripts/setup.mjs"), setup);
  for (const file of Object.values(programs)) {
    mkdirSync(dirname(join(checkout, file)), { recursive: true });
    writeFileSync(join(checkout, file), program);
  }
  // where this process's own Node lies, another user may not be let in
  for (const node of [join(bin, "node"), join(checkout, "node_modules/.bin/node")]) copyFileSync(process.execPath, node);
  for (const made of [checkout, cache, home, join(checkout, "node_modules")]) chownSync(made, USER, USER);
  await unpackSudo();
});
afterAll(() => rmSync(dir, { recursive: true }));

async function unpackSudo(): Promise<void> {
  const sudo = await peers(["sudo"]);
  const from = dirname(dirname(sudo.file("/etc/sudoers")));
  for (const part of ["etc", "usr"]) cpSync(join(from, part), join(dir, "sudo", part), { recursive: true });
  // whoever had the cache made may own it; sudo takes root's alone
  const all = spawnSync("chown", ["-R", "0:0", join(dir, "sudo")]);
  expect(all.status).toBe(0);
  chmodSync(join(dir, "sudo/usr/bin/sudo"), 0o4755);
  writeFileSync(join(dir, "sudo/etc/sudoers.d/test"), `#${USER} ALL=(ALL:ALL) NOPASSWD: ALL\n`, { mode: 0o440 });
}

function asUser(name: string, args: readonly string[], withSudo: boolean): SpawnSyncReturns<string> {
  const env = {
    HOME: home,
    IRONWRIGHT_CACHE: cache,
    LD_PRELOAD: "",
    npm_lifecycle_event: name,
    PATH: withSudo ? `${bin}:/usr/sbin:/usr/bin:/sbin:/bin` : bin,
  };
  const line = `${withSudo ? "IRONWRIGHT_TEST_START=$$ exec " : ""}${scripts[name]} ${args.join(" ")}`;
  const drop = ["/usr/bin/setpriv", `--reuid=${USER}`, `--regid=${USER}`, "--clear-groups", "/bin/sh", "-c", line];
  const overlay = (part: string) => `/usr/bin/mount -t overlay overlay -o lowerdir=${join(dir, "sudo", part)}:/${part} /${part}`;
  const within = ["/usr/bin/unshare", "--mount", "/bin/sh", "-ec", `${overlay("etc")}; ${overlay("usr")}; exec "$@"`, "sh", ...drop];
  const [command = "", ...rest] = withSudo ? within : drop;
  return spawnSync(command, rest, { cwd: checkout, env, encoding: "utf8", timeout: 60_000 });
}

test.each(names)("npm's %s without root and without sudo: one line, before anything is set up", (name) => {
  const typed = name === "test" ? "npm test" : `npm run ${name}`;
  expect(asUser(name, ["--x"], false)).toMatchObject({
    status: 1,
    stdout: "",
    stderr: `${typed} -- --x needs root, and there is no sudo; to mend it: su -c '${typed} -- --x'\n`,
  });
});

test.each(names)("npm's %s without root goes on by sudo: set-up as the user, the program as root with the user's paths", (name) => {
  const { status, stdout, stderr } = asUser(name, ["--x", "y"], true);
  expect(stderr).toBe("");
  const [says, setUp, found] = stdout.trim().split(/\r?\n/);
  expect(says).toMatch(/needs root .* it goes on by sudo/);
  expect(setUp).toMatch(new RegExp(`^set-up --for (demo|test) as ${USER}$`));
  expect(JSON.parse(found ?? "")).toEqual({
    ...{ uid: 0, HOME: home, IRONWRIGHT_CACHE: cache, args: ["--x", "y"] },
    PATH: expect.stringMatching(`^${bin}:`),
  });
  expect(status).toBe(7);
  for (const made of [join(cache, "logs"), join(cache, "logs/made"), join(checkout, "node_modules/made")])
    expect([made, statSync(made).uid, statSync(made).gid]).toEqual([made, USER, USER]);
});

test("a signal reaches the program through sudo", () => {
  expect(asUser("demo", ["wait"], true).status).toBe(8);
});

test("who may not use sudo is told before anything is set up", () => {
  rmSync(join(dir, "sudo/etc/sudoers.d/test"));
  const { status, stdout, stderr } = asUser("demo", [], true);
  expect(status).toBe(1);
  expect(stdout).not.toContain("set-up");
  expect(stderr).toContain("sudo does not let you; to mend it: su -c 'npm run demo'");
});
