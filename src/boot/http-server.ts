import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerOptions, type ServerResponse } from "node:http";
import { createServer as createHttpsServer, type Server as HttpsServer } from "node:https";
import type { Socket } from "node:net";
import { z } from "zod";
import type { Clock } from "../core/clock.ts";
import { reasonOf } from "../core/errors.ts";
import type { BootFiles } from "./boot-files.ts";
import type { BootAssets, BootRecord, InstallerHello, Stage } from "./contract.ts";
import type { BodySender } from "./http-body.ts";
import { fileAnswer } from "./http-conditions.ts";
import type { Journal } from "./journal.ts";
import type { HttpMeter } from "./meters.ts";
import type { InstallerRecord, Records } from "./records.ts";
import type { Refusals } from "./refusals.ts";
import { type Scripts, screenWords } from "./script.ts";

export interface HttpServerOptions {
  readonly records: Records;
  readonly assets: BootAssets;
  /** Paths of the network boot programs by name. */
  readonly programs: ReadonlyMap<string, string>;
  readonly files: BootFiles;
  readonly bodies: BodySender;
  readonly scripts: Scripts;
  /** The machine whose NIC has the address: for what is said on its screen, and for nothing it is given. */
  machineAt(address: string): BootRecord | undefined;
  readonly journal: Journal;
  readonly refusals: Refusals;
  readonly clock: Clock;
  readonly meter?: HttpMeter | undefined;
  /** A new hello, kept already. */
  onHello(hello: InstallerHello, machine: string): void;
}

const HELLO_LIMIT = 16 * 1024;
const CONNECTIONS = 8192;
const CONNECTIONS_PER_CLIENT = 64;

/** Firmware, iPXE and curl send a few hundred bytes at once; who dribbles is not one of them. */
const LIMITS: ServerOptions = {
  maxHeaderSize: 8 * 1024,
  headersTimeout: 10_000,
  requestTimeout: 20_000,
  connectionsCheckingInterval: 2_000,
  keepAliveTimeout: 15_000,
  noDelay: true,
};

const helloSchema = z.object({
  hostKey: z.string().regex(/^ssh-ed25519 [A-Za-z0-9+/]+={0,2}$/, "an ssh-ed25519 public key without a comment"),
  address: z.ipv4(),
  mac: z.string().regex(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}((:[0-9a-f]{2}){2})?$/, "lower case, colons"),
  uuid: z.string().max(64),
  serial: z.string().max(256),
  firmware: z.enum(["bios", "uefi"]),
});

/** What a server of HTTPS is made of, PEM. */
export interface TlsIdentity {
  readonly certificate: string;
  readonly key: string;
}

/** Boot assets by HTTP, to the machine whose current nonce is in the URL and to nobody else. */
export function createBootHttp(options: HttpServerOptions): Server {
  return withHandler(options, (listener) => createServer(LIMITS, listener));
}

/** The same by HTTPS. */
export function createBootHttps(options: HttpServerOptions, { certificate, key }: TlsIdentity): HttpsServer {
  return withHandler(options, (listener) =>
    createHttpsServer({ ...LIMITS, handshakeTimeout: LIMITS.headersTimeout, cert: certificate, key }, listener),
  );
}

