import { IronwrightError, isError } from "../core/errors.ts";
import type { Kind, Resource } from "../core/resources.ts";
import { apiVersionOf, type Kube, type ListOptions, pathOf } from "./kube.ts";
import { readKubeconfig } from "./kubeconfig.ts";
import { isAbsent, type Refusal, refused } from "./status.ts";
import { type HttpRequest, LARGEST_ANSWER, transport } from "./transport.ts";
import { POD } from "./upstream.ts";
import { watchEvents } from "./watch.ts";

const PAGE = 500;
const FIELD_MANAGER = "ironwright";
/** Bookmarks come each minute: this much silence is a dead connection. */
const WATCH_IDLE_MS = 150_000;
/** A misspelt field is refused instead of dropped without a word. */
const STRICT = { fieldManager: FIELD_MANAGER, fieldValidation: "Strict" } as const;

const PATCH_TYPES = {
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  json: "application/json-patch+json",
} as const;

export interface ConnectOptions {
  /** A Unix socket that leads to the server: it is dialled instead, and must show the certificate that the server would. */
  readonly socketPath?: string;
  /** Of all pages of a list together; without it, what there is. */
  readonly largestListBytes?: number;
}

/**
 * A client of the apiserver that the kubeconfig's current context names. Nothing is sent yet.
 * @param kubeconfig YAML text
 * @throws IRW_KUBECONFIG_INVALID
 */
