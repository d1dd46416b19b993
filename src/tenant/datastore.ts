import type { KeyedCertificate } from "../supervise/index.ts";
import type { DatastoreWish } from "./placement.ts";
import type { Usage } from "./quota.ts";

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
 * What holds tenants' objects: etcd shards today, shared or of a tenant's own; an external one, or SQL by kine fit behind
 * the same verbs. A tenant is named by its control plane's id.
 */
export interface Datastore {
  /** Runs, answers, and lets nobody in without a name. Idempotent. */
  start(signal: AbortSignal): Promise<void>;
  /**
   * Gives this tenant its own range of keys, and nobody else's, in the shard it was first placed in. Idempotent.
   * @throws IRW_DATASTORE_REFUSED when there is no such place for it; nothing is changed
   */
  admit(id: string, signal: AbortSignal, wish?: DatastoreWish): Promise<DatastoreAccess>;
  /** A client certificate for that range alone. */
  certificate(id: string, days: number): Promise<KeyedCertificate>;
  /** What an admitted tenant holds, and whether it may write. */
  usage(id: string): Usage | undefined;
  /** A tenant became full, was stopped, or may write again. */
  onChange(listener: (id: string) => void): void;
  /**
   * Removes every key of the tenant and its right to write more, and reads back that nothing is there.
   * @throws IRW_TENANT_LEFTOVER
   */
  remove(id: string, signal: AbortSignal): Promise<void>;
  /** Ends our own work with it. The servers go on: they are the supervisor's. */
  close(): Promise<void>;
}
