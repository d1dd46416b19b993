import { Agent, request } from "undici";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import { turns } from "../core/turns.ts";
import { type Grpc, openGrpc } from "./etcd-grpc.ts";
import { type Weight, type Write, watchWrites, weigh } from "./etcd-watch.ts";

/** Keys from `first` up to, not including, `end`. */
export interface KeyRange {
  readonly first: string;
  readonly end: string;
}

/** A right of a role: over a range, or over one key when there is no `end`. */
export interface Permission {
  readonly kind: "READ" | "WRITE" | "READWRITE";
  readonly first: string;
  readonly end?: string;
}

export interface EtcdStatus {
  readonly version: string;
  readonly revision: number;
  /** Bytes of its file, and how many of them hold something. */
  readonly size: number;
  readonly inUse: number;
  readonly quota: number;
  /** It refuses writes until it is disarmed. */
  readonly noSpace: boolean;
}

export interface EtcdOptions {
  /** `https://127.0.0.1:2379` */
  readonly endpoint: string;
  /** Where its JSON gateway listens, when that is not the endpoint. */
  readonly adminSocket?: string;
  /** PEM: whom to trust, and the client certificate that etcd wants of everybody. It names no user. */
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
  /** Absent: an etcd that asks for no name, as the host's, whose certificates are ours alone. */
  readonly rootPassword?: string;
}

/**
 * One etcd, administered as root through its JSON gateway. The gateway ignores the common names of certificates, so
 * calls carry a token; the apiservers come by gRPC, where the common name of their certificate is their user.
 */
export interface Etcd {
  /** Turns authentication on, with root known by password alone. Idempotent. */
  secure(): Promise<EtcdStatus>;
  /**
   * One user without a password, known by certificate, in one role with exactly these rights. Idempotent. A right that changes
   * its kind does so at once: the user never has less meanwhile than before and after.
   */
  ensureUser(name: string, permissions: readonly Permission[]): Promise<void>;
  /** The rights of the role of that name, if there is one. */
  permissionsOf(name: string): Promise<readonly Permission[] | undefined>;
  /** Every user but root. */
  users(): Promise<readonly string[]>;
  /** Removes the user and its role. Idempotent. */
  removeUser(name: string): Promise<void>;
  hasUserOrRole(name: string): Promise<boolean>;
  count(range: KeyRange): Promise<number>;
  deleteRange(range: KeyRange): Promise<void>;
  /** What the range's keys and values weigh right now. Read a few keys at a time, from what is on disk here. */
  weigh(range: KeyRange, signal: AbortSignal): Promise<Weight>;
  status(): Promise<EtcdStatus>;
  /** Forgets what was overwritten or deleted before this revision; resolves when it is gone from disk. */
  compact(revision: number): Promise<void>;
  /** Gives free pages back to the disk. Nothing is read or written meanwhile. */
  defragment(): Promise<void>;
  /** Lets writes in again after the quota was reached; it is reached again at once where nothing was freed. */
  disarm(): Promise<void>;
  /** Every write of everybody from now on, until the signal ends it; throws when the stream breaks. */
  watchWrites(onWrite: (write: Write) => void, onOpen: () => void, signal: AbortSignal): Promise<void>;
  /** Any call of the gateway, `kv/range`: bytes are base64 and 64-bit numbers text, there and back. @throws IRW_DATASTORE */
  call(path: string, body: object): Promise<Readonly<Record<string, unknown>>>;
  close(): Promise<void>;
}

