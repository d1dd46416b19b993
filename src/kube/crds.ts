import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import { parse } from "yaml";
import { systemClock } from "../core/clock.ts";
import { IronwrightError } from "../core/errors.ts";
import type { Kube } from "./kube.ts";
import { CRD, type CustomResourceDefinition } from "./upstream.ts";

const READY_TIMEOUT_MS = 60_000;
const POLL_MS = 50;
const OWN_GROUP = "ironwright.dev";
const MANAGED_BY = "app.kubernetes.io/managed-by";

/**
 * Installs the definitions of `dir/*.yaml` and resolves when they are served.
 * Ours are brought up to date; somebody else's (Karpenter's) only where absent, and where they are there they must be the same.
 * @throws IRW_CRD_FOREIGN naming the first difference; nothing was changed then
 */
export async function installCrds(kube: Kube, dir: string, log: Logger): Promise<void> {
  const wanted = readdirSync(dir)
    .filter((file) => file.endsWith(".yaml"))
    .map((file) => parse(readFileSync(join(dir, file), "utf8")) as CustomResourceDefinition);
  const missing: CustomResourceDefinition[] = [];
  for (const crd of wanted) if (await mayWrite(kube, crd)) missing.push(crd);
  await Promise.all(
    missing.map((crd) => kube.apply(CRD, { ...crd, metadata: { ...crd.metadata, labels: { [MANAGED_BY]: "ironwright" } } })),
  );
  await Promise.all(wanted.map((crd) => served(kube, crd.metadata.name)));
  log.debug({ installed: missing.map((crd) => crd.metadata.name) }, "definitions are served");
}

/** False when it is there already and is not ours, but the same. */
async function mayWrite(kube: Kube, crd: CustomResourceDefinition): Promise<boolean> {
  if (crd.spec.group === OWN_GROUP) return true;
  const there = await kube.get(CRD, crd.metadata.name);
  if (!there || there.metadata.labels?.[MANAGED_BY] === "ironwright") return true;
  const difference = firstDifference(crd.spec, withoutDefaults(there.spec), "spec");
  if (difference) throw new IronwrightError("IRW_CRD_FOREIGN", { name: crd.metadata.name, difference });
  return false;
}

/** What the apiserver fills in of itself. */
function withoutDefaults(spec: CustomResourceDefinition["spec"]): Record<string, unknown> {
  const { conversion, preserveUnknownFields, ...rest } = spec;
  return {
    ...rest,
    ...(isDeepStrictEqual(conversion, { strategy: "None" }) || conversion === undefined ? {} : { conversion }),
    ...(preserveUnknownFields ? { preserveUnknownFields } : {}),
  };
}

/** The path of the first place where two values differ. */
export function firstDifference(ours: unknown, theirs: unknown, path: string): string | undefined {
  if (isDeepStrictEqual(ours, theirs)) return undefined;
  if (!isTree(ours) || !isTree(theirs) || Array.isArray(ours) !== Array.isArray(theirs)) return path;
  for (const key of new Set([...Object.keys(ours), ...Object.keys(theirs)])) {
    const found = firstDifference(ours[key], theirs[key], Array.isArray(ours) ? `${path}[${key}]` : `${path}.${key}`);
    if (found) return found;
  }
  return undefined;
}

function isTree(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

/** Established says that it will be served; the first list that is answered says that it is. */
async function served(kube: Kube, name: string): Promise<void> {
  const until = Date.now() + READY_TIMEOUT_MS;
  let problem = "it is not there";
  while (Date.now() < until) {
    const crd = await kube.get(CRD, name);
    const conditions = crd?.status?.conditions ?? [];
    const refusal = conditions.find((one) => one.type === "NamesAccepted" && one.status === "False");
    const established = conditions.some((one) => one.type === "Established" && one.status === "True");
    problem = refusal?.message ?? "it is not established";
    if (crd && established && (await answersLists(kube, crd))) return;
    await systemClock.sleep(POLL_MS);
  }
  throw new IronwrightError("IRW_KUBE_REFUSED", { request: `installing ${name}`, status: 409, reason: problem });
}

async function answersLists(kube: Kube, crd: CustomResourceDefinition): Promise<boolean> {
  const { group, names, versions } = crd.spec as unknown as {
    group: string;
    names: { plural: string };
    versions: readonly { name: string; served: boolean }[];
  };
  const version = versions.find((one) => one.served)?.name;
  try {
    await kube.raw("GET", `/apis/${group}/${version}/${names.plural}?limit=1`);
    return true;
  } catch (error) {
    if (error instanceof IronwrightError && error.code === "IRW_KUBE_REFUSED") return false;
    throw error;
  }
}
