import { mkdtempSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { readIndex } from "../../src/config/artifacts.ts";
import { systemClock } from "../../src/core/clock.ts";
import { loadPlaybooks } from "../../src/machine/playbook.ts";
import { runPlaybook } from "../../src/machine/run-playbook.ts";
import type { Ssh } from "../../src/machine/ssh.ts";
import { type NodeSystem, nodeSystems, unpackImage } from "./node-system.ts";

const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f tenant";
const CONFIG = "/etc/ssh/sshd_config";
const OWN = `${CONFIG}.d/ironwright-gateway.conf`;
const AUTHORIZED = "/var/lib/ironwright-gateway/authorized_keys";
const isRoot = process.getuid?.() === 0;
const playbooks = loadPlaybooks(fileURLToPath(new URL("../../playbooks", import.meta.url)));

/** What `join/forwarding` makes of the node image's own OpenSSH, and of systems where it does not work out. */
describe.skipIf(!isRoot)("the way to pods through a node", () => {
  const dir = mkdtempSync(join(tmpdir(), "iw-road-"));
  let image: string;
  let node: NodeSystem;
  let ssh: Ssh;

  beforeAll(() => {
    const cache = process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright");
    image = unpackImage(readIndex(join(cache, "artifacts.json")).node?.image ?? "", dir);
  });
  afterAll(() => rmSync(dir, { recursive: true }));
  let number = 0;
  beforeEach(async () => {
    number += 1;
    const link = `10.98.${process.pid % 250}`;
    [node] = (await nodeSystems([{ name: `r${number}`, dir, image, link, pod: "10.244.0.5" }])) as [NodeSystem];
    ssh = await node.ssh();
  });
  afterEach(async () => {
    ssh.close();
    await node.remove();
  });

  async function told(command: string): Promise<string> {
    const { exit, stdout, stderr } = await ssh.run(command, { signal: AbortSignal.timeout(20_000) });
    if (exit !== 0) throw new Error(`${command}: ${stderr}`);
    return stdout;
  }

  async function road(): Promise<unknown> {
    const log = pino({ level: "silent" });
    const options = { ssh, machine: "r", fence: 1, keeper: playbooks.keeper, vars: { public_key: KEY }, clock: systemClock, log };
    return (await runPlaybook(playbooks.get("join/forwarding"), { ...options, signal: AbortSignal.timeout(60_000) })).road;
  }

  const effective = () => told(`/usr/sbin/sshd -T -C user=ironwright-gateway,host=h,addr=127.0.0.1`);
  const left = (path: string) => told(`if [ -e ${path} ]; then cat ${path}; else echo nothing; fi`);

  test("is made on the node image, once however often, where no sshd runs by itself too", async () => {
    const before = await left(CONFIG);
    await told("rmdir /run/sshd");
    for (const _ of ["first", "again"]) expect(await road()).toBe(true);
    expect(await left(CONFIG)).toBe(`Include ${OWN}\n${before}`);
    expect(await left(AUTHORIZED)).toBe(`restrict,port-forwarding,command="/bin/false" ${KEY}\n`);
    expect((await effective()).split("\n")).toEqual(
      expect.arrayContaining(["maxsessions 0", "allowtcpforwarding local", "forcecommand /bin/false", "permittty no"]),
    );
  });

  test("leaves a configuration as it is that reads the folder's files", async () => {
    const config = `Include ${CONFIG}.d/*.conf\nAllowStreamLocalForwarding yes\n`;
    await told(`printf %s '${config}' > ${CONFIG}`);
    for (const _ of ["first", "again"]) expect(await road()).toBe(true);
    expect(await left(CONFIG)).toBe(config);
    expect((await effective()).split("\n")).toContain("allowstreamlocalforwarding no");
  });

  test.each([
    ["includes nothing", "PermitRootLogin yes\n"],
    ["says otherwise first", `Match all\n  AllowStreamLocalForwarding yes\nMatch all\nInclude ${CONFIG}.d/*.conf\n`],
    [
      "has other places for keys",
      `Match all\n  AuthorizedKeysFile /root/.ssh/authorized_keys /etc/keys/%u\nMatch all\nInclude ${CONFIG}.d/*.conf\n`,
    ],
  ])("is included once, however often, by one that %s", async (_, config) => {
    await told(`printf %s '${config}' > ${CONFIG}`);
    for (const _ of ["first", "again", "and again"]) expect(await road()).toBe(true);
    expect(await left(CONFIG)).toBe(`Include ${OWN}\n${config}`);
    expect((await effective()).split("\n")).toEqual(
      expect.arrayContaining(["allowstreamlocalforwarding no", `authorizedkeysfile ${AUTHORIZED}`]),
    );
    // and it runs still
    (await node.ssh()).close();
  });

  test.each<[string, string, RegExp]>([
    ["cannot make users", "rm /usr/sbin/useradd", /useradd/],
    [
      "does not let its configuration be written",
      "mount -t tmpfs t /mnt && cp -a /etc /mnt && mount -o bind,ro /mnt/etc /etc",
      /cannot lock/,
    ],
    ["has a configuration that sshd does not read", `echo Nonsense >> ${CONFIG}`, /Nonsense/i],
    [
      "has an sshd that does not know what is asked of it",
      `mv /usr/sbin/sshd /usr/sbin/real && printf '#!/bin/sh\\n/usr/sbin/real "$@" | grep -v allowstreamlocal\\n' > /usr/sbin/sshd && chmod 755 /usr/sbin/sshd`,
      /does not heed it/,
    ],
    ["has no OpenSSH", "rm /usr/sbin/sshd", /no OpenSSH server/],
  ])("is none where a system %s: it says why, and no key is left", async (_, harm, reason) => {
    await told(harm);
    const before = await left(CONFIG);
    for (const _ of ["first", "again"]) expect(await road()).toMatch(reason);
    expect([await left(CONFIG), await left(OWN), await left(AUTHORIZED)]).toEqual([before, "nothing\n", "nothing\n"]);
    expect(await told("ls -AR /etc/ssh")).not.toContain(".new");
  });

  test("is taken away with its key where it was, and is no more", async () => {
    await told(`echo 'PermitRootLogin yes' > ${CONFIG}`);
    const before = await left(CONFIG);
    expect(await road()).toBe(true);
    await told("rm /usr/sbin/usermod");
    expect(await road()).toMatch(/usermod/);
    expect([await left(CONFIG), await left(OWN), await left(AUTHORIZED)]).toEqual([before, "nothing\n", "nothing\n"]);
  });
});
