import { expect, test } from "vitest";
import { rightsFor } from "./rights.mjs";

const user = { uid: 1000, gid: 100, sudo: true, env: {}, command: "npm run demo" };

test("root goes on as it is, whether or not there is a sudo", () => {
  expect(rightsFor({ ...user, uid: 0 })).toEqual({ go: "as we are" });
  expect(rightsFor({ ...user, uid: 0, sudo: false })).toEqual({ go: "as we are" });
});

test("a user goes on by sudo, with the paths, the settings and the proxies, and nothing else of the environment", () => {
  const env = {
    ...{ PATH: "/usr/bin", HOME: "/home/me", TMPDIR: "/var/tmp", IRONWRIGHT_CACHE: "/c", IRONWRIGHT_LOG_LEVEL: "debug" },
    ...{ https_proxy: "http://p:1", NO_PROXY: "x" },
    ...{ LD_PRELOAD: "evil.so", NODE_OPTIONS: "--inspect", KUBECONFIG: "/k", MY_PATH: "/m", npm_config_cache: "/n" },
  };
  const rights = rightsFor({ ...user, env });
  expect(rights).toMatchObject({ go: "by sudo", owner: "1000:100", says: expect.stringMatching(/^npm run demo needs root .* by sudo/) });
  expect("prefix" in rights ? rights.prefix : []).toEqual([
    ...["sudo", "env", "PATH=/usr/bin", "HOME=/home/me", "TMPDIR=/var/tmp", "IRONWRIGHT_CACHE=/c", "IRONWRIGHT_LOG_LEVEL=debug"],
    ...["https_proxy=http://p:1", "NO_PROXY=x"],
  ]);
});

test("without sudo it is refused in one line, with the command that mends it", () => {
  expect(rightsFor({ ...user, sudo: false })).toEqual({
    go: "nowhere",
    says: "npm run demo needs root, and there is no sudo; to mend it: su -c 'npm run demo'",
  });
});
