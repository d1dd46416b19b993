import type { Logger } from "pino";
import type { Kube } from "./kube.ts";

/** Installs the definitions of `dir/*.yaml` and waits until they are served. Karpenter's only where absent or identical. */
export async function installCrds(_kube: Kube, _dir: string, _log: Logger): Promise<void> {
  throw new Error("coming within the hour");
}
