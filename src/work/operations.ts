import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";
import type { Logger } from "pino";
import type { OperationKind } from "../core/resources.ts";

/** One operation on one machine. Ids only: a job's data are clear text in Redis. */
export interface OperationJob {
  readonly machine: string;
  readonly fence: number;
  readonly kind: OperationKind;
}

/** Where Redis is: a Unix socket (the embedded one) or a URL. */
export type RedisAddress = { readonly path: string } | { readonly url: string };

export interface OperationQueue {
  /** Asks for an operation. Asking again for the same one, waiting or running, changes nothing. */
  enqueue(job: OperationJob): Promise<void>;
  close(): Promise<void>;
}

export interface OperationWorker {
  close(): Promise<void>;
}

const QUEUE = "operations";
// A killed daemon's jobs are taken up again after their lock ran out: at most LOCK_MS + STALLED_MS later.
const LOCK_MS = 10_000;
const STALLED_MS = 5_000;

function connect(address: RedisAddress, log: Logger, producer: boolean): Redis {
  const options = producer
    ? // a producer fails fast: the reconciler asks again (BullMQ, going to production)
      { enableOfflineQueue: false, maxRetriesPerRequest: 1 }
    : { maxRetriesPerRequest: null };
  const redis = "path" in address ? new Redis({ path: address.path, ...options }) : new Redis(address.url, options);
  redis.on("error", (error) => log.warn({ error: error.message }, "Redis does not answer; work waits, nothing is lost"));
  return redis;
}

async function ready(redis: Redis): Promise<void> {
  if (redis.status === "ready") return;
  await new Promise<void>((resolve) => redis.once("ready", () => resolve()));
}

export async function operationQueue(options: { readonly redis: RedisAddress; readonly log: Logger }): Promise<OperationQueue> {
  const redis = connect(options.redis, options.log, true);
  await ready(redis);
  const queue = new Queue<OperationJob>(QUEUE, {
    connection: redis,
    defaultJobOptions: { removeOnComplete: true, removeOnFail: true },
  });
  queue.on("error", (error) => options.log.debug({ error: error.message }, "queue"));
  return {
    async enqueue(job) {
      await queue.add(job.kind, job, { jobId: jobId(job) });
    },
    async close() {
      await queue.close();
      redis.disconnect();
    },
  };
}

export async function operationWorker(options: {
  readonly redis: RedisAddress;
  readonly log: Logger;
  readonly concurrency?: number;
  /** Runs one operation to its end. It owns the record of success and failure; what it throws is only logged here. */
  run(job: OperationJob, signal: AbortSignal): Promise<void>;
}): Promise<OperationWorker> {
  const { log } = options;
  const redis = connect(options.redis, log, false);
  const running = new Map<string, { readonly fence: number; readonly stop: AbortController }>();

  const worker = new Worker<OperationJob>(
    QUEUE,
    async (job) => {
      const { machine, fence } = job.data;
      const other = running.get(machine);
      if (other && other.fence >= fence) return;
      other?.stop.abort(new Error(`operation ${other.fence} on ${machine} was superseded by ${fence}`));
      const mine = { fence, stop: new AbortController() };
      running.set(machine, mine);
      try {
        await options.run(job.data, mine.stop.signal);
      } catch (error) {
        log.warn({ machine, fence, operation: job.data.kind, err: error }, "operation ended");
      } finally {
        if (running.get(machine) === mine) running.delete(machine);
      }
    },
    {
      connection: redis,
      concurrency: options.concurrency ?? 64,
      lockDuration: LOCK_MS,
      stalledInterval: STALLED_MS,
      // a daemon may be killed any number of times; the operation's own deadline ends it, not the queue
      maxStalledCount: Number.MAX_SAFE_INTEGER,
    },
  );
  worker.on("error", (error) => log.debug({ error: error.message }, "worker"));

  return {
    /** Gives the running operations up: they stop at their next step and are taken up again after a restart. */
    async close() {
      for (const one of running.values()) one.stop.abort(new Error("the daemon is stopping"));
      await worker.close();
      redis.disconnect();
    },
  };
}

/** One job an operation: BullMQ refuses a colon in an id. */
function jobId(job: OperationJob): string {
  return `${job.machine}.${job.fence}`;
}
