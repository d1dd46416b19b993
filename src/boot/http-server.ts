import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { z } from "zod";
import type { Clock } from "../core/clock.ts";
import { reasonOf } from "../core/errors.ts";
import type { BootAssets, InstallerHello, Stage } from "./contract.ts";
import { sendFile } from "./http-file.ts";
import type { Journal } from "./journal.ts";
import type { InstallerRecord, Records } from "./records.ts";
import type { Refusals } from "./refusals.ts";
import type { Scripts } from "./script.ts";

export interface HttpServerOptions {
  readonly records: Records;
  readonly assets: BootAssets;
  /** Paths of the network boot programs by name. */
  readonly programs: ReadonlyMap<string, string>;
  readonly scripts: Scripts;
  readonly journal: Journal;
  readonly refusals: Refusals;
  readonly clock: Clock;
  /** A new hello, kept already. */
  onHello(hello: InstallerHello, machine: string): void;
}

const HELLO_LIMIT = 16 * 1024;

const helloSchema = z.object({
  hostKey: z.string().regex(/^ssh-ed25519 [A-Za-z0-9+/]+={0,2}$/, "an ssh-ed25519 public key without a comment"),
  address: z.ipv4(),
  mac: z.string().regex(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}((:[0-9a-f]{2}){2})?$/, "lower case, colons"),
  uuid: z.string().max(64),
  serial: z.string().max(256),
  firmware: z.enum(["bios", "uefi"]),
});

/** Boot assets by HTTP, to the machine whose current nonce is in the URL and to nobody else. */
export function createBootHttp(options: HttpServerOptions): Server {
  const { records, assets, scripts, journal, refusals } = options;
  const server = createServer((request, response) => {
    serve(request, response).catch((error: unknown) => {
      // without the nonce, which is a secret
      refusals.count("http: failed", { asset: request.url?.split("/").slice(3).join("/").slice(0, 60), error: reasonOf(error) });
      if (response.headersSent) response.destroy();
      else answer(response, 500, "the boot plane could not answer; its log says why");
    });
  });
  server.on("clientError", (_, socket) => socket.destroy());

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? "").split("?")[0] ?? "";
    const exit = /^\/exit\/(disk|unknown|loop)\.ipxe$/.exec(path)?.[1];
    if (exit === "disk" || exit === "unknown" || exit === "loop") return answer(response, 200, scripts.render(exit, {}));

    const [, nonce = "", what = ""] = /^\/boot\/([A-Za-z0-9_-]+)\/(.+)$/.exec(path) ?? [];
    const record = records.byNonce(nonce);
    if (!record) {
      refusals.count("http: no valid nonce", { from: request.socket.remoteAddress });
      return answer(response, 404, "not found");
    }
    if (what === "hello") return request.method === "POST" ? hello(request, response, record) : answer(response, 405, "POST your hello");
    if (request.method !== "GET" && request.method !== "HEAD") return answer(response, 405, "only GET and HEAD");
    return asset(request, response, record, what);
  }

  async function asset(request: IncomingMessage, response: ServerResponse, record: InstallerRecord, what: string): Promise<void> {
    const { nonce, authorizedKey } = record.intent;
    switch (what) {
      case "script.ipxe":
        journal.add(record.machine, "script", "iPXE script fetched");
        return answer(response, 200, script(request, record));
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
    const started = options.clock.now().getTime();
    const sent = await sendFile(request, response, path);
    if (!sent) {
      refusals.count("http: the file is gone", { path });
      return answer(response, 503, `${name} is not there any more; run the set-up again`);
    }
    if (sent.of === 0) return;
    const seconds = ((options.clock.now().getTime() - started) / 1000).toFixed(1);
    const whole = sent.bytes === sent.of;
    const detail = whole
      ? `${name} fetched (${sent.of} bytes in ${seconds} s)`
      : `${name} broken off after ${sent.bytes} of ${sent.of} bytes`;
    journal.add(record.machine, stage, detail, { what: whole ? "fetched" : "broken-off", file: name });
  }

  function script(request: IncomingMessage, record: InstallerRecord): string {
    const { nonce, kernelArguments } = record.intent;
    // the address the client reached us at, which is one of ours whatever the Host header says
    const url = `http://${plainAddress(request.socket.localAddress)}:${request.socket.localPort}/boot/${nonce}`;
    return scripts.render("installer", { machine: record.machine, url, arguments: kernelArguments });
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
    if (!record.macs.includes(mac)) {
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
