import type { Kind, Resource } from "../core/resources.ts";

export interface ListOptions {
  /** Of a namespaced kind: only this one; absent means all. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Of all pages of a list together; default the client's. */
  readonly largestBytes?: number;
  readonly signal?: AbortSignal;
}

export interface WatchOptions extends ListOptions {
  /** Events after this version. */
  readonly resourceVersion: string;
  /** The apiserver ends the watch after so long. */
  readonly timeoutSeconds: number;
}

export type WatchEvent<T extends Resource> =
  | { readonly type: "ADDED" | "MODIFIED" | "DELETED"; readonly object: T }
  /** Nothing changed up to this version. */
  | { readonly type: "BOOKMARK"; readonly resourceVersion: string };

export interface DeleteOptions {
  readonly namespace?: string;
  /** Deletes only the object with this uid; another one of the same name is left alone, and that is success. */
  readonly uid?: string;
  readonly gracePeriodSeconds?: number;
  readonly propagation?: "Background" | "Foreground" | "Orphan";
}

/**
 * An apiserver. Every call throws coded errors: IRW_KUBE_CONFLICT (409), IRW_KUBE_REFUSED (other 4xx, with the Status'
 * message), IRW_KUBE_UNREACHABLE (network, 429, 5xx after bounded retries), IRW_KUBE_TOO_LARGE (more than is read).
 */
export interface Kube {
  readonly server: string;
  /** Undefined when it does not exist. */
  get<T extends Resource>(kind: Kind<T>, name: string, namespace?: string): Promise<T | undefined>;
  /** The whole list, page by page from one snapshot. */
  list<T extends Resource>(kind: Kind<T>, options?: ListOptions): Promise<{ readonly items: T[]; readonly resourceVersion: string }>;
  create<T extends Resource>(kind: Kind<T>, object: T): Promise<T>;
  /** PUT under its resourceVersion. */
  replace<T extends Resource>(kind: Kind<T>, object: T): Promise<T>;
  /** PUT of the status subresource under its resourceVersion. */
  replaceStatus<T extends Resource>(kind: Kind<T>, object: T): Promise<T>;
  /** A JSON merge patch unless `type` says otherwise; `json` takes an array of operations. */
  patch<T extends Resource>(
    kind: Kind<T>,
    name: string,
    namespace: string | undefined,
    patch: object,
    options?: { readonly type?: "merge" | "strategic" | "json"; readonly subresource?: string },
  ): Promise<T>;
  /** Server-side apply as field manager `ironwright`, by force: what others set on our fields is taken back. */
  apply<T extends Resource>(kind: Kind<T>, object: object, options?: { readonly subresource?: string }): Promise<T>;
  /** Resolves when the apiserver took it; gone already is success. Finalizers may keep the object. */
  delete(kind: Kind, name: string, options?: DeleteOptions): Promise<void>;
  /** Evicts a pod: `blocked` when a disruption budget forbids it now. */
  evict(namespace: string, name: string, options?: { readonly uid?: string; readonly gracePeriodSeconds?: number }): Promise<Eviction>;
  /** Ends when the apiserver ends it. @throws IRW_KUBE_EXPIRED when the version is too old: list again */
  watch<T extends Resource>(kind: Kind<T>, options: WatchOptions): AsyncIterable<WatchEvent<T>>;
  /** Any request; the answer's JSON, or its text when it is none. A body is sent as JSON. */
  raw(method: string, path: string, body?: unknown, options?: RawOptions): Promise<unknown>;
  close(): Promise<void>;
}

export type Eviction = "evicted" | "blocked" | "gone";

export interface RawOptions {
  readonly accept?: string;
  readonly contentType?: string;
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
  /** Of the answer; default 64 MiB. */
  readonly largestBytes?: number;
}

/** `v1`, `apps/v1`. */
export function apiVersionOf(kind: Kind): string {
  return kind.group === "" ? kind.version : `${kind.group}/${kind.version}`;
}

/** The path of a collection, or of one object when `name` is given. */
export function pathOf(
  kind: Kind,
  at: { readonly namespace?: string; readonly name?: string; readonly subresource?: string } = {},
): string {
  const parts = [kind.group === "" ? "api" : "apis", ...(kind.group === "" ? [] : [kind.group]), kind.version];
  if (kind.namespaced && at.namespace) parts.push("namespaces", at.namespace);
  parts.push(kind.plural);
  if (at.name) parts.push(at.name);
  if (at.subresource) parts.push(at.subresource);
  return `/${parts.map(encodeURIComponent).join("/")}`;
}
