import type { Clock } from "../core/clock.ts";
import { IronwrightError, isError } from "../core/errors.ts";
import { type TenantRef, tenantText } from "../core/names.ts";
import type { Kube } from "../kube/index.ts";
import { issue } from "../supervise/index.ts";
import { connectPlane } from "./attachments.ts";
import { GATE } from "./bootstrap.ts";
import { type Bundle, keyedOf, trustOf } from "./pki.ts";
import type { Dial } from "./runtime.ts";

/** A name no machine can have. */
export const NOBODY = "ironwright.gate.probe";
/** Policies and their parameters reach an apiserver by its own watches: about a second for a new policy, milliseconds for a name. */
const DEADLINE_MS = 15_000;
const EVERY_MS = 100;
const TEN_MINUTES_IN_DAYS = 10 / 1440;

/**
 * Resolves once the tenant's apiserver refuses this node because of the gate: asked as that node itself, with a
 * certificate of minutes, in a dry run.
 * @throws IRW_TENANT_GATE when it does not refuse in time
 */
export async function proveRefused(
  at: { readonly ref: TenantRef; readonly dial: Dial; readonly bundle: Bundle; readonly clock: Clock },
  nodeName: string,
  signal?: AbortSignal,
): Promise<void> {
  const ca = keyedOf(at.bundle, "ca");
  const client = await issue({
    ca,
    commonName: `system:node:${nodeName}`,
    organizations: ["system:nodes"],
    usages: ["client"],
    days: TEN_MINUTES_IN_DAYS,
  });
  const kube = connectPlane(at.dial, { ca: trustOf(at.bundle), user: "probe", cluster: "tenant", client });
  const deadline = at.clock.now().getTime() + DEADLINE_MS;
  try {
    for (;;) {
      const got = await tryToRegister(kube, nodeName);
      if (got === "refused by the gate") return;
      if (at.clock.now().getTime() >= deadline) {
        throw new IronwrightError("IRW_TENANT_GATE", { tenant: tenantText(at.ref), node: nodeName, got });
      }
      await at.clock.sleep(EVERY_MS, signal);
    }
  } finally {
    await kube.close();
  }
}

async function tryToRegister(kube: Kube, nodeName: string): Promise<string> {
  try {
    await kube.raw("POST", "/api/v1/nodes?dryRun=All", { apiVersion: "v1", kind: "Node", metadata: { name: nodeName } });
    return "it may register";
  } catch (error) {
    if (isError(error, "IRW_KUBE_REFUSED") && error.message.includes(GATE)) return "refused by the gate";
    if (isError(error, "IRW_KUBE_REFUSED") || isError(error, "IRW_KUBE_CONFLICT") || isError(error, "IRW_KUBE_UNREACHABLE"))
      return error.message;
    throw error;
  }
}
