import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server as HttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { z } from "zod";
import type { Clock } from "../core/clock.ts";
import { reasonOf } from "../core/errors.ts";
import type { Certificate } from "./certificate.ts";
import { type PowerUnit, RESETS, targetsOf } from "./power.ts";
import {
  collection,
  errorBody,
  etagOf,
  manager,
  modeOf,
  type RedfishIdentity,
  serviceRoot,
  session,
  sessionService,
  system,
} from "./redfish-documents.ts";

/** How real BMCs fail, to be switched on by tests and by people who want to see what then happens. */
export interface Misbehaviour {
  /** Answers 204 to every write and does nothing. */
  readonly noEffect?: boolean;
  /** Waits so long before every answer. */
  readonly delayMs?: number;
  /** Answers GETs of the system with a body of this many bytes. */
  readonly bodyBytes?: number;
  /** No SessionService: Basic authentication only. */
  readonly noSessions?: boolean;
  /** Every ETag is refused once, as if the resource had just changed. */
  readonly staleEtagOnce?: boolean;
}

export interface RedfishSetting {
  readonly identity: RedfishIdentity;
  readonly unit: PowerUnit;
  readonly credentials: { readonly username: string; readonly password: string };
  readonly certificate: Certificate;
  readonly clock: Clock;
  readonly random: (bytes: number) => Buffer;
  readonly sessionLimit?: number;
}

/** A simulated BMC's Redfish service over HTTPS. */
export interface RedfishService {
  /** Resolves to the port. */
  listen(address: string, port: number): Promise<number>;
  misbehave(how: Misbehaviour): void;
  /** Logins and Basic requests with wrong credentials so far: a real BMC locks the account after a few. */
  refusedLogins(): number;
  openSessions(): number;
  close(): Promise<void>;
}

interface Reply {
  readonly status: number;
  readonly body?: object | string;
  readonly headers?: Readonly<Record<string, string>>;
}

const ROOT = "/redfish/v1";
const SESSION_TIMEOUT_S = 1_800;
const MAX_BODY = 64 * 1024;

const loginSchema = z.object({ UserName: z.string(), Password: z.string() });
const resetSchema = z.object({ ResetType: z.string() });

