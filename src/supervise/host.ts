import type { Logger } from "pino";
import type { Supervisor } from "./supervisor.ts";

export interface HostOptions {
  readonly supervisor: Supervisor;
  readonly dataDir: string;
  /** Directory with the executables etcd and kube-apiserver. */
  readonly kubeBin: string;
  readonly redisServer: string;
  readonly listen: { readonly address: string; readonly port: number };
  readonly log: Logger;
  /** What is run elsewhere and not here. */
  readonly external?: { readonly kubeconfig?: string | undefined; readonly redis?: boolean };
}

export interface Host {
  /** File of the administrator's kubeconfig: `<dataDir>/kubeconfig`, or the external one. */
  readonly kubeconfig: string;
  /** Unix socket of the embedded Redis; not there when Redis is external. */
  readonly redis: { readonly path: string };
}

/** Starts what is not running of: host etcd, host apiserver, Redis. Resolves when all answer. */
export async function startHost(_options: HostOptions): Promise<Host> {
  throw new Error("coming within the hour");
}
