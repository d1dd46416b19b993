import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createContext } from "./context.mjs";
import { run } from "./debian.mjs";

let dir: string;
let policy: string;
/** What the person is told and what apt-get was called with, in order. */
let told: string[];

/** An apt-get that asks the policy as packages do, and notes the answer; a dpkg-query that knows what it installed. */
const APT = `#!/bin/sh
echo "apt-get $1" >> $TEST_DIR/calls
[ "$1" = install ] || exit 0
[ ! -e $TEST_DIR/broken ] || exit 100
$TEST_DIR/sbin/policy-rc.d redis-server start; echo $? > $TEST_DIR/answer
for word in "$@"; do echo "installed $word" >> $TEST_DIR/installed; done
`;
const DPKG_QUERY = "#!/bin/sh\ncat $TEST_DIR/installed\n";

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "ironwright-debian-"));
  policy = join(dir, "sbin", "policy-rc.d");
  told = [];
  for (const made of ["bin", "sbin"]) mkdirSync(join(dir, made));
  writeFileSync(join(dir, "bin", "apt-get"), APT, { mode: 0o755 });
  writeFileSync(join(dir, "bin", "dpkg-query"), DPKG_QUERY, { mode: 0o755 });
  writeFileSync(join(dir, "installed"), "installed cpio\n");
  vi.stubEnv("PATH", `${join(dir, "bin")}:${process.env.PATH}`);
  vi.stubEnv("TEST_DIR", dir);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true });
});

function setUp(purpose: "demo" | "test"): Promise<void> {
  const step = <T>(label: string, work: (progress: (text: string) => void) => Promise<T>) => {
    told.push(label);
    expect(existsSync(join(dir, "calls"))).toBe(false);
    return work(() => {});
  };
  const ctx = createContext({ repo: dir, cacheDir: join(dir, "cache"), purpose, lines: { say: (text) => told.push(text), step } });
  // whoever runs this has all rights in this directory
  return run({ ...ctx, run: (command, args, options) => ctx.run(command, args, { ...options, root: false }) }, policy);
}

test("what is missing is listed before it is installed, and a second time nothing is", async () => {
  await setUp("demo");
  expect(told).toHaveLength(2);
  expect(told[0]).toMatch(/^ {2}Debian packages to install: busybox-static ca-certificates e2fsprogs /);
  expect(told[0]).not.toMatch(/ (cpio|curl|procps)\b/);
  expect(told[1]).toMatch(/^Debian packages \(\d+\)$/);
  expect(readFileSync(join(dir, "calls"), "utf8")).toBe("apt-get install\n");
  await setUp("demo");
  expect(told).toHaveLength(2);
});

test("tests need more than the demo does", async () => {
  await setUp("test");
  expect(told[0]).toMatch(/ curl .* procps\b/);
});

test("nothing is started while packages are installed, and the policy is gone afterwards", async () => {
  await setUp("demo");
  expect(readFileSync(join(dir, "answer"), "utf8")).toBe("101\n");
  expect(readdirSync(join(dir, "sbin"))).toEqual([]);
});

const THEIRS = "#!/bin/sh\nexit 0\n";

test.each([false, true])(
  "somebody else's policy, which lets all start, lies aside meanwhile and is back afterwards; apt-get fails: %s",
  async (fails) => {
    writeFileSync(policy, THEIRS, { mode: 0o750 });
    if (fails) {
      writeFileSync(join(dir, "broken"), "");
      await expect(setUp("demo")).rejects.toThrow(/Debian packages cannot be installed: apt-get ended with 100/);
      expect(readFileSync(join(dir, "calls"), "utf8")).toBe("apt-get install\napt-get update\napt-get install\n");
    } else {
      await setUp("demo");
      expect(readFileSync(join(dir, "answer"), "utf8")).toBe("101\n");
    }
    expect(readdirSync(join(dir, "sbin"))).toEqual(["policy-rc.d"]);
    expect(readFileSync(policy, "utf8")).toBe(THEIRS);
    expect(statSync(policy).mode & 0o777).toBe(0o750);
  },
);

test("what a killed set-up left is put right by the next one", async () => {
  writeFileSync(policy, THEIRS, { mode: 0o755 });
  const [sbin, killed] = [join(dir, "sbin"), join(dir, "killed")];
  writeFileSync(join(dir, "bin", "apt-get"), `${APT}cp -a ${sbin} ${killed}\n`);
  await setUp("demo");
  rmSync(sbin, { recursive: true });
  renameSync(killed, sbin);
  expect(readFileSync(policy, "utf8")).not.toBe(THEIRS);
  for (const _ of ["puts it right", "finds it right"]) {
    await setUp("demo");
    expect(readdirSync(sbin)).toEqual(["policy-rc.d"]);
    expect(readFileSync(policy, "utf8")).toBe(THEIRS);
  }
});
