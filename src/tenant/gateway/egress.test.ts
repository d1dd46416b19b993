import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Dropbear, startDropbear } from "../../machine/dropbear.fixture.ts";
import { connectSsh } from "../../machine/ssh.ts";
import { parseHostKey } from "../../machine/ssh-key.ts";
import { dialer } from "./dialer.ts";
import type { SshRoad } from "./egress-policy.ts";
import { dial, drain, eventually, type GatewayWorld, gatewayWorld } from "./gateway.fixture.ts";

/** Somebody on this host who must never hear of a tenant: counts who comes. */
interface Bystander {
  readonly address: string;
  readonly port: number;
  seen(): number;
  close(): Promise<void>;
}

async function bystander(address: string, port = 0): Promise<Bystander> {
  let seen = 0;
  const server: Server = createServer((socket) => {
    seen += 1;
    socket.on("error", () => {});
    socket.end("you should not read this\n");
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(port, address, resolve));
  return {
    address,
    port: (server.address() as AddressInfo).port,
    seen: () => seen,
    close: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}

/** What an apiserver gets that asks the egress socket for a target: the status line, and the open connection. */
async function connectBy(path: string, target: string): Promise<{ status: string; socket: Socket }> {
  const socket = await dial({ path });
  socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
  const status = await new Promise<string>((resolve) => {
    let text = "";
    const read = (chunk: Buffer) => {
      text += chunk.toString("latin1");
      if (!text.includes("\r\n\r\n")) return;
      socket.off("data", read);
      resolve(text.split("\r\n")[0] ?? "");
    };
    socket.on("data", read);
    socket.once("close", () => resolve(`closed ${text}`));
    socket.once("error", () => resolve("broken off"));
  });
  return { status, socket };
}

describe("an apiserver that asks for what is not its tenant's", () => {
  let world: GatewayWorld;
  let bystanders: Bystander[];
  let socket: string;
  const node = (name: string, address: string) => ({ name, addresses: [address] });

  beforeEach(async () => {
    world = await gatewayWorld();
    const outer = Object.values(networkInterfaces())
      .flatMap((all) => all ?? [])
      .find(({ internal, family }) => !internal && family === "IPv4");
    bystanders = await Promise.all([
      bystander("127.0.0.1"),
      bystander("127.0.0.2"),
      bystander("::1"),
      bystander("0.0.0.0"),
      ...(outer ? [bystander(outer.address), bystander(outer.address, 0)] : []),
    ]);
    socket = join(world.dir, "e.sock");
    const networks = { podCIDR: "10.244.0.0/16", serviceCIDR: "10.96.0.0/16" };
    await world.client.put(world.route("acme", { egress: { ...networks, socket, nodes: [node("bios-1", "10.255.255.11")] } }));
    const other = join(world.dir, "o.sock");
    await world.client.put(world.route("umbrella", { egress: { ...networks, socket: other, nodes: [node("uefi-1", "10.255.255.12")] } }));
  });
  afterEach(async () => {
    await world.stop();
    await Promise.all(bystanders.map((one) => one.close()));
  });

  test("is refused with the reason, it is logged and counted, and nobody hears of it", async () => {
    const spellings = (port: number) => [
      `127.0.0.1:${port}`,
      `localhost:${port}`,
      `[::1]:${port}`,
      `[::ffff:127.0.0.1]:${port}`,
      `2130706433:${port}`,
      `0x7f.1:${port}`,
      `0177.0.0.1:${port}`,
      `0.0.0.0:${port}`,
    ];
    const targets = [
      ...bystanders.flatMap(({ port }) => spellings(port)),
      ...bystanders.map(({ address, port }) => (address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`)),
      "169.254.169.254:80",
      "metadata.google.internal:80",
      "10.255.255.12:10250",
      "uefi-1:10250",
      "10.255.255.11:22",
      "10.244.0.5:443",
      "webhook.example:443",
    ];
    for (const target of targets) {
      const { status, socket: asked } = await connectBy(socket, target);
      expect(`${target} ${status}`).toMatch(/^\S+ HTTP\/1\.1 403 ./);
      asked.destroy();
    }
    const [acme] = await world.client.list();
    expect(acme?.egress.refused).toEqual({ "not allowed": targets.length });
    expect(acme?.lastRefusedDials.at(-1)).toMatchObject({ target: "webhook.example:443", reason: expect.stringContaining("is a name") });
    expect(bystanders.map((one) => one.seen())).toEqual(bystanders.map(() => 0));
    const lines = world.logged.map((line) => JSON.parse(line) as Record<string, string>).filter(({ msg }) => msg === "egress refused");
    expect(lines.length).toBeGreaterThanOrEqual(50);
    expect(lines[0]).toMatchObject({ tenant: "default.acme", target: targets[0], reason: expect.stringContaining("loopback") });
    const reasons = Object.fromEntries(lines.map(({ target = "", reason }) => [target, reason]));
    expect(
      reasons["10.255.255.12:10250"] ?? acme?.lastRefusedDials.find(({ target }) => target === "10.255.255.12:10250")?.reason,
    ).toContain("a node of another tenant");
  });

  test("its reason is in the status line, which is all that an apiserver shows", async () => {
    const { status, socket: asked } = await connectBy(socket, "10.255.255.12:10250");
    expect(status).toBe("HTTP/1.1 403 10.255.255.12 is a node of another tenant");
    asked.destroy();
  });

  test.each([
    ["no host", ":443"],
    ["no port", "10.255.255.11"],
    ["a path", "10.255.255.11:10250/x"],
    ["a user", "a@10.255.255.11:10250"],
    ["a port beyond all", "10.255.255.11:99999"],
    ["two ports", "10.255.255.11:10250:443"],
  ])("%s is refused: %s", async (_, target) => {
    const { status, socket: asked } = await connectBy(socket, target);
    expect(status).toMatch(/^(HTTP\/1\.1 403 |closed)/);
    asked.destroy();
  });

  test("silent connections are bounded and cut soon, and both is counted", async () => {
    const networks = { podCIDR: "10.244.0.0/16", serviceCIDR: "10.96.0.0/16" };
    const egress = { ...networks, socket, nodes: [node("bios-1", "10.255.255.11")] };
    await world.client.put(world.route("acme", { egress, limits: { egress: { connections: 6 } } }));
    const began = Date.now();
    const silent = await Promise.all(Array.from({ length: 70 }, () => dial({ path: socket })));
    const ended = silent.map(drain);
    await drain(await dial({ path: socket }));
    expect(silent.every((one) => !one.closed)).toBe(true);
    await Promise.all(ended);
    expect(Date.now() - began).toBeLessThan(8_000);
    const [acme] = await world.client.list();
    expect(acme?.egress.refused).toEqual({ "too many that ask for nothing": 1, "nothing asked": 70 });
    const { status, socket: asked } = await connectBy(socket, "10.255.255.12:10250");
    expect(status).toContain("403");
    asked.destroy();
  });

  test("what is no CONNECT is not served, and what is no HTTP is hung up on", async () => {
    const asked = await dial({ path: socket });
    asked.write("GET http://127.0.0.1/ HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(Buffer.from(await drain(asked)).toString("latin1")).toMatch(/^HTTP\/1\.1 405 /);
    const noise = await dial({ path: socket });
    noise.write("\x16\x03\x01 nothing of the kind\r\n\r\n");
    await drain(noise);
  });
});

describe("through a node that gives SSH", () => {
  let server: Dropbear;
  let road: SshRoad;
  let dir: string;
  let connects = 0;
  const connectNode = async ({ address, port, user, keyFile, hostKey }: SshRoad, signal: AbortSignal) => {
    connects += 1;
    const pinned = parseHostKey(hostKey);
    if (!pinned) throw new Error("no key");
    return connectSsh({ address, port, user, hostKey: pinned, key: { privateKey: readFileSync(keyFile, "utf8") }, signal });
  };
  const soon = () => AbortSignal.timeout(20_000);

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "iw-gw-ssh-"));
    server = await startDropbear();
    road = {
      address: "127.0.0.1",
      port: server.port,
      user: "root",
      keyFile: join(server.dir, "ssh", "id_ed25519"),
      hostKey: server.hostKey,
    };
  });
  afterAll(async () => {
    await server.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  beforeEach(() => {
    connects = 0;
  });

  async function echo(): Promise<Bystander> {
    const echoing = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => {});
      socket.pipe(socket);
    });
    await new Promise<void>((resolve) => echoing.listen(0, "127.0.0.1", resolve));
    return {
      address: "127.0.0.1",
      port: (echoing.address() as AddressInfo).port,
      seen: () => 0,
      close: () => new Promise<void>((resolve) => echoing.close(() => resolve())),
    };
  }

  test("a pod is dialled from the node, over one session for all, and ends of streams pass", async () => {
    const pod = await echo();
    const through = dialer(connectNode);
    const verdict = {
      allow: true,
      by: "ssh",
      address: pod.address,
      port: pod.port,
      nodes: [{ name: "n", addresses: [], ssh: road }],
    } as const;
    const sent = Buffer.alloc(300_000, "pod");
    const all = await Promise.all(
      [1, 2, 3].map(async () => {
        const channel = await through.dial(verdict, soon());
        channel.end(sent);
        const chunks: Buffer[] = [];
        for await (const chunk of channel as AsyncIterable<Buffer>) chunks.push(chunk);
        return Buffer.concat(chunks).equals(sent);
      }),
    );
    expect(all).toEqual([true, true, true]);
    expect(connects).toBe(1);
    // a session that is lost is made anew
    server.cut();
    await eventually("it is noticed", async () => {
      const channel = await through.dial(verdict, soon()).catch(() => undefined);
      channel?.destroy();
      return channel !== undefined && connects === 2;
    });
    through.keepOnly([]);
    await pod.close();
  });

  test("a node that shows another key, or forwards nowhere, is passed over for the next", async () => {
    const pod = await echo();
    const through = dialer(connectNode);
    const stranger = { ...road, hostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f" };
    const nodes = [
      { name: "stranger", addresses: [], ssh: stranger },
      { name: "n", addresses: [], ssh: road },
    ];
    const channel = await through.dial({ allow: true, by: "ssh", address: pod.address, port: pod.port, nodes }, soon());
    channel.write("hello");
    expect(await new Promise((resolve) => channel.once("data", (bytes: Buffer) => resolve(bytes.toString())))).toBe("hello");
    channel.destroy();
    await pod.close();
    await expect(through.dial({ allow: true, by: "ssh", address: pod.address, port: pod.port, nodes }, soon())).rejects.toThrow(
      /no node leads to 127\.0\.0\.1:\d+: stranger: .*; n: /,
    );
    through.keepOnly([]);
  });
});
