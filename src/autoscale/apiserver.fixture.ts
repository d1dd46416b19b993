import { IronwrightError } from "../core/errors.ts";
import type { Kind, Resource } from "../core/resources.ts";
import type { Kube, Pod } from "../kube/index.ts";

type Store = Map<string, Resource>;

/**
 * The part of an apiserver the claim's steps lean on, in memory: resourceVersions and conflicts, merge patches,
 * finalizers, evictions. For the corners; the flow test runs the same steps on a real one.
 */
export function memoryApiserver() {
  const stores = new Map<string, Store>();
  let version = 0;
  const store = (kind: Kind): Store => {
    const known = stores.get(kind.kind) ?? new Map<string, Resource>();
    stores.set(kind.kind, known);
    return known;
  };
  const key = (name: string, namespace?: string) => (namespace ? `${namespace}/${name}` : name);
  const keep = <T extends Resource>(kind: Kind<T>, object: T): T => {
    version += 1;
    const kept = { ...object, metadata: { uid: `uid-${version}`, ...object.metadata, resourceVersion: String(version) } };
    const at = key(object.metadata.name, object.metadata.namespace);
    if (kept.metadata.deletionTimestamp && (kept.metadata.finalizers ?? []).length === 0) store(kind).delete(at);
    else store(kind).set(at, kept);
    return kept;
  };
  const current = <T extends Resource>(
    kind: Kind<T>,
    object: { metadata: { name: string; namespace?: string; resourceVersion?: string } },
  ): T => {
    const { name, namespace, resourceVersion } = object.metadata;
    const before = store(kind).get(key(name, namespace));
    if (!before || (resourceVersion !== undefined && before.metadata.resourceVersion !== resourceVersion)) {
      throw new IronwrightError("IRW_KUBE_CONFLICT", { object: name, reason: "resourceVersion" });
    }
    return before as T;
  };
  const unsupported = () => Promise.reject(new Error("not in this apiserver"));
  /** Pods a budget keeps. */
  const blocked = new Set<string>();
  const kube: Kube = {
    server: "memory",
    get: async <T extends Resource>(kind: Kind<T>, name: string, namespace?: string) =>
      store(kind).get(key(name, namespace)) as T | undefined,
    list: async <T extends Resource>(kind: Kind<T>, options: { fieldSelector?: string } = {}) => {
      const node = options.fieldSelector?.replace("spec.nodeName=", "");
      const all = [...store(kind).values()] as T[];
      return {
        items: node === undefined ? all : all.filter((one) => (one as unknown as Pod).spec.nodeName === node),
        resourceVersion: String(version),
      };
    },
    create: async (kind, object) => keep(kind, object),
    replace: async (kind, object) => keep(kind, { ...current(kind, object), ...object }),
    replaceStatus: async (kind, object) => keep(kind, { ...current(kind, object), status: (object as { status?: unknown }).status }),
    patch: async (kind, name, namespace, patch) => {
      const metadata = (patch as { metadata?: { resourceVersion?: string } }).metadata;
      const version = metadata?.resourceVersion === undefined ? {} : { resourceVersion: metadata.resourceVersion };
      return keep(kind, merge(current(kind, { metadata: { name, ...(namespace ? { namespace } : {}), ...version } }), patch) as never);
    },
    async delete(kind, name, options = {}) {
      const before = store(kind).get(key(name, options.namespace));
      if (!before || (options.uid !== undefined && options.uid !== before.metadata.uid)) return;
      keep(kind, { ...before, metadata: { ...before.metadata, deletionTimestamp: "2026-01-01T00:00:00Z" } });
    },
    async evict(namespace, name) {
      if (blocked.has(`${namespace}/${name}`)) return "blocked";
      const pods = stores.get("Pod");
      return pods?.delete(`${namespace}/${name}`) ? "evicted" : "gone";
    },
    apply: unsupported,
    watch: () => {
      throw new Error("not in this apiserver");
    },
    raw: unsupported,
    close: async () => {},
  };
  return { kube, blocked };
}

/** RFC 7396. */
function merge(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: Record<string, unknown> = isObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else if (value !== undefined) result[name] = merge(result[name], value);
  }
  return result;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