export function connectEtcd({ endpoint, adminSocket, tls, rootPassword }: EtcdOptions): Etcd {
  const connect = { ...tls, ...(adminSocket === undefined ? {} : { socketPath: adminSocket }) };
  const agent = new Agent({ connect, bodyTimeout: 30_000, headersTimeout: 30_000 });
  /** For what takes as long as there is much of it. */
  const patient = new Agent({ connect, bodyTimeout: LONGEST_MS, headersTimeout: LONGEST_MS });
  let token: string | undefined;
  /** One change of users and roles at a time: each makes etcd refuse what was decided under an older revision of them. */
  const inTurn = turns();

  async function post(path: string, body: object, authorization?: string): Promise<Answer> {
    try {
      const answer = await request(`${endpoint}/v3/${path}`, {
        method: "POST",
        dispatcher: LONG.has(path) ? patient : agent,
        headers: { "content-type": "application/json", ...(authorization ? { authorization } : {}) },
        body: JSON.stringify(body),
      });
      const json = (await answer.body.json()) as Answer;
      if (answer.statusCode === 200) return json;
      throw new EtcdRefusal(path, String(json.message ?? json.error ?? answer.statusCode));
    } catch (error) {
      if (error instanceof EtcdRefusal) throw error;
      throw new IronwrightError("IRW_DATASTORE", { endpoint, reason: `${path}: ${reasonOf(error)}` }, error);
    }
  }

  async function authenticate(): Promise<string> {
    const answer = await post("auth/authenticate", { name: "root", password: rootPassword ?? "" });
    token = String(answer.token);
    return token;
  }

  async function asRoot(path: string, body: object): Promise<Answer> {
    if (rootPassword === undefined) return post(path, body);
    try {
      return await post(path, body, token ?? (await authenticate()));
    } catch (error) {
      // tokens end after five minutes without use, and with etcd
      if (!(error instanceof EtcdRefusal) || !/invalid auth token|auth store is old|user name is empty/.test(error.message)) throw error;
      return post(path, body, await authenticate());
    }
  }

  async function ask(path: string, body: object): Promise<Answer> {
    return asRoot(path, body).catch((error: unknown) => {
      throw refused(error);
    });
  }

  async function byGrpc<T>(what: string, signal: AbortSignal, work: (grpc: Grpc) => Promise<T>): Promise<T> {
    const grpc = openGrpc({ endpoint, tls, token: await authenticate() });
    try {
      return await work(grpc);
    } catch (error) {
      signal.throwIfAborted();
      throw new IronwrightError("IRW_DATASTORE", { endpoint, reason: `${what}: ${reasonOf(error)}` }, error);
    } finally {
      grpc.close();
    }
  }

  async function unless(expected: RegExp, work: Promise<unknown>): Promise<void> {
    try {
      await work;
    } catch (error) {
      if (!(error instanceof EtcdRefusal) || !expected.test(error.message)) throw refused(error);
    }
  }

  function refused(error: unknown): unknown {
    return error instanceof EtcdRefusal ? new IronwrightError("IRW_DATASTORE", { endpoint, reason: error.message }, error) : error;
  }

  async function permissionsOf(role: string): Promise<readonly Permission[] | undefined> {
    try {
      const answer = await asRoot("auth/role/get", { role });
      return ((answer.perm ?? []) as WirePermission[]).map(fromWire);
    } catch (error) {
      if (error instanceof EtcdRefusal && NOT_FOUND.test(error.message)) return undefined;
      throw refused(error);
    }
  }

  async function rolesOf(name: string): Promise<readonly string[] | undefined> {
    try {
      const answer = await asRoot("auth/user/get", { name });
      return (answer.roles ?? []) as string[];
    } catch (error) {
      if (error instanceof EtcdRefusal && NOT_FOUND.test(error.message)) return undefined;
      throw refused(error);
    }
  }

  async function remove(name: string): Promise<void> {
    await unless(NOT_FOUND, asRoot("auth/user/delete", { name }));
    await unless(NOT_FOUND, asRoot("auth/role/delete", { role: name }));
  }

  async function status(): Promise<EtcdStatus> {
    const answer = (await ask("maintenance/status", {})) as WireStatus;
    return {
      version: answer.version ?? "",
      revision: Number(answer.header?.revision ?? 0),
      size: Number(answer.dbSize ?? 0),
      inUse: Number(answer.dbSizeInUse ?? 0),
      quota: Number(answer.dbSizeQuota ?? 0),
      noSpace: (answer.errors ?? []).some((one) => one.includes("NOSPACE")),
    };
  }

  return {
    secure: () =>
      inTurn(async () => {
        try {
          await authenticate();
          return await status();
        } catch (error) {
          if (!(error instanceof EtcdRefusal) || !/authentication is not enabled/.test(error.message)) throw refused(error);
        }
        // a fresh etcd: until the last call, whoever has a client certificate may do anything, and only we have one
        await unless(EXISTS, post("auth/role/add", { name: "root" }));
        await unless(EXISTS, post("auth/user/add", { name: "root", password: rootPassword }));
        await unless(EXISTS, post("auth/user/grant", { user: "root", role: "root" }));
        await unless(/^$/, post("auth/enable", {}));
        return status();
      }),

    ensureUser: (name, permissions) =>
      inTurn(async () => {
        const [rights, roles] = [await permissionsOf(name), await rolesOf(name)];
        if (!rights) await unless(EXISTS, asRoot("auth/role/add", { name }));
        const { grant, revoke } = changesOf(rights ?? [], permissions);
        for (const { first, end } of revoke) {
          await unless(NOT_FOUND, asRoot("auth/role/revoke", { role: name, ...wireRange(first, end) }));
        }
        for (const permission of grant) await unless(/^$/, asRoot("auth/role/grant", { name, perm: toWire(permission) }));
        if (!roles) await unless(EXISTS, asRoot("auth/user/add", { name, options: { no_password: true } }));
        for (const role of roles ?? []) if (role !== name) await unless(NOT_FOUND, asRoot("auth/user/revoke", { name, role }));
        if (!roles?.includes(name)) await unless(/^$/, asRoot("auth/user/grant", { user: name, role: name }));
      }),

    permissionsOf,

    async users() {
      const { users = [] } = (await ask("auth/user/list", {})) as { users?: readonly string[] };
      return users.filter((name) => name !== "root");
    },

    removeUser: (name) => inTurn(() => remove(name)),

    hasUserOrRole: async (name) => (await rolesOf(name)) !== undefined || (await permissionsOf(name)) !== undefined,

    async count({ first, end }) {
      const answer = await ask("kv/range", { ...wireRange(first, end), count_only: true });
      return Number(answer.count ?? 0);
    },

    async deleteRange({ first, end }) {
      await unless(/^$/, asRoot("kv/deleterange", { key: base64(first), range_end: base64(end) }));
    },

    weigh: (range, signal) => byGrpc("weighing", signal, (grpc) => weigh(grpc, range, signal)),

    status,

    call: ask,

    compact: (revision) => unless(/has been compacted/, asRoot("kv/compaction", { revision, physical: true })),

    async defragment() {
      await ask("maintenance/defragment", {});
    },

    async disarm() {
      const { alarms = [] } = (await ask("maintenance/alarm", { action: "GET" })) as { alarms?: readonly Answer[] };
      for (const { memberID, alarm } of alarms) await ask("maintenance/alarm", { action: "DEACTIVATE", memberID, alarm });
    },

    watchWrites: (onWrite, onOpen, signal) =>
      byGrpc("watching", signal, (grpc) => watchWrites(grpc, onWrite, onOpen, signal)).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      }),

    async close() {
      await Promise.all([agent.close(), patient.close()]);
    },
  };
}

