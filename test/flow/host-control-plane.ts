import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Logger } from "pino";
import { type Artifacts, readIndex } from "../../src/config/artifacts.ts";
import { isError } from "../../src/core/errors.ts";
import { connectKube, installCrds, type Kube } from "../../src/kube/index.ts";
import { createLog } from "../../src/observe/index.ts";
import { type Supervisor, startEmbeddedSupervisor, startHost } from "../../src/supervise/index.ts";

/** A host control plane of a test's own: real etcd, kube-apiserver and Redis, CRDs installed. */
export interface HostControlPlane {
  /** The data directory, as the daemon's. */
  readonly dir: string;
  readonly supervisor: Supervisor;
  readonly kube: Kube;
  /** File. */
  readonly kubeconfig: string;
  readonly redis: { readonly path: string };
  readonly artifacts: Artifacts;
  readonly log: Logger;
  /** Starts what is missing again, as a restarted daemon does. */
  startAgain(): Promise<void>;
  /** Ends every process and removes the directory. */
  stop(): Promise<void>;
}

/** @param options.crds false: an empty apiserver */
export async function withHost(options: { readonly crds?: boolean; readonly logLevel?: string } = {}): Promise<HostControlPlane> {
  const artifacts = readIndex(join(process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright"), "artifacts.json"));
  const log = createLog(options.logLevel ?? "warn");
  // short: a path of a Unix socket holds 107 bytes
  const dir = mkdtempSync(join(tmpdir(), "iw-"));
  const supervisor = await startEmbeddedSupervisor({ dir, log });
  const start = () =>
    startHost({
      supervisor,
      dataDir: dir,
      kubeBin: artifacts.kube.bin,
      redisServer: artifacts.redis,
      listen: { address: "127.0.0.1", port: 0 },
      log,
    });
  let kube: Kube | undefined;
  async function stop(): Promise<void> {
    await kube?.close();
    await supervisor.shutdown().catch((error: unknown) => {
      // a test may have shut it down itself
      if (!isError(error, "IRW_SUPERVISOR_UNREACHABLE")) throw error;
    });
    rmSync(dir, { recursive: true, force: true });
  }
  try {
    const { kubeconfig, redis } = await start();
    kube = connectKube(readFileSync(kubeconfig, "utf8"));
    if (options.crds !== false) await installCrds(kube, fileURLToPath(new URL("../../deploy/crds", import.meta.url)), log);
    return {
      dir,
      supervisor,
      kube,
      kubeconfig,
      redis,
      artifacts,
      log,
      async startAgain() {
        await start();
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
