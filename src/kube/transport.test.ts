import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type RequestListener, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline, Readable } from "node:stream";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { stringify } from "yaml";
import type { IronwrightError } from "../core/errors.ts";
import { MACHINE } from "../core/resources.ts";
import { createCa, issue } from "../supervise/index.ts";
import { connectKube } from "./client.ts";
import type { Kube } from "./kube.ts";
import { transport } from "./transport.ts";
import { POD } from "./upstream.ts";

/** A server that behaves as apiservers do when they are busy, restarting or broken: what a healthy one never shows. */
let server: Server | undefined;
let kube: Kube | undefined;

afterEach(async () => {
  await kube?.close();
  server?.closeAllConnections();
  server?.close();
});

async function against(listener: RequestListener): Promise<Kube> {
  server = createServer(listener);
  await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
  kube = connectTo((server.address() as AddressInfo).port);
  return kube;
}

function connectTo(port: number): Kube {
  return connectKube(
    stringify({
      "current-context": "x",
      clusters: [{ name: "x", cluster: { server: `http://127.0.0.1:${port}` } }],
      contexts: [{ name: "x", context: { cluster: "x" } }],
    }),
  );
}

function status(code: number, more: object = {}): string {
  return JSON.stringify({ kind: "Status", apiVersion: "v1", status: "Failure", code, message: "because", ...more });
}

async function failure(call: Promise<unknown>): Promise<IronwrightError> {
  return call.then(
    () => Promise.reject(new Error("it did not fail")),
    (error: IronwrightError) => error,
  );
}

describe("an apiserver that is busy", () => {
  test.each([429, 503])("%d is asked again when it says so", async (code) => {
    const at: number[] = [];
    const client = await against((_, response) => {
      at.push(Date.now());
      if (at.length < 3) response.writeHead(code, { "retry-after": "1" }).end(status(code));
      else response.end(JSON.stringify({ metadata: { name: "m" } }));
    });
    expect(await client.get(MACHINE, "m")).toEqual({ metadata: { name: "m" } });
    expect(at).toHaveLength(3);
    expect((at[1] ?? 0) - (at[0] ?? 0)).toBeGreaterThanOrEqual(990);
  });

  test("patience has an end", async () => {
    let calls = 0;
    const client = await against((_, response) => {
      calls += 1;
      response.writeHead(503).end("starting");
    });
    const error = await failure(client.list(MACHINE));
    expect(error.code).toBe("IRW_KUBE_UNREACHABLE");
    expect(error.message).toContain("503 starting");
    expect(calls).toBe(5);
  });

  test("a write whose connection broke is not sent again: it may have been done", async () => {
    let calls = 0;
    const client = await against((request) => {
      calls += 1;
      request.socket.destroy();
    });
    const machine = { apiVersion: "ironwright.dev/v1alpha1", kind: "Machine", metadata: { name: "m" }, spec: {} } as never;
    expect((await failure(client.create(MACHINE, machine))).code).toBe("IRW_KUBE_UNREACHABLE");
    expect(calls).toBe(1);
    expect((await failure(client.get(MACHINE, "m"))).code).toBe("IRW_KUBE_UNREACHABLE");
    expect(calls).toBe(6);
  });

  test("a budget's 429 is an answer", async () => {
    let calls = 0;
    const client = await against((_, response) => {
      calls += 1;
      response.writeHead(429, { "retry-after": "10" }).end(status(429, { details: { causes: [{ reason: "DisruptionBudget" }] } }));
    });
    expect(await client.evict("default", "p")).toBe("blocked");
    expect(calls).toBe(1);
  });
});

test("nobody listens", async () => {
  const client = await against(() => {});
  await new Promise((resolve) => server?.close(resolve));
  const error = await failure(client.get(MACHINE, "m"));
  expect(error.code).toBe("IRW_KUBE_UNREACHABLE");
  expect(error.message).toMatch(/ECONNREFUSED/);
});