export function redfishService(setting: RedfishSetting): RedfishService {
  const { identity, unit, credentials, certificate, clock, random, sessionLimit = 8 } = setting;
  const sessions = new Map<string, { readonly token: string; usedAt: number }>();
  const patchSchema = z.strictObject({
    Boot: z.strictObject({
      BootSourceOverrideTarget: z.enum(targetsOf(identity.firmware)).optional(),
      BootSourceOverrideEnabled: z.enum(["Disabled", "Once", "Continuous"]).optional(),
      BootSourceOverrideMode: z.literal(modeOf(identity)).optional(),
    }),
  });
  let misbehaviour: Misbehaviour = {};
  let staleUsed = false;
  let refused = 0;
  let lastSession = 0;
  const ending = new AbortController();

  const systemNow = () => system(identity, unit.power(), unit.override());
  const systemPath = `${ROOT}/Systems/${identity.id}`;

  const routes: Readonly<Record<string, (request: IncomingMessage, body: unknown) => Promise<Reply> | Reply>> = {
    [`GET ${ROOT}`]: () => ok(serviceRoot(identity)),
    [`GET ${ROOT}/SessionService`]: () => ok(sessionService(SESSION_TIMEOUT_S)),
    [`GET ${ROOT}/SessionService/Sessions`]: () => ok(collection("SessionService/Sessions", "Session", [...sessions.keys()])),
    [`POST ${ROOT}/SessionService/Sessions`]: (_, body) => login(body),
    [`GET ${ROOT}/Systems`]: () => ok(collection("Systems", "ComputerSystem", [identity.id])),
    [`GET ${systemPath}`]: () => showSystem(),
    [`PATCH ${systemPath}`]: patchSystem,
    [`POST ${systemPath}/Actions/ComputerSystem.Reset`]: (_, body) => reset(body),
    [`GET ${ROOT}/Managers`]: () => ok(collection("Managers", "Manager", ["BMC"])),
    [`GET ${ROOT}/Managers/BMC`]: () => ok(manager(identity, clock.now())),
  };
  /** Open to everybody (DSP0266 §13.3.1). */
  const open = new Set([`GET ${ROOT}`, `POST ${ROOT}/SessionService/Sessions`]);

  function showSystem(): Reply {
    if (misbehaviour.bodyBytes) return { status: 200, body: `{"Junk":"${"x".repeat(misbehaviour.bodyBytes)}"}` };
    const document = systemNow();
    return { ...ok(document), headers: { etag: etagOf(document) } };
  }

  function login(body: unknown): Reply {
    const given = loginSchema.safeParse(body);
    if (!given.success) return fault(400, "PropertyMissing", "UserName and Password are required.");
    if (!credentialsFit(given.data.UserName, given.data.Password)) return unauthorized();
    if (sessions.size >= sessionLimit)
      return fault(
        503,
        "SessionLimitExceeded",
        "The session establishment failed due to the number of simultaneous sessions exceeding the limit.",
      );
    const id = String(++lastSession);
    const token = random(24).toString("base64url");
    sessions.set(id, { token, usedAt: clock.now().getTime() });
    const location = `${ROOT}/SessionService/Sessions/${id}`;
    return { status: 201, body: session(id, given.data.UserName), headers: { "x-auth-token": token, location } };
  }

  async function patchSystem(request: IncomingMessage, body: unknown): Promise<Reply> {
    const match = request.headers["if-match"];
    if (match === undefined) return fault(428, "PreconditionRequired", "An If-Match header is required for this resource.");
    const stale = misbehaviour.staleEtagOnce && !staleUsed;
    staleUsed = true;
    if (stale || (match !== "*" && match !== etagOf(systemNow())))
      return fault(412, "PreconditionFailed", "The ETag supplied did not match the ETag required to change this resource.");
    const wanted = patchSchema.safeParse(body);
    if (!wanted.success)
      return fault(400, "PropertyValueNotInList", wanted.error.issues.map((one) => `${one.path.join("/")}: ${one.message}`).join("; "));
    const before = unit.override();
    const { BootSourceOverrideTarget: target = before.target, BootSourceOverrideEnabled: enabled = before.enabled } = wanted.data.Boot;
    // "Disabled" and the target "None" mean each other (ComputerSystem schema)
    const none = target === "None" || enabled === "Disabled";
    if (!misbehaviour.noEffect) await unit.setOverride(none ? { target: "None", enabled: "Disabled" } : { target, enabled });
    return { status: 204 };
  }

  async function reset(body: unknown): Promise<Reply> {
    const wanted = resetSchema.safeParse(body);
    const kind = RESETS.find((one) => wanted.success && one === wanted.data.ResetType);
    if (!kind) return fault(400, "ActionParameterValueNotInList", `ResetType must be one of ${RESETS.join(", ")}.`);
    if (kind !== "On" && kind !== "ForceOff" && unit.power() === "Off")
      return fault(409, "ActionNotSupported", `${kind} needs the system to be on.`);
    if (!misbehaviour.noEffect) await unit.reset(kind);
    return { status: 204 };
  }

  function authorized(request: IncomingMessage): boolean {
    const token = request.headers["x-auth-token"];
    if (typeof token === "string") {
      const now = clock.now().getTime();
      for (const [id, one] of sessions) if (now - one.usedAt > SESSION_TIMEOUT_S * 1_000) sessions.delete(id);
      const found = [...sessions.values()].find((one) => same(one.token, token));
      if (found) found.usedAt = now;
      return found !== undefined;
    }
    const [, encoded] = /^Basic ([A-Za-z0-9+/=]+)$/.exec(request.headers.authorization ?? "") ?? [];
    if (encoded === undefined) return false;
    const [username = "", ...rest] = Buffer.from(encoded, "base64").toString("utf8").split(":");
    return credentialsFit(username, rest.join(":"));
  }

  function credentialsFit(username: string, password: string): boolean {
    const fit = same(username, credentials.username) && same(password, credentials.password);
    if (!fit) refused += 1;
    return fit;
  }

  async function answer(request: IncomingMessage): Promise<Reply> {
    const path = (request.url ?? "/").split("?")[0]?.replace(/\/$/, "") ?? "";
    const key = `${request.method} ${path}`;
    if (misbehaviour.noSessions && path.startsWith(`${ROOT}/SessionService`)) return notFound(path);
    if (path === "/redfish") return ok({ v1: `${ROOT}/` });
    if (!open.has(key) && !authorized(request)) return unauthorized();
    const [, id] = new RegExp(`^${ROOT}/SessionService/Sessions/([0-9]+)$`).exec(path) ?? [];
    if (id !== undefined && sessions.has(id)) {
      if (request.method === "GET") return ok(session(id, credentials.username));
      if (request.method === "DELETE") return sessions.delete(id) ? { status: 204 } : notFound(path);
    }
    const route = routes[key];
    if (!route) return notFound(path);
    const body = await readBody(request);
    return body === "malformed" ? fault(400, "MalformedJSON", "The request body is not valid JSON.") : route(request, body);
  }

  const server = createServer({ cert: certificate.certificate, key: certificate.key }, (request, response) => {
    answer(request)
      .catch((error: unknown) => fault(500, "InternalError", reasonOf(error)))
      .then(async (reply) => {
        if (misbehaviour.delayMs) await clock.sleep(misbehaviour.delayMs, ending.signal);
        send(response, reply);
      })
      .catch(() => response.destroy());
  });

  return {
    listen: (address, port) => listen(server, address, port),
    misbehave(how) {
      misbehaviour = how;
      staleUsed = false;
    },
    refusedLogins: () => refused,
    openSessions: () => sessions.size,
    close: () =>
      new Promise((resolve) => {
        ending.abort();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function ok(body: object): Reply {
  return { status: 200, body };
}

function fault(status: number, messageId: string, message: string): Reply {
  return { status, body: errorBody(messageId, message) };
}

function notFound(path: string): Reply {
  return fault(404, "ResourceMissingAtURI", `The resource at the URI ${path} was not found.`);
}

function unauthorized(): Reply {
  return fault(401, "NoValidSession", "There is no valid session established with the implementation.");
}

/** Undefined without a body. */
async function readBody(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > MAX_BODY) return "malformed";
    parts.push(part);
  }
  if (size === 0) return undefined;
  try {
    return JSON.parse(Buffer.concat(parts).toString("utf8"));
  } catch {
    return "malformed";
  }
}

function send(response: ServerResponse, { status, body, headers }: Reply): void {
  response.writeHead(status, { "odata-version": "4.0", ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers });
  response.end(typeof body === "object" ? JSON.stringify(body) : body);
}

function listen(server: HttpsServer, address: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, address, () => {
      server.off("error", reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

/** Compares digests, so that time says nothing of where two texts differ. */
function same(a: string, b: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
