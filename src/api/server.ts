import { mkdirSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { dirname } from "node:path";
import Fastify, { type FastifyInstance } from "fastify";
import type { PodExplanation } from "../autoscale/index.ts";
import type { BootPlane, LeaseView } from "../boot/index.ts";
import { IronwrightError, isError, reasonOf } from "../core/errors.ts";
import { fitsSocket, LONGEST_SOCKET_PATH } from "../core/unix-socket.ts";
import type { Logger, Metrics } from "../observe/index.ts";
import { type LeasesAnswer, type PodAnswer, problemOf, type TimelineAnswer, type TopAnswer } from "./answers.ts";

/** What the API tells of; handed in as values, so that it works while parts of the daemon are still starting. */
export interface ApiParts {
  readonly boot: Pick<BootPlane, "attempts" | "history" | "lastSeen" | "leases" | "records" | "refusals" | "timeline">;
  readonly metrics: Metrics;
  /** The autoscaler's answer, or `starting` while there is none that could answer. */
  explainPod(tenant: string, pod: string): PodExplanation | undefined | "starting";
  /** What tenants have and take, or `starting` while nobody could say. */
  topTenants(): Promise<TopAnswer | "starting">;
  readonly log: Logger;
}

export interface ApiListen {
  /** Unix socket; whoever may open it may ask everything, so its owner alone may. */
  readonly socket: string;
  /** Also `/metrics`, and nothing else, by TCP. */
  readonly metrics?: { readonly address: string; readonly port: number } | undefined;
}

export interface Api {
  /** Where `/metrics` is served by TCP, with the port that was chosen for 0. */
  readonly metricsAddress: string | undefined;
  stop(): Promise<void>;
}

/** Starts the daemon's own API. @throws IRW_API_LISTEN */
export async function startApi(parts: ApiParts, listen: ApiListen): Promise<Api> {
  const local = createRoutes(parts);
  const open = listen.metrics ? Fastify() : undefined;
  try {
    await listenLocally(local, listen.socket);
    let metricsAddress: string | undefined;
    if (open && listen.metrics) {
      addMetrics(open, parts.metrics);
      const { address: host, port } = listen.metrics;
      metricsAddress = await open.listen({ host, port }).catch((error: unknown) => {
        throw new IronwrightError("IRW_API_LISTEN", { where: `${host}:${port}`, reason: reasonOf(error) }, error);
      });
    }
    parts.log.info({ socket: listen.socket, ...(metricsAddress ? { metrics: metricsAddress } : {}) }, "the daemon's API is up");
    return {
      metricsAddress,
      async stop() {
        await Promise.all([local.close(), open?.close()]);
        rmSync(listen.socket, { force: true });
      },
    };
  } catch (error) {
    await Promise.all([local.close(), open?.close()]);
    throw error;
  }
}

/** The routes alone, for who injects requests. */
function createRoutes(parts: ApiParts): FastifyInstance {
  const { boot, metrics, log } = parts;
  const app = Fastify({ forceCloseConnections: true });
  addMetrics(app, metrics);

  app.get<{ Querystring: { from?: string } }>("/v1/leases", ({ query }) => leasesFrom(boot, Number(query.from ?? 0)));
  app.get("/v1/boot/refusals", () => ({ items: boot.refusals() }));
  app.get<{ Params: { name: string } }>("/v1/machines/:name/timeline", ({ params: { name } }): TimelineAnswer => {
    const attempts = boot.attempts(name);
    const events = boot.timeline(name);
    if (attempts.length === 0 && events.length === 0 && !boot.records().some(({ machine }) => machine === name)) {
      throw new IronwrightError("IRW_BOOT_UNKNOWN", { machine: name });
    }
    const model = attempts.findLast((one) => one.model !== undefined)?.model;
    const seen = boot.lastSeen(name);
    return { machine: name, seen, ...(model ? { model } : {}), attempts, history: model ? boot.history(model) : [], events };
  });
  app.get<{ Querystring: { tenant?: string; pod?: string } }>("/v1/explain/pod", ({ query }): PodAnswer => {
    const { tenant = "", pod = "" } = query;
    if (!tenant || !pod)
      throw new IronwrightError("IRW_API_REQUEST", { problem: "tenant (namespace.name) and pod (namespace/name) are missing" });
    const found = parts.explainPod(tenant, pod);
    if (found === "starting") throw new IronwrightError("IRW_API_STARTING", { part: "autoscaler" });
    return { tenant, pod, explanation: found ?? null };
  });

  app.get("/v1/top/virtualclusters", async (): Promise<TopAnswer> => {
    const answer = await parts.topTenants();
    if (answer === "starting") throw new IronwrightError("IRW_API_STARTING", { part: "host control plane" });
    return answer;
  });

  app.setNotFoundHandler((request) => {
    throw new IronwrightError("IRW_API_REQUEST", { problem: `there is no ${request.method} ${request.url}` });
  });
  app.setErrorHandler((error, request, reply) => {
    const status = statusOf(error);
    if (status === 500) log.error({ err: error, route: request.routeOptions.url }, "an API request failed");
    return reply.status(status).send(problemOf(error));
  });
  return app;
}

const LEASES_AT_ONCE = 2_000;

function leasesFrom(boot: Pick<BootPlane, "leases">, from: number): LeasesAnswer {
  if (!Number.isSafeInteger(from) || from < 0) throw new IronwrightError("IRW_API_REQUEST", { problem: "from is not a whole number" });
  const items: LeaseView[] = [];
  for (const lease of boot.leases(from)) {
    if (items.length === LEASES_AT_ONCE) return { items, next: from + items.length };
    items.push(lease);
  }
  return { items };
}

function addMetrics(app: FastifyInstance, metrics: Metrics): void {
  app.get("/metrics", async (_, reply) => reply.type(metrics.registry.contentType).send(await metrics.text()));
}

function statusOf(error: unknown): number {
  if (isError(error, "IRW_BOOT_UNKNOWN")) return 404;
  if (isError(error, "IRW_API_REQUEST")) return 400;
  if (isError(error, "IRW_API_STARTING")) return 503;
  const own = (error as { readonly statusCode?: unknown }).statusCode;
  return typeof own === "number" && own >= 400 && own < 500 ? own : 500;
}

async function listenLocally(app: FastifyInstance, socket: string): Promise<void> {
  const refuse = (reason: string, cause?: unknown) => new IronwrightError("IRW_API_LISTEN", { where: socket, reason }, cause);
  if (!fitsSocket(socket)) throw refuse(`the path is longer than ${LONGEST_SOCKET_PATH} bytes`);
  if (await answers(socket)) throw refuse("another daemon answers there");
  try {
    mkdirSync(dirname(socket), { recursive: true, mode: 0o700 });
    rmSync(socket, { force: true });
    await app.ready();
    await listenAs(app, socket);
  } catch (error) {
    throw refuse(reasonOf(error), error);
  }
}

/** Node binds a Unix socket within the call: so nobody else can open it, not even for a moment. */
function listenAs(app: FastifyInstance, socket: string): Promise<void> {
  return new Promise((resolve, reject) => {
    app.server.once("error", reject);
    const before = process.umask(0o177);
    try {
      app.server.listen(socket, resolve);
    } finally {
      process.umask(before);
    }
  });
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const attempt = connect(socket);
    attempt.once("connect", () => {
      attempt.destroy();
      resolve(true);
    });
    attempt.once("error", () => resolve(false));
  });
}