function withHandler<S extends Server | HttpsServer>(options: HttpServerOptions, create: (listener: RequestListener) => S): S {
  const { records, assets, scripts, journal, refusals, files } = options;
  const server = create(listener);
  server.maxHeadersCount = 64;
  server.maxConnections = CONNECTIONS;
  const connections = new Map<string, number>();
  server.on("connection", limit);
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    if (error.code === "ERR_HTTP_REQUEST_TIMEOUT" || error.code === "HPE_HEADER_OVERFLOW") refusals.count(`http: ${error.code}`, {});
    socket.destroy();
  });
  server.on("tlsClientError", (error: Error) => refusals.count("http: TLS", { error: error.message }));

  function listener(request: IncomingMessage, response: ServerResponse): void {
    options.meter?.began(request, response);
    serve(request, response).catch((error: unknown) => {
      // without the nonce, which is a secret
      refusals.count("http: failed", { asset: request.url?.split("/").slice(3).join("/").slice(0, 60), error: reasonOf(error) });
      if (response.headersSent) response.destroy();
      else answer(response, 500, "the boot plane could not answer; its log says why");
    });
  }

  function limit(connection: Socket): void {
    const client = plainAddress(connection.remoteAddress);
    const open = (connections.get(client) ?? 0) + 1;
    if (open > CONNECTIONS_PER_CLIENT) {
      refusals.count("http: too many connections", { from: client });
      return void connection.destroy();
    }
    connections.set(client, open);
    connection.once("close", () => {
      const left = (connections.get(client) ?? 1) - 1;
      if (left > 0) connections.set(client, left);
      else connections.delete(client);
    });
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? "").split("?")[0] ?? "";
    const exit = /^\/exit\/([a-z]+)\.(ipxe|efi)$/.exec(path);
    // UEFI HTTP Boot goes on to its next boot device when there is nothing
    if (exit) {
      const text = exit[2] === "ipxe" ? farewell(request, exit[1] ?? "") : undefined;
      return text === undefined ? answer(response, 404, "nothing to boot") : answer(response, 200, text);
    }
    const [, nonce = "", what = ""] = /^\/boot\/([A-Za-z0-9_-]+)\/(.+)$/.exec(path) ?? [];
    const record = records.byNonce(nonce);
    if (!record) return stranger(request, response, what);
    if (what === "hello") return request.method === "POST" ? hello(request, response, record) : answer(response, 405, "POST your hello");
    if (request.method !== "GET" && request.method !== "HEAD") return answer(response, 405, "only GET and HEAD");
    return asset(request, response, record, what);
  }

  /** A script for who has nothing to boot here: it says why on the server's own screen, and ends. */
  function farewell(request: IncomingMessage, why: string): string | undefined {
    const record = options.machineAt(plainAddress(request.socket.remoteAddress));
    const machine = record?.machine ?? "this-server";
    if (why === "unknown") return scripts.render("unknown", {});
    if (why === "loop") return scripts.render("loop", { machine });
    if (why !== "disk") return undefined;
    const because = record?.intent.boot === "disk" ? record.intent.because : undefined;
    const reason = screenWords(because?.reason ?? "it has no work");
    const next = screenWords(because?.next ?? "It is installed when a claim names it: ironwright explain pod says what waits");
    return scripts.render("disk", { machine, reason, next });
  }

  /** Without a nonce that counts. A script says so on the screen, and asks again by DHCP, which knows the current one. */
  function stranger(request: IncomingMessage, response: ServerResponse, what: string): void {
    const from = plainAddress(request.socket.remoteAddress);
    refusals.count("http: no valid nonce", { from });
    if (what !== "script.ipxe") {
      answer(response, 404, "not found");
      return;
    }
    const record = options.machineAt(from);
    if (record) journal.add(record.machine, "script", "asked for the script of an attempt that is over", { what: "stale" });
    const machine = record?.machine ?? "this-server";
    problem(
      response,
      machine,
      "its boot attempt is over: the nonce is not the current one of any machine",
      `ironwright timeline machine ${machine} says what came after it`,
    );
  }

  function problem(response: ServerResponse, machine: string, reason: string, next: string): void {
    answer(response, 200, scripts.render("problem", { machine, reason: screenWords(reason), next: screenWords(next), tries: "6" }));
  }

  async function asset(request: IncomingMessage, response: ServerResponse, record: InstallerRecord, what: string): Promise<void> {
    const { nonce, authorizedKey } = record.intent;
    switch (what) {
      case "script.ipxe":
        return script(request, response, record);
      case "kernel":
        return file(request, response, record, "kernel", "kernel", assets.kernel);
      case "initrd":
        return file(request, response, record, "initrd", "initrd", assets.initrd);
      case "authorized_keys":
        journal.add(record.machine, "key", "installer is up and fetched the daemon's key");
        return answer(response, 200, `${authorizedKey}\n`);
    }
    const name = what.startsWith("files/") ? what.slice("files/".length) : undefined;
    const path = name === undefined ? options.programs.get(what) : records.file(nonce, name);
    if (path === undefined) return answer(response, 404, "not found");
    return file(request, response, record, name === undefined ? "program" : "file", what, path);
  }

  async function file(
    request: IncomingMessage,
    response: ServerResponse,
    record: InstallerRecord,
    stage: Stage,
    name: string,
    path: string,
  ): Promise<void> {
    const there = await files.look(path);
    if (!there) {
      refusals.count("http: the file is gone", { path });
      return answer(response, 503, `${name} is not there any more; run the set-up again`);
    }
    const { status, headers, offset, length } = fileAnswer(request.headers, there);
    response.writeHead(status, headers);
    if (request.method === "HEAD" || length === 0) return void response.end();
    const started = options.clock.now().getTime();
    const client = plainAddress(request.socket.remoteAddress);
    const sent = await options.bodies.send({ file: there, offset, length, client }, response);
    options.meter?.sent(sent.bytes);
    const seconds = ((options.clock.now().getTime() - started) / 1000).toFixed(1);
    const whole = sent.bytes === length;
    const detail = whole
      ? `${name} fetched (${length} bytes in ${seconds} s)`
      : `${name} broken off after ${sent.bytes} of ${length} bytes: ${sent.why ?? "the client hung up"}`;
    journal.add(record.machine, stage, detail, { what: whole ? "fetched" : "broken-off", file: name });
  }

  async function script(request: IncomingMessage, response: ServerResponse, record: InstallerRecord): Promise<void> {
    for (const [what, path] of [
      ["kernel", assets.kernel],
      ["initrd", assets.initrd],
    ] as const) {
      if (await files.look(path)) continue;
      refusals.count("http: the file is gone", { path });
      const because = `the installer's ${what} is missing on the boot server`;
      journal.add(record.machine, "script", because, { what: "broken-off", because });
      return problem(
        response,
        record.machine,
        `the installer's ${what} is missing on the boot server`,
        "run the set-up again there: npm run setup",
      );
    }
    const { nonce, kernelArguments } = record.intent;
    const { localAddress, localPort } = request.socket;
    // the address the client reached us at, which is one of ours whatever the Host header says
    const server = `${"encrypted" in request.socket ? "https" : "http"}://${plainAddress(localAddress)}:${localPort}`;
    journal.add(record.machine, "script", "iPXE script fetched");
    const values = { machine: record.machine, server, url: `${server}/boot/${nonce}`, arguments: kernelArguments };
    answer(response, 200, scripts.render("installer", values));
  }

  async function hello(request: IncomingMessage, response: ServerResponse, record: InstallerRecord): Promise<void> {
    const parsed = helloSchema.safeParse(parseJson(await body(request)));
    if (!parsed.success) {
      refusals.count("http: hello not understood", { machine: record.machine });
      return answer(response, 400, z.prettifyError(parsed.error));
    }
    const { mac, hostKey } = parsed.data;
    // while the body was on its way a new attempt may have begun
    if (!records.byNonce(record.intent.nonce)) return answer(response, 404, "not found");
    if (records.ownerOf(mac)?.machine !== record.machine) {
      refusals.count("http: hello of another machine", { machine: record.machine, mac });
      return answer(response, 403, `this attempt is not for ${mac}`);
    }
    // credentials go to this address later: it is where the call came from, not what the caller wrote
    const address = plainAddress(request.socket.remoteAddress);
    const said = { ...parsed.data, address, nonce: record.intent.nonce };
    const before = records.helloOf(said.nonce);
    if (before && before.hostKey !== hostKey) {
      // trust on first use: a second installer of one attempt is not the first one
      refusals.count("http: a second hello with another key", { machine: record.machine, address });
      return answer(response, 409, "this attempt has an installer already");
    }
    if (!before) {
      records.putHello(said);
      journal.add(record.machine, "hello", `installer said hello from ${address}`);
      options.onHello(said, record.machine);
    }
    response.writeHead(204).end();
  }

  return server;
}

function answer(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8", "content-length": Buffer.byteLength(text) }).end(text);
}

async function body(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > HELLO_LIMIT) return "";
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** `::ffff:10.77.0.11` is what a dual-stack socket calls 10.77.0.11. */
function plainAddress(address: string | undefined): string {
  return (address ?? "").replace(/^::ffff:/, "");
}
