import { Agent, request } from "undici";
import { IronwrightError, reasonOf } from "../core/errors.ts";

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

export interface EtcdOptions {
  /** `https://127.0.0.1:2379` */
  readonly endpoint: string;
  /** PEM: whom to trust, and the client certificate that etcd wants of everybody. It names no user. */
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly rootPassword: string;
}

/**
 * One etcd, administered as root through its JSON gateway. The gateway ignores the common names of certificates, so
 * calls carry a token; the apiservers come by gRPC, where the common name of their certificate is their user.
 */
export interface Etcd {
  /** Turns authentication on, with root known by password alone. Idempotent. */
  secure(): Promise<void>;
  /** One user without a password, known by certificate, in one role with exactly these rights. Idempotent. */
  ensureUser(name: string, permissions: readonly Permission[]): Promise<void>;
  /** Removes the user and its role. Idempotent. */
  removeUser(name: string): Promise<void>;
  hasUserOrRole(name: string): Promise<boolean>;
  count(range: KeyRange): Promise<number>;
  deleteRange(range: KeyRange): Promise<void>;
  close(): Promise<void>;
}

export function connectEtcd({ endpoint, tls, rootPassword }: EtcdOptions): Etcd {
  const agent = new Agent({ connect: { ...tls }, bodyTimeout: 30_000, headersTimeout: 30_000 });
  let token: string | undefined;
  /** One change of users and roles at a time: each makes etcd refuse what was decided under an older revision of them. */
  let last: Promise<unknown> = Promise.resolve();

  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = last.then(work, work);
    last = mine;
    return mine;
  }

  async function post(path: string, body: object, authorization?: string): Promise<Answer> {
    try {
      const answer = await request(`${endpoint}/v3/${path}`, {
        method: "POST",
        dispatcher: agent,
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
    const answer = await post("auth/authenticate", { name: "root", password: rootPassword });
    token = String(answer.token);
    return token;
  }

  async function asRoot(path: string, body: object): Promise<Answer> {
    try {
      return await post(path, body, token ?? (await authenticate()));
    } catch (error) {
      // tokens end after five minutes without use, and with etcd
      if (!(error instanceof EtcdRefusal) || !/invalid auth token|auth store is old|user name is empty/.test(error.message)) throw error;
      return post(path, body, await authenticate());
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

  return {
    secure: () =>
      inTurn(async () => {
        try {
          await authenticate();
          return;
        } catch (error) {
          if (!(error instanceof EtcdRefusal) || !/authentication is not enabled/.test(error.message)) throw refused(error);
        }
        // a fresh etcd: until the last call, whoever has a client certificate may do anything, and only we have one
        await unless(EXISTS, post("auth/role/add", { name: "root" }));
        await unless(EXISTS, post("auth/user/add", { name: "root", password: rootPassword }));
        await unless(EXISTS, post("auth/user/grant", { user: "root", role: "root" }));
        await unless(/^$/, post("auth/enable", {}));
      }),

    ensureUser: (name, permissions) =>
      inTurn(async () => {
        const [rights, roles] = [await permissionsOf(name), await rolesOf(name)];
        if (rights && samePermissions(rights, permissions) && roles?.length === 1 && roles[0] === name) return;
        if (rights || roles) await remove(name);
        await unless(EXISTS, asRoot("auth/role/add", { name }));
        for (const permission of permissions) {
          await unless(/^$/, asRoot("auth/role/grant", { name, perm: toWire(permission) }));
        }
        await unless(EXISTS, asRoot("auth/user/add", { name, options: { no_password: true } }));
        await unless(/^$/, asRoot("auth/user/grant", { user: name, role: name }));
      }),

    removeUser: (name) => inTurn(() => remove(name)),

    hasUserOrRole: async (name) => (await rolesOf(name)) !== undefined || (await permissionsOf(name)) !== undefined,

    async count({ first, end }) {
      const answer = await asRoot("kv/range", { key: base64(first), range_end: base64(end), count_only: true }).catch((error: unknown) => {
        throw refused(error);
      });
      return Number(answer.count ?? 0);
    },

    async deleteRange({ first, end }) {
      await unless(/^$/, asRoot("kv/deleterange", { key: base64(first), range_end: base64(end) }));
    },

    close: () => agent.close(),
  };
}

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

function toWire(permission: Permission): WirePermission {
  const key = base64(permission.first);
  return { permType: permission.kind, key, ...(permission.end === undefined ? {} : { range_end: base64(permission.end) }) };
}

/** protobuf's JSON leaves zero values out, and READ is 0. */
function fromWire(wire: WirePermission): Permission {
  const first = text(wire.key ?? "");
  const end = wire.range_end ? { end: text(wire.range_end) } : {};
  return { kind: (wire.permType ?? "READ") as Permission["kind"], first, ...end };
}

function samePermissions(have: readonly Permission[], want: readonly Permission[]): boolean {
  const texts = (all: readonly Permission[]) => all.map((one) => `${one.kind} ${one.first} ${one.end ?? ""}`).sort();
  return texts(have).join("\n") === texts(want).join("\n");
}

function base64(value: string): string {
  return Buffer.from(value, "utf8").toString("base64");
}

function text(value: string): string {
  return Buffer.from(value, "base64").toString("utf8");
}
