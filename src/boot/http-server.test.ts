import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../core/clock.ts";
import { createBootFiles } from "./boot-files.ts";
import { startCarrier } from "./carrier.ts";
import type { BootRecord, InstallerHello } from "./contract.ts";
import { createBodySender } from "./http-body.ts";
import { createBootHttp } from "./http-server.ts";
import { createJournal } from "./journal.ts";
import { createRecords, type Records } from "./records.ts";
import { createRefusals } from "./refusals.ts";
import { loadScripts } from "./script.ts";
import { openBootStore } from "./store.ts";

const nonce = "0123456789abcdefghijkl";
const record: BootRecord = {
  machine: "bios-1",
  macs: ["52:54:00:77:00:01"],
  hostname: "bios-1",
  intent: { boot: "installer", nonce, authorizedKey: "ssh-ed25519 AAAAC3Nz", kernelArguments: ["console=ttyS0"] },
};
const hello = {
  hostKey: "ssh-ed25519 AAAAC3NzaC1",
  address: "10.9.9.9",
  mac: "52:54:00:77:00:01",
  uuid: "u",
  serial: "s",
  firmware: "uefi",
};
const kernel = Buffer.from(Array.from({ length: 1000 }, (_, at) => at % 256));

let directory: string;
let base: string;
let records: Records;
let heard: InstallerHello[];
let server: ReturnType<typeof createBootHttp>;
const journal = createJournal(systemClock);

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "ironwright-http-"));
  writeFileSync(join(directory, "kernel"), kernel);
  writeFileSync(join(directory, "snponly.efi"), "program");
});
afterAll(() => rmSync(directory, { recursive: true }));