test("credentials that could not be had once are asked for again", async () => {
  const client = await against((request, response) => response.end(request.headers.authorization));
  let asked = 0;
  const http = transport({
    server: client.server,
    tls: {},
    async credentials() {
      asked += 1;
      if (asked === 1) throw new Error("the plugin is not there yet");
      return { authorization: "Bearer late" };
    },
  });
  const read = { method: "GET", path: "/" };
  expect((await failure(http.send(read))).message).toContain("not there yet");
  expect(await http.send(read)).toEqual({ ok: true, text: "Bearer late" });
  await http.close();
});

describe("a Unix socket that leads to the server", () => {
  const dir = mkdtempSync(join(tmpdir(), "iw-kube-"));
  const socketPath = join(dir, "api.sock");
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  /** A client of a server that shows such a certificate. */
  async function behindSocket(sans: readonly string[]): Promise<Kube> {
    const ca = await createCa("test");
    const leaf = await issue({ ca, commonName: "kube-apiserver", sans, usages: ["server"], days: 1 });
    const tls = createTlsServer({ key: leaf.key, cert: leaf.certificate }, (request, response) => response.end(request.headers.host));
    server = tls;
    await new Promise<void>((resolve) => tls.listen(socketPath, resolve));
    const data = Buffer.from(ca.certificate).toString("base64");
    kube = connectKube(
      stringify({
        "current-context": "x",
        clusters: [{ name: "x", cluster: { server: "https://127.0.0.1:1", "certificate-authority-data": data } }],
        contexts: [{ name: "x", context: { cluster: "x" } }],
      }),
      { socketPath },
    );
    return kube;
  }

  test("is dialled instead of it", async () => {
    expect(await (await behindSocket(["127.0.0.1"])).raw("GET", "/")).toBe("127.0.0.1:1");
  });

  test("must show the server's certificate", async () => {
    const client = await behindSocket(["10.0.0.1"]);
    expect((await failure(client.raw("GET", "/"))).message).toContain("127.0.0.1 is not in the cert's list");
  });
});

test("a refusal names the fields its message left out", async () => {
  const client = await against((_, response) => {
    const causes = [{ field: "spec.bootMAC", message: "Invalid value" }];
    response.writeHead(422).end(status(422, { message: "it is invalid", details: { causes } }));
  });
  const error = await failure(client.patch(MACHINE, "m", undefined, {}));
  expect(error.code).toBe("IRW_KUBE_REFUSED");
  expect(error.message).toBe(
    "PATCH /apis/ironwright.dev/v1alpha1/machines/m was refused (422): it is invalid (spec.bootMAC: Invalid value)",
  );
});

test("a list whose snapshot is gone starts over", async () => {
  let first = true;
  const item = (name: string) => ({ metadata: { name } });
  const client = await against((request, response) => {
    const token = new URL(request.url ?? "", "http://x").searchParams.get("continue");
    if (!token) return response.end(JSON.stringify({ metadata: { resourceVersion: "7", continue: "next" }, items: [item("a")] }));
    if (first) {
      first = false;
      return response.writeHead(410).end(status(410));
    }
    return response.end(JSON.stringify({ metadata: { resourceVersion: "7" }, items: [item("b")] }));
  });
  const { items, resourceVersion } = await client.list(POD);
  expect(items.map((pod) => pod.metadata.name)).toEqual(["a", "b"]);
  expect(resourceVersion).toBe("7");
});

