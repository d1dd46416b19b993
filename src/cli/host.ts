import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { loadConfig } from "../config/index.ts";
import { IronwrightError } from "../core/errors.ts";
import { connectKube, type Kube } from "../kube/index.ts";
import type { GlobalOptions } from "./options.ts";

/** Calls `use` with a client of the host control plane, and closes it. */
export async function withHost<T>(global: GlobalOptions, kubeconfig: string | undefined, use: (kube: Kube) => Promise<T>): Promise<T> {
  const kube = connectKube(readFileSync(hostKubeconfig(global, kubeconfig), "utf8"));
  try {
    return await use(kube);
  } finally {
    await kube.close();
  }
}

/** The file: the flag, IRONWRIGHT_KUBECONFIG, the external cluster's, or the embedded one's in the data directory. */
export function hostKubeconfig(global: GlobalOptions, flag: string | undefined): string {
  const named = flag ?? process.env.IRONWRIGHT_KUBECONFIG;
  if (named) return named;
  const config = loadConfig({ ...global, env: process.env });
  const file = config.host.kubeconfig ?? join(config.dataDir, "kubeconfig");
  if (!existsSync(file)) {
    throw new IronwrightError("IRW_KUBE_UNREACHABLE", {
      server: file,
      reason: "there is no such kubeconfig; is `ironwright serve` running with this configuration?",
    });
  }
  return file;
}