beforeEach(async () => {
  writeFileSync(join(directory, "initrd"), "initrd");
  records = createRecords(openBootStore(":memory:"));
  records.put(record);
  heard = [];
  const files = createBootFiles();
  const carrier = await startCarrier({ native: undefined, clock: systemClock, log: pino({ level: "silent" }) });
  server = createBootHttp({
    records,
    files,
    bodies: createBodySender({ carrier, files, clock: systemClock }),
    machineAt: () => records.byMachine("bios-1"),
    assets: { pxeDir: directory, kernel: join(directory, "kernel"), initrd: join(directory, "initrd") },
    programs: new Map([["snponly.efi", join(directory, "snponly.efi")]]),
    scripts: loadScripts(new URL("../../pxe/", import.meta.url)),
    journal,
    refusals: createRefusals(pino({ level: "silent" }), systemClock),
    clock: systemClock,
    onHello: (said) => void heard.push(said),
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const at = server.address();
  if (typeof at !== "object" || !at) throw new Error("no port");
  base = `http://127.0.0.1:${at.port}`;
  return () => new Promise((resolve) => server.close(resolve).closeAllConnections());
});

describe("assets", () => {
  test("the script names the address it was fetched from", async () => {
    const script = await (await get("script.ipxe")).text();
    expect(script).toContain(`kernel ${base}/boot/${nonce}/kernel initrd=initrd`);
  });

  test("the kernel, whole, in part and only its length", async () => {
    expect(await bytesOf(await get("kernel"))).toEqual(kernel);
    const part = await get("kernel", { headers: { range: "bytes=990-" } });
    expect([part.status, part.headers.get("content-range")]).toEqual([206, "bytes 990-999/1000"]);
    expect(await bytesOf(part)).toEqual(kernel.subarray(990));
    const head = await get("kernel", { method: "HEAD" });
    expect([head.headers.get("content-length"), (await bytesOf(head)).length]).toEqual(["1000", 0]);
    expect((await get("kernel", { headers: { range: "bytes=1000-" } })).status).toBe(416);
    expect(journal.timeline("bios-1").at(-1)?.detail).toMatch(/^kernel fetched \(10 bytes in/);
  });

  test("boot programs, the key, and files once they are served", async () => {
    expect(await (await get("snponly.efi")).text()).toBe("program");
    expect(await (await get("authorized_keys")).text()).toBe("ssh-ed25519 AAAAC3Nz\n");
    expect((await get("files/image")).status).toBe(404);
    records.serveFile(nonce, "image", join(directory, "kernel"));
    expect(await bytesOf(await get("files/image"))).toEqual(kernel);
  });

  test("asked for at once on one connection, they come one after the other", async () => {
    const { port } = new URL(base);
    const connection = connect(Number(port), "127.0.0.1");
    const asked = (name: string, more = "") => `GET /boot/${nonce}/${name} HTTP/1.1\r\nhost: x\r\n${more}\r\n`;
    connection.write(asked("kernel") + asked("initrd") + asked("kernel", "connection: close\r\n"));
    const parts: Buffer[] = [];
    for await (const part of connection as AsyncIterable<Buffer>) parts.push(part);
    const text = Buffer.concat(parts).toString("latin1");
    const body = kernel.toString("latin1");
    expect(text.split(/HTTP\/1\.1 200 OK\r\n.*?\r\n\r\n/s)).toEqual(["", body, "initrd", body]);
  });

  test("go to the current nonce alone", async () => {
    for (const path of ["/boot/wrong-wrong-wrong-wrong/kernel", `/boot/${nonce}/../../etc/passwd`, "/boot//kernel", "/"]) {
      expect((await fetch(base + path)).status).toBe(404);
    }
    records.put({ ...record, intent: { boot: "disk" } });
    expect((await get("kernel")).status).toBe(404);
  });

  test("a file that went away is said so, on the screen of who asks for the script", async () => {
    rmSync(join(directory, "initrd"));
    expect((await get("initrd")).status).toBe(503);
    const script = await (await get("script.ipxe")).text();
    expect(script).toMatch(/^echo Ironwright: bios-1 .* does not boot over the network\necho Why: the installer/m);
    expect(script).toContain("echo What to do: run the set-up again there: npm run setup");
    expect(journal.timeline("bios-1").at(-1)?.detail).toContain("initrd is missing on the boot server");
  });

  test("the script of an attempt that is over says so, and asks again, so many times", async () => {
    records.put({ ...record, intent: { boot: "disk" } });
    const script = await (await get("script.ipxe")).text();
    expect(script).toMatch(/^echo Why: its boot attempt is over: the nonce is not/m);
    expect(script).toContain("ironwright-tries} 6 && goto failed");
    expect((await get("kernel")).status).toBe(404);
  });

  test("are not sent again to who has them", async () => {
    const tag = (await get("kernel")).headers.get("etag") ?? "";
    const again = await get("kernel", { headers: { "if-none-match": tag } });
    expect([again.status, (await bytesOf(again)).length]).toEqual([304, 0]);
    const resumed = await get("kernel", { headers: { range: "bytes=990-", "if-range": tag } });
    expect(await bytesOf(resumed)).toEqual(kernel.subarray(990));
  });

  test("are the new ones when the file changes", async () => {
    expect(await (await get("initrd")).text()).toBe("initrd");
    writeFileSync(join(directory, "initrd"), "another initrd");
    expect(await (await get("initrd")).text()).toBe("another initrd");
  });

  test("machines without work are told so, without a nonce", async () => {
    expect(await (await fetch(`${base}/exit/disk.ipxe`)).text()).toMatch(/bios-1 has nothing to do over the network \(it has no work\)/);
    const because = { reason: "quarantined; its disk 'sda' failed ${x} || exit", next: "replace it" };
    records.put({ ...record, intent: { boot: "disk", because } });
    const disk = await (await fetch(`${base}/exit/disk.ipxe`)).text();
    expect(disk).toContain("(quarantined, its disk sda failed ?[x] ?? exit)");
    expect(disk).toContain("echo replace it");
    expect((await fetch(`${base}/exit/disk.efi`)).status).toBe(404);
    expect(await (await fetch(`${base}/exit/unknown.ipxe`)).text()).toMatch(/no Machine has the boot MAC/);
    expect((await fetch(`${base}/exit/other.ipxe`)).status).toBe(404);
  });
});

describe("a client that dribbles or floods", () => {
  test.each([
    ["a head that is too long", `GET / HTTP/1.1\r\nx: ${"a".repeat(20_000)}\r\n\r\n`],
    ["no HTTP", "\x16\x03\x01 hello\r\n\r\n"],
  ])("%s ends its connection", async (_, head) => {
    const socket = connect(Number(new URL(base).port), "127.0.0.1");
    socket.write(head);
    socket.resume();
    await once(socket, "close");
    expect(await (await get("initrd")).text()).toBe("initrd");
  });

  test("has so many connections and no more", async () => {
    const port = Number(new URL(base).port);
    const open = Array.from({ length: 80 }, () => connect({ port, host: "127.0.0.1", localAddress: "127.0.0.5" }).on("error", () => {}));
    const ended = open.map((socket) => once(socket.resume(), "close"));
    let closed = 0;
    for (const end of ended) void end.then(() => (closed += 1)).catch(() => {});
    await expect.poll(() => closed).toBeGreaterThanOrEqual(16);
    expect(open.filter((socket) => !socket.destroyed).length).toBe(64);
    for (const socket of open) socket.destroy();
  });
});

describe("hello", () => {
  test("is kept with the address it came from", async () => {
    expect((await say(hello)).status).toBe(204);
    expect(heard).toEqual([{ ...hello, nonce, address: "127.0.0.1" }]);
    expect(records.helloOf(nonce)).toEqual(heard[0]);
  });

  test("again is fine, with another key it is refused", async () => {
    await say(hello);
    expect((await say(hello)).status).toBe(204);
    expect((await say({ ...hello, hostKey: "ssh-ed25519 BBBB" })).status).toBe(409);
    expect(heard.length).toBe(1);
  });

  test("whose attempt ends while it is being said is not kept", async () => {
    const begun = new Promise((resolve) => server.once("request", resolve));
    const text = JSON.stringify(hello);
    const status = new Promise((resolve, reject) => {
      const call = request(`${base}/boot/${nonce}/hello`, { method: "POST", agent: false }, (answer) =>
        resolve(answer.resume().statusCode),
      );
      call.once("error", reject).write(text.slice(0, 10));
      void begun.then(() => {
        records.put({ ...record, intent: { boot: "disk" } });
        call.end(text.slice(10));
      });
    });
    expect(await status).toBe(404);
    expect([heard, records.helloOf(nonce)]).toEqual([[], undefined]);
  });

  test.each([
    [{ ...hello, hostKey: "ssh-rsa AAAA" }, 400],
    [{ ...hello, firmware: "coreboot" }, 400],
    [{ ...hello, mac: "52:54:00:77:00:02" }, 403],
    ["x".repeat(20_000), 400],
  ])("that is not understood is refused: %#", async (said, status) => {
    expect((await say(said)).status).toBe(status);
    expect(heard).toEqual([]);
  });
});

function get(what: string, options: RequestInit = {}): Promise<Response> {
  return fetch(`${base}/boot/${nonce}/${what}`, options);
}

function say(body: unknown): Promise<Response> {
  return get("hello", { method: "POST", body: JSON.stringify(body) });
}

async function bytesOf(response: Response): Promise<Buffer> {
  return Buffer.from(await response.arrayBuffer());
}
