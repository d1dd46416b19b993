import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../core/clock.ts";
import type { OSImage } from "../core/resources.ts";
import { imageStore } from "./images.ts";

const content = Buffer.alloc(300_000, "image");
const sha256 = createHash("sha256").update(content).digest("hex");
const signal = AbortSignal.timeout(30_000);
let server: Server;
let base: string;
let dir: string;
let requests: string[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "iw-images-"));
  server = createServer((request, response) => {
    requests.push(request.url ?? "");
    if (request.url === "/here") return response.writeHead(302, { location: "/image" }).end();
    if (request.url === "/away") return response.writeHead(302, { location: "http://127.0.0.2:1/image" }).end();
    if (request.url === "/round") return response.writeHead(302, { location: "/round" }).end();
    if (request.url === "/slow") return response.write(content.subarray(0, 1_000));
    if (request.url !== "/image") return response.writeHead(404).end();
    return response.end(content);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.close();
  rmSync(dir, { recursive: true });
});

function image(url: string, digest = sha256): OSImage {
  const spec = { url, sha256: digest, format: "ext4+lz4", sizeBytes: 1 } as const;
  return { apiVersion: "ironwright.dev/v1alpha1", kind: "OSImage", metadata: { name: "i" }, spec };
}

function store(name: string, limits?: { ms: number; bytes: number }) {
  const log = pino({ level: "silent" });
  return imageStore({ dir: join(dir, name), clock: systemClock, random: randomBytes, log, ...(limits ? { limits } : {}) });
}

test("an image is fetched once, checked, and kept by its digest", async () => {
  const images = store("once");
  requests = [];
  const [one, two] = await Promise.all([images.file(image(`${base}/here`), signal), images.file(image(`${base}/here`), signal)]);
  expect(one).toBe(join(dir, "once", sha256));
  expect(two).toBe(one);
  expect(readFileSync(one)).toEqual(content);
  await images.file(image(`${base}/here`), signal);
  expect(requests).toEqual(["/here", "/image"]);
});

test("a wrong digest, another host and a missing file are refused, and nothing of them is kept", async () => {
  const images = store("refused");
  await expect(images.file(image(`${base}/image`, "0".repeat(64)), signal)).rejects.toMatchObject({ code: "IRW_IMAGE_DIGEST" });
  await expect(images.file(image(`${base}/away`), signal)).rejects.toThrow(/another host, 127\.0\.0\.2:1/);
  await expect(images.file(image(`${base}/round`), signal)).rejects.toThrow(/more than 5 redirects/);
  await expect(images.file(image(`${base}/nothing`), signal)).rejects.toMatchObject({ code: "IRW_DOWNLOAD" });
  expect(readdirSync(join(dir, "refused"))).toEqual([]);
});

test("a file on this host is served where it is", async () => {
  const path = join(dir, "local.img");
  await expect(store("local").file(image(`file://${path}`), signal)).rejects.toMatchObject({ code: "IRW_DOWNLOAD" });
  writeFileSync(path, content);
  expect(await store("local").file(image(`file://${path}`), signal)).toBe(path);
});

test("a download that nobody waits for any more ends; one that is too slow or too large is refused", async () => {
  const images = store("slow");
  const [first, second] = [new AbortController(), new AbortController()];
  const both = [images.file(image(`${base}/slow`), first.signal), images.file(image(`${base}/slow`), second.signal)];
  const told = Promise.allSettled(both);
  await expect.poll(() => readdirSync(dir).includes("slow") && readdirSync(join(dir, "slow")).length).toBe(1);
  first.abort(new Error("its claim ended"));
  await expect(both[0]).rejects.toThrow("its claim ended");
  expect(readdirSync(join(dir, "slow"))).toHaveLength(1);
  second.abort(new Error("its claim ended too"));
  await told;
  await expect.poll(() => readdirSync(join(dir, "slow"))).toEqual([]);
  await expect(store("late", { ms: 50, bytes: 2 ** 20 }).file(image(`${base}/slow`), signal)).rejects.toThrow(/longer than/);
  await expect(store("large", { ms: 30_000, bytes: 1_000 }).file(image(`${base}/image`), signal)).rejects.toThrow(/more than 1000 bytes/);
});
