import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, connect as dial, type Server } from "node:net";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import type { Logger } from "pino";
import { type Artifacts, readIndex } from "../../src/config/artifacts.ts";
import { createLog } from "../../src/observe/index.ts";
import { type Supervisor, startEmbeddedSupervisor } from "../../src/supervise/index.ts";

/** A supervisor of a test's own, and nothing else. */
export interface Bench {
  readonly dir: string;
  readonly supervisor: Supervisor;
  readonly artifacts: Artifacts;
  readonly log: Logger;
  stop(): Promise<void>;
}

export async function withSupervisor(): Promise<Bench> {
  const artifacts = readIndex(join(process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright"), "artifacts.json"));
  const log = createLog("error");
  const dir = mkdtempSync(join(tmpdir(), "iw-"));
  const supervisor = await startEmbeddedSupervisor({ dir, log });
  return {
    dir,
    supervisor,
    artifacts,
    log,
    async stop() {
      await supervisor.shutdown();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

export const random = randomBytes;

/** What stands between a tenant and its datastore: a port of 127.0.0.1 whose bytes go to a Unix socket. */
export async function relayTo(socket: string): Promise<{ readonly endpoint: string; close(): Promise<void> }> {
  const server: Server = createServer({ allowHalfOpen: true }, (near) => {
    const far = dial({ path: socket, allowHalfOpen: true });
    near.pipe(far);
    far.pipe(near);
    near.on("error", () => far.destroy());
    far.on("error", () => near.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  return { endpoint: `https://127.0.0.1:${port}`, close: () => new Promise((resolve) => server.close(() => resolve())) };
}
