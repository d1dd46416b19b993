import { execFileSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import ssh2, { type ServerChannel } from "ssh2";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Dropbear, startDropbear } from "./dropbear.fixture.ts";
import { connectSsh, quote, type Ssh } from "./ssh.ts";
import { type DaemonKey, daemonKey, parseHostKey } from "./ssh-key.ts";

let server: Dropbear;
const signal = AbortSignal.timeout(60_000);
beforeAll(async () => {
  server = await startDropbear();
});
afterAll(() => server.stop());

function connect(change: object = {}): Promise<Ssh> {
  return connectSsh({ address: "127.0.0.1", port: server.port, hostKey: server.hostKey, key: server.key, signal, ...change });
}

test("a command's exit status, output and input", async () => {
  const ssh = await connect();
  const lines: string[] = [];
  const got = await ssh.run("cat; echo one >&2; echo two >&2; exit 7", { stdin: "in", signal, onLine: (line) => lines.push(line) });
  expect(got).toEqual({ exit: 7, stdout: "in", stderr: "one\ntwo\n" });
  expect(lines).toEqual(["one", "two"]);
  expect((await ssh.run("kill -KILL $$", { signal })).signal).toBe("SIGKILL");
  ssh.close();
});

test("a file is uploaded whole, with its mode, whatever is in it", async () => {
  const ssh = await connect();
  const content = Buffer.from(Array.from({ length: 100_000 }, (_, index) => index % 256));
  const path = join(server.dir, "a 'quoted' name");
  await ssh.upload(content, path, { mode: "0640", signal });
  expect(readFileSync(path)).toEqual(content);
  expect(statSync(path).mode & 0o777).toBe(0o640);
  await expect(ssh.upload("x", "/nowhere/at/all", { mode: "0600", signal })).rejects.toMatchObject({ code: "IRW_SSH" });
  ssh.close();
});

test("another host key than the pinned one ends the connection before anything is sent", async () => {
  const text = execFileSync("dropbearkey", ["-t", "ed25519", "-f", join(server.dir, "other")], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  const hostKey = parseHostKey(/^ssh-ed25519 \S+/m.exec(text)?.[0] ?? "");
  const error = await connect({ hostKey }).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: "IRW_SSH_HOST_KEY", facts: { want: hostKey, got: server.hostKey } });
});

test("a key that the machine does not take is told apart from a machine that is not there", async () => {
  const key = await daemonKey(join(server.dir, "stranger"));
  await expect(connect({ key })).rejects.toMatchObject({ code: "IRW_SSH_REFUSED" });
  await expect(connect({ port: 1 })).rejects.toMatchObject({ code: "IRW_SSH" });
});

test("a server that hangs up at any moment of the handshake is an error of the call, never of the process", async () => {
  const banner = "SSH-2.0-test\r\n";
  for (const say of ["", "SSH-", banner, `${banner}garbage that is no packet at all`, `${banner}${"\0".repeat(64)}`]) {
    const rude = createServer((socket) => {
      socket.on("error", () => {});
      socket.write(say);
      socket.once("data", () => socket.resetAndDestroy());
    });
    await new Promise<void>((resolve) => rude.listen(0, "127.0.0.1", resolve));
    await expect(connect({ port: (rude.address() as AddressInfo).port })).rejects.toMatchObject({ code: "IRW_SSH" });
    rude.close();
  }
});

test("an abort ends the wait, and the input of a command that watches for it", async () => {
  const ssh = await connect();
  const stop = new AbortController();
  const pidFile = join(server.dir, "pid");
  const running = ssh.run(`echo $$ > ${quote(pidFile)}; echo started >&2; exec cat > /dev/null`, {
    signal: stop.signal,
    holdInput: true,
    onLine: () => stop.abort(new Error("enough")),
  });
  await expect(running).rejects.toThrow("enough");
  const pid = Number(readFileSync(pidFile, "utf8"));
  await expect.poll(() => isRunning(pid), { timeout: 5_000 }).toBe(false);
  ssh.close();
});

test("a lost connection ends the command with IRW_SSH, and the session is dead", async () => {
  const ssh = await connect();
  const running = ssh.run("echo started >&2; sleep 1000", { signal, onLine: () => server.cut() });
  await expect(running).rejects.toMatchObject({ code: "IRW_SSH" });
  await expect.poll(() => ssh.alive, { timeout: 5_000 }).toBe(false);
  await expect(ssh.run("true", { signal })).rejects.toMatchObject({ code: "IRW_SSH" });
});

test("output without end is cut off", async () => {
  const ssh = await connect();
  await expect(ssh.run("cat /dev/zero", { signal })).rejects.toThrow(/more than/);
  ssh.close();
});

describe("a session that forwards", () => {
  let key: DaemonKey;
  let asked: number;
  let clients: number;
  let node: ssh2.Server;
  const begin = async (answer: (accept: () => ServerChannel) => void) => {
    [asked, clients] = [0, 0];
    node = new ssh2.Server({ hostKeys: [key.privateKey] }, (client) => {
      clients += 1;
      client.on("error", () => {});
      client.on("authentication", (attempt) => attempt.accept());
      client.on("tcpip", (accept) => {
        asked += 1;
        answer(accept);
      });
    });
    await new Promise<void>((resolve) => node.listen(0, "127.0.0.1", resolve));
  };
  const session = () => {
    const hostKey = parseHostKey(key.publicKey);
    return connect({ port: (node.address() as AddressInfo).port, hostKey, key });
  };
  beforeAll(async () => {
    key = await daemonKey(join(server.dir, "node"));
  });
  afterEach(() => new Promise<void>((resolve) => node.close(() => resolve())));

  test("is ended once its server has left hundreds unanswered, and the next one begins with none", async () => {
    await begin(() => {});
    const ssh = await session();
    let forwards = 0;
    while (ssh.alive && forwards < 2_000) {
      forwards += 1;
      const asking = new AbortController();
      const forward = ssh.forward("10.0.0.1", 80, asking.signal);
      asking.abort(new Error("given up"));
      await expect(forward).rejects.toThrow(/given up|512 connections wait/);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(forwards).toBeGreaterThan(512);
    expect(forwards).toBeLessThan(600);
    const next = await session();
    await expect(next.forward("10.0.0.1", 80, AbortSignal.timeout(100))).rejects.toThrow(/timeout/);
    expect([next.alive, clients]).toEqual([true, 2]);
    next.close();
  });

  test("goes on when each was answered and closed, though nobody read what was said", async () => {
    await begin((accept) =>
      accept()
        .on("error", () => {})
        .end("more than anybody wants to know"),
    );
    const ssh = await session();
    for (let round = 0; round < 12; round += 1) {
      const channels = await Promise.all(Array.from({ length: 50 }, () => ssh.forward("10.0.0.1", 80, signal)));
      for (const channel of channels) channel.destroy();
    }
    expect([ssh.alive, asked]).toEqual([true, 600]);
    ssh.close();
  });
});

test("the daemon's key is made once, for its owner's eyes alone", async () => {
  const dir = join(server.dir, "once");
  const first = await daemonKey(dir);
  expect(await daemonKey(dir)).toEqual(first);
  expect(statSync(join(dir, "id_ed25519")).mode & 0o777).toBe(0o600);
  expect(first.publicKey).toMatch(/^ssh-ed25519 \S+ ironwright$/);
});

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
