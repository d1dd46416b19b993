import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server as HttpServer } from "node:http";
import { connect, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from "node:tls";
import { pino } from "pino";
import { systemClock } from "../../core/clock.ts";
import { createCa, issue } from "../../supervise/index.ts";
import { type GatewayClient, gatewayClient } from "./client.ts";
import { type Gateway, type GatewayOptions, openGateway } from "./gateway.ts";
import type { RouteInput } from "./route.ts";

/** A gateway with tenants behind it: TLS servers on the sockets where doors would be, and a supervisor that wakes by the book. */
export interface GatewayWorld {
  readonly dir: string;
  gateway: Gateway;
  readonly client: GatewayClient;
  readonly ca: string;
  /** What the gateway logged, a line each. */
  readonly logged: string[];
  /** Cells that somebody asked to wake. */
  readonly wakes: string[];
  /** Answers the wake calls that wait, and those to come. */
  answerWakes(answer: "awake" | "refused"): void;
  holdWakes(): void;
  peoplePort(): number;
  route(id: string, change?: Partial<RouteInput>): RouteInput;
  /** Its apiserver's stand-in: says over TLS who it is, then echoes. */
  serve(id: string): Promise<Server>;
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export async function gatewayWorld(change: Partial<GatewayOptions> = {}): Promise<GatewayWorld> {
  const dir = mkdtempSync(join(tmpdir(), "iw-gw-"));
  const ca = await createCa("test");
  const logged: string[] = [];
  const log = pino({ level: "trace" }, { write: (line: string) => void logged.push(line) });
  const wakes: string[] = [];
  let mode: "awake" | "refused" | "hold" = "awake";
  let waiting: (() => void)[] = [];
  const supervisor = createServer((request, response) => {
    const cell = /^\/cells\/([^/]+)\/wake$/.exec(request.url ?? "")?.[1];
    if (request.method !== "POST" || cell === undefined) return void response.writeHead(404).end("{}");
    wakes.push(decodeURIComponent(cell));
    const answer = () => {
      if (mode === "refused")
        return void response
          .writeHead(422)
          .end(JSON.stringify({ code: "IRW_CHILD_NOT_READY", facts: { child: cell, after: "1 s", log: "no" } }));
      response.writeHead(200).end("{}");
    };
    if (mode === "hold") waiting.push(answer);
    else answer();
  });
  const wakeSocket = join(dir, "wake.sock");
  await listenOn(supervisor, wakeSocket);
  const servers: Server[] = [];
  const accepted: Socket[] = [];
  const options: GatewayOptions = {
    dir: join(dir, "gateway"),
    people: { address: "127.0.0.1", port: 0 },
    nodesAddress: "127.0.0.1",
    wakeSocket,
    connectNode: async () => Promise.reject(new Error("no SSH in this test")),
    clock: systemClock,
    log,
    ...change,
  };
  const first = await openGateway(options);
  const world: GatewayWorld = {
    dir,
    gateway: first,
    client: gatewayClient(first.socket),
    ca: ca.certificate,
    logged,
    wakes,
    answerWakes(answer) {
      mode = answer;
      const all = waiting;
      waiting = [];
      for (const one of all) one();
    },
    holdWakes() {
      mode = "hold";
    },
    peoplePort: () => world.gateway.state().peoplePort ?? 0,
    route: (id, more = {}) => ({
      id,
      ref: { namespace: "default", name: id },
      state: "awake",
      api: join(dir, `${id}.sock`),
      cell: `cell-${id}`,
      names: [`${id}.default.test`],
      ...more,
    }),
    async serve(id) {
      const leaf = await issue({ ca, commonName: id, sans: [`${id}.default.test`], usages: ["server"], days: 1 });
      const server = createTlsServer({ key: leaf.key, cert: leaf.certificate, allowHalfOpen: true }, (socket) => {
        socket.on("error", () => {});
        socket.write(`${id}\n`);
        socket.pipe(socket);
      });
      server.on("tlsClientError", () => {});
      // one that never shook hands is half open for ever
      server.on("connection", (socket: Socket) => void accepted.push(socket));
      servers.push(server);
      await listenOn(server, join(dir, `${id}.sock`));
      return server;
    },
    async restart() {
      await world.gateway.stop();
      world.gateway = await openGateway(options);
    },
    async stop() {
      world.answerWakes("refused");
      await world.gateway.stop();
      supervisor.closeAllConnections();
      for (const socket of accepted) socket.destroy();
      await Promise.all([supervisor, ...servers].map((one) => new Promise<void>((resolve) => one.close(() => resolve()))));
      rmSync(dir, { recursive: true, force: true });
    },
  };
  return world;
}

function listenOn(server: Server | HttpServer, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => resolve());
  });
}

/** A TLS client, once its handshake is done and whoever answers has said who it is. */
export function callPeople(
  world: GatewayWorld,
  name: string | undefined,
  port = world.peoplePort(),
): Promise<{ said: string; socket: TLSSocket }> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host: "127.0.0.1", port, ca: world.ca, ...(name === undefined ? {} : { servername: name }) });
    socket.once("error", reject);
    socket.once("data", (bytes: Buffer) => resolve({ said: bytes.toString("utf8").trim(), socket }));
    socket.once("close", () => reject(new Error("closed")));
  });
}

export function dial(where: { port: number; host?: string; localAddress?: string } | { path: string }): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", ...where, allowHalfOpen: true }, () => resolve(socket));
    socket.once("error", reject);
  });
}

/** All that comes until the other side ends; `reset` when it breaks off. */
export function drain(socket: Socket): Promise<Buffer | "reset"> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.once("error", () => resolve("reset"));
    socket.once("end", () => resolve(Buffer.concat(chunks)));
    socket.once("close", () => resolve(Buffer.concat(chunks)));
  });
}

/** Looks until it holds. */
export async function eventually(what: string, look: () => boolean | Promise<boolean>, deadlineMs = 10_000): Promise<void> {
  const end = Date.now() + deadlineMs;
  while (!(await look())) {
    if (Date.now() > end) throw new Error(`${what}: not within ${deadlineMs / 1000} s`);
    await systemClock.sleep(10);
  }
}