const LONGEST_MS = 600_000;
const LONG: ReadonlySet<string> = new Set(["maintenance/defragment", "kv/compaction"]);

/** etcd's words in etcdserver/api/v3rpc/rpctypes; its codes do not tell these apart. */
const NOT_FOUND = /name not found|is not granted/;
const EXISTS = /already exists/;

type Answer = Record<string, unknown>;

/** An answer of etcd that says no; inside this file only. */
class EtcdRefusal extends Error {
  constructor(path: string, message: string) {
    super(`${path}: ${message}`);
  }
}

interface WirePermission {
  readonly permType?: string;
  readonly key?: string;
  readonly range_end?: string;
}

interface WireStatus {
  readonly header?: { readonly revision?: string };
  readonly version?: string;
  readonly dbSize?: string;
  readonly dbSizeInUse?: string;
  readonly dbSizeQuota?: string;
  readonly errors?: readonly string[];
}

function toWire({ kind, first, end }: Permission): WirePermission {
  return { permType: kind, ...wireRange(first, end) };
}

function wireRange(first: string, end: string | undefined): { readonly key: string; readonly range_end?: string } {
  return { key: base64(first), ...(end === undefined ? {} : { range_end: base64(end) }) };
}

/** protobuf's JSON leaves zero values out, and READ is 0. */
function fromWire(wire: WirePermission): Permission {
  const first = text(wire.key ?? "");
  const end = wire.range_end ? { end: text(wire.range_end) } : {};
  return { kind: (wire.permType ?? "READ") as Permission["kind"], first, ...end };
}

/** A grant over a range that is there already changes its kind in one step; the rest is granted or revoked. */
function changesOf(have: readonly Permission[], want: readonly Permission[]) {
  const sameRange = (one: Permission) => (other: Permission) => one.first === other.first && one.end === other.end;
  return {
    grant: want.filter((one) => have.find(sameRange(one))?.kind !== one.kind),
    revoke: have.filter((one) => !want.some(sameRange(one))),
  };
}

function base64(value: string): string {
  return Buffer.from(value, "utf8").toString("base64");
}

function text(value: string): string {
  return Buffer.from(value, "base64").toString("utf8");
}
