import type { KeyedCertificate } from "../supervise/index.ts";

/** Where a tenant's apiserver keeps its objects, and what it shows to get in. */
export interface DatastoreAccess {
  /** `https://127.0.0.1:PORT` on the host. */
  readonly endpoint: string;
  /**
   * The same server at a Unix socket, for a tenant that has no network of the host: alone in a directory that anybody who
   * gets there may pass, and made anew with each start of the server. Its certificate is for 127.0.0.1.
   */
  readonly socket: string;
  /** Every key of the tenant begins with it and a slash. */
  readonly prefix: string;
  readonly ca: string;
}

/**
 * What holds tenants' objects: a shared etcd shard today; an etcd of a tenant's own, an external one, or SQL by kine
 * fit behind the same four verbs.
 */
export interface Datastore {
  /** Runs, answers, and lets nobody in without a name. Idempotent. */
  start(signal: AbortSignal): Promise<void>;
  /** Gives this tenant its own range of keys, and nobody else's. Idempotent. */
  admit(uid: string, signal: AbortSignal): Promise<DatastoreAccess>;
  /** A client certificate for that range alone. */
  certificate(uid: string, days: number): Promise<KeyedCertificate>;
  /**
   * Removes every key of the tenant and its right to write more, and reads back that nothing is there.
   * @throws IRW_TENANT_LEFTOVER
   */
  remove(uid: string, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}