export function connectKube(kubeconfig: string, { socketPath, largestListBytes = Number.POSITIVE_INFINITY }: ConnectOptions = {}): Kube {
  const http = transport({ ...readKubeconfig(kubeconfig), ...(socketPath === undefined ? {} : { socketPath }) });

  function failure(request: HttpRequest, refusal: Refusal): IronwrightError {
    return refused(http.server, `${request.method} ${request.path}`, refusal);
  }

  async function json<T>(request: HttpRequest): Promise<T> {
    const answer = await http.send(request);
    if (!answer.ok) throw failure(request, answer.refusal);
    return JSON.parse(answer.text) as T;
  }

  async function pages<T extends Resource>(kind: Kind<T>, options: ListOptions) {
    const items: T[] = [];
    let token: string | undefined;
    let limit = PAGE;
    let left = options.largestBytes ?? largestListBytes;
    for (;;) {
      const request: HttpRequest = {
        method: "GET",
        path: pathOf(kind, at(options.namespace)),
        query: { ...selectors(options), limit, continue: token },
        largestBytes: Math.min(LARGEST_ANSWER, left),
        ...signalOf(options),
      };
      const answer = await http.send(request).catch((error: unknown) => {
        // its objects are large: fewer of them at a time
        if (!isError(error, "IRW_KUBE_TOO_LARGE") || limit === 1 || left < LARGEST_ANSWER) throw error;
        limit = Math.ceil(limit / 10);
      });
      if (!answer) continue;
      if (!answer.ok) throw failure(request, answer.refusal);
      left -= Buffer.byteLength(answer.text);
      const page = JSON.parse(answer.text) as ListPage<T>;
      // of built-in kinds the items come without these two
      for (const item of page.items ?? []) items.push({ ...item, apiVersion: apiVersionOf(kind), kind: kind.kind });
      token = page.metadata.continue;
      if (!token) return { items, resourceVersion: page.metadata.resourceVersion ?? "" };
    }
  }

  /** Whether the name belongs to nobody, or to another object, by now. */
  async function isAnother(kind: Kind, name: string, namespace: string | undefined, uid: string): Promise<boolean> {
    const now = await kube.get(kind, name, namespace);
    return now?.metadata.uid !== uid;
  }

  const kube: Kube = {
    server: http.server,

    async get<T extends Resource>(kind: Kind<T>, name: string, namespace?: string) {
      const request = { method: "GET", path: pathOf(kind, { ...at(namespace), name }) };
      const answer = await http.send(request);
      if (answer.ok) return JSON.parse(answer.text) as T;
      if (isAbsent(answer.refusal)) return undefined;
      throw failure(request, answer.refusal);
    },

    async list(kind, options = {}) {
      try {
        return await pages(kind, options);
      } catch (error) {
        // the snapshot was compacted between two pages: one more try, from the start
        if (error instanceof IronwrightError && error.code === "IRW_KUBE_EXPIRED") return pages(kind, options);
        throw error;
      }
    },

    create: (kind, object) => json({ method: "POST", path: pathOf(kind, at(object.metadata.namespace)), query: STRICT, body: object }),

    replace: (kind, object) => json({ method: "PUT", path: pathOf(kind, object.metadata), query: STRICT, body: object }),

    replaceStatus: (kind, object) =>
      json({ method: "PUT", path: pathOf(kind, { ...object.metadata, subresource: "status" }), query: STRICT, body: object }),

    patch: (kind, name, namespace, patch, options = {}) =>
      json({
        method: "PATCH",
        path: pathOf(kind, { ...at(namespace), name, ...subresourceOf(options) }),
        query: STRICT,
        body: patch,
        contentType: PATCH_TYPES[options.type ?? "merge"],
      }),

    apply(kind, object, options = {}) {
      const { metadata } = object as Resource;
      return json({
        method: "PATCH",
        path: pathOf(kind, { ...metadata, ...subresourceOf(options) }),
        query: { ...STRICT, force: "true" },
        body: { ...object, metadata: { ...metadata, managedFields: undefined } },
        contentType: "application/apply-patch+yaml",
      });
    },

    async delete(kind, name, options = {}) {
      const request = {
        method: "DELETE",
        path: pathOf(kind, { ...at(options.namespace), name }),
        body: {
          apiVersion: "v1",
          kind: "DeleteOptions",
          ...(options.uid ? { preconditions: { uid: options.uid } } : {}),
          ...(options.gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds: options.gracePeriodSeconds }),
          ...(options.propagation ? { propagationPolicy: options.propagation } : {}),
        },
      };
      const answer = await http.send(request);
      if (answer.ok || isAbsent(answer.refusal)) return;
      if (answer.refusal.code === 409 && options.uid && (await isAnother(kind, name, options.namespace, options.uid))) return;
      throw failure(request, answer.refusal);
    },

    async evict(namespace, name, options = {}) {
      const request = {
        method: "POST",
        path: `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}/eviction`,
        body: {
          apiVersion: "policy/v1",
          kind: "Eviction",
          metadata: { name, namespace },
          deleteOptions: {
            ...(options.uid ? { preconditions: { uid: options.uid } } : {}),
            ...(options.gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds: options.gracePeriodSeconds }),
          },
        },
        final: isBudget,
      };
      const answer = await http.send(request);
      if (answer.ok) return "evicted";
      if (isAbsent(answer.refusal)) return "gone";
      if (answer.refusal.code === 409 && options.uid && (await isAnother(POD, name, namespace, options.uid))) return "gone";
      if (isBudget(answer.refusal)) return "blocked";
      throw failure(request, answer.refusal);
    },

    async *watch(kind, options) {
      const request = {
        method: "GET",
        path: pathOf(kind, at(options.namespace)),
        query: {
          ...selectors(options),
          watch: "1",
          allowWatchBookmarks: "true",
          resourceVersion: options.resourceVersion,
          timeoutSeconds: options.timeoutSeconds,
        },
        ...signalOf(options),
      };
      const stream = await http.stream(request, WATCH_IDLE_MS);
      if ("code" in stream) throw failure(request, stream);
      yield* watchEvents(stream, kind, {
        refused: (refusal) => failure(request, refusal),
        tooLarge: (bytes) =>
          new IronwrightError("IRW_KUBE_TOO_LARGE", { server: http.server, what: `a line of the watch of ${request.path}`, bytes }),
      });
    },

    async raw(method, path, body, options = {}) {
      const { accept, contentType, timeoutMs, largestBytes } = options;
      const request = {
        method,
        path,
        ...(body === undefined ? {} : { body }),
        ...(accept ? { accept } : {}),
        ...(contentType ? { contentType } : {}),
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
        ...(largestBytes === undefined ? {} : { largestBytes }),
        ...signalOf(options),
      };
      const answer = await http.send(request);
      if (!answer.ok) throw failure(request, answer.refusal);
      return jsonOrText(answer.text);
    },

    close: () => http.close(),
  };
  return kube;
}

interface ListPage<T> {
  readonly items?: readonly T[] | null;
  readonly metadata: { readonly resourceVersion?: string; readonly continue?: string };
}

/** A disruption budget forbids it; with two budgets on a pod the apiserver answers 500 and never evicts. */
function isBudget({ code, status, text }: Refusal): boolean {
  if (code === 500) return text.includes("more than one PodDisruptionBudget");
  return code === 429 && (status?.details?.causes ?? []).some((cause) => cause.reason === "DisruptionBudget");
}

function at(namespace: string | undefined): { namespace?: string } {
  return namespace ? { namespace } : {};
}

function subresourceOf(options: { readonly subresource?: string }): { subresource?: string } {
  return options.subresource ? { subresource: options.subresource } : {};
}

function signalOf(options: { readonly signal?: AbortSignal }): { signal?: AbortSignal } {
  return options.signal ? { signal: options.signal } : {};
}

function selectors(options: ListOptions): Record<string, string | undefined> {
  return { labelSelector: options.labelSelector, fieldSelector: options.fieldSelector };
}

function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