describe("an apiserver that sends without end", () => {
  const MIB = 2 ** 20;
  /** Sends up to a GiB; returns how many MiB were taken. */
  function pour(response: ServerResponse, text: string, most = 1024): () => number {
    let sent = 0;
    function* all() {
      for (; sent < most; sent += 1) yield text.repeat(MIB);
    }
    pipeline(Readable.from(all()), response, () => {});
    return () => sent;
  }

  test.each(["200", "403"])("is read to a limit, which a call may set lower: %s", async (code) => {
    let taken = () => 0;
    const client = await against((_, response) => {
      response.writeHead(Number(code));
      taken = pour(response, "x");
    });
    expect(await failure(client.raw("GET", "/x", undefined, { largestBytes: 1000 }))).toMatchObject({
      code: "IRW_KUBE_TOO_LARGE",
      facts: { what: "GET /x", bytes: 1000 },
    });
    expect(await failure(client.get(MACHINE, "m"))).toMatchObject({ code: "IRW_KUBE_TOO_LARGE", facts: { bytes: 64 * MIB } });
    expect(taken()).toBeLessThan(100);
  });

  test("is asked for fewer objects at a time when a page of them is too large", async () => {
    const limits: string[] = [];
    const client = await against((request, response) => {
      const limit = new URL(request.url ?? "", "http://x").searchParams.get("limit") ?? "";
      limits.push(limit);
      if (limit === "500") return void pour(response, " ", 65);
      response.end(JSON.stringify({ metadata: { resourceVersion: "7" }, items: [{ metadata: { name: "a" } }] }));
    });
    expect((await client.list(POD)).items.map((pod) => pod.metadata.name)).toEqual(["a"]);
    expect(limits).toEqual(["500", "50"]);
  });

  test("of a list, is not asked for pages for ever", async () => {
    let pages = 0;
    const client = await against((_, response) => {
      pages += 1;
      response.end(
        JSON.stringify({ metadata: { resourceVersion: "7", continue: "more" }, items: [{ metadata: { name: "a".repeat(900) } }] }),
      );
    });
    expect(await failure(client.list(POD, { largestBytes: 10_000 }))).toMatchObject({ code: "IRW_KUBE_TOO_LARGE" });
    expect(pages).toBeLessThan(12);
  });

  test("of a watch, is read to a limit a line", async () => {
    const client = await against((_, response) => void pour(response, "x"));
    const error = await failure(Array.fromAsync(client.watch(MACHINE, { resourceVersion: "0", timeoutSeconds: 1 })));
    expect(error).toMatchObject({ code: "IRW_KUBE_TOO_LARGE", facts: { bytes: 16 * MIB } });
  });
});

describe("a watch", () => {
  const events = [
    { type: "ADDED", object: { metadata: { name: "ä", resourceVersion: "1" } } },
    { type: "BOOKMARK", object: { metadata: { resourceVersion: "2" } } },
  ];

  test("is read line by line, however the bytes come", async () => {
    const bytes = Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join(""));
    const client = await against(async (_, response) => {
      for (const byte of bytes) {
        response.write(Buffer.of(byte));
        await new Promise(setImmediate);
      }
      response.end();
    });
    const seen = await Array.fromAsync(client.watch(MACHINE, { resourceVersion: "0", timeoutSeconds: 1 }));
    expect(seen).toEqual([events[0], { type: "BOOKMARK", resourceVersion: "2" }]);
  });

  test.each([
    ["an HTTP status", (code: number) => ({ code, body: status(code) })],
    ["an event", (code: number) => ({ code: 200, body: `${JSON.stringify({ type: "ERROR", object: JSON.parse(status(code)) })}\n` })],
  ])("that is too old says so by %s", async (_, answer) => {
    const { code, body } = answer(410);
    const client = await against((_, response) => response.writeHead(code).end(body));
    const error = await failure(Array.fromAsync(client.watch(MACHINE, { resourceVersion: "1", timeoutSeconds: 1 })));
    expect(error.code).toBe("IRW_KUBE_EXPIRED");
  });

  test("ends at once when it is told to", async () => {
    const client = await against((_, response) => response.write(`${JSON.stringify(events[0])}\n`));
    const stop = new AbortController();
    const watching = (async () => {
      for await (const event of client.watch(MACHINE, { resourceVersion: "0", timeoutSeconds: 300, signal: stop.signal }))
        if (event.type === "ADDED") stop.abort(new Error("enough"));
    })();
    await expect(watching).rejects.toThrow();
  });
});
