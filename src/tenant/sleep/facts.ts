import type { Kube } from "../../kube/index.ts";
import { type CronJob, nextCronJob } from "./cron-jobs.ts";

/** What a tenant still does for its people, as its own control plane says. */
export interface Work {
  /** For people: `2 Jobs run`. */
  readonly busy?: string;
  readonly nextCronJob?: { readonly name: string; readonly at: number };
}

/** More than these nobody looks through: such a tenant does not sleep by itself. */
const MOST = 2_000;

interface Job {
  readonly status?: { readonly active?: number };
}

/** Looks at a tenant's Jobs and CronJobs. */
export async function workOf(kube: Kube, now: number): Promise<Work> {
  const [jobs, cronJobs] = await Promise.all([listOf<Job>(kube, "jobs"), listOf<CronJob>(kube, "cronjobs")]);
  const next = nextCronJob(cronJobs.items, now);
  const active = jobs.items.filter((job) => (job.status?.active ?? 0) > 0).length;
  const busy =
    jobs.more || cronJobs.more
      ? `it has more than ${MOST} ${jobs.more ? "Jobs" : "CronJobs"}, too many to look through`
      : active > 0
        ? `${active === 1 ? "a Job runs" : `${active} Jobs run`}`
        : undefined;
  return { ...(busy === undefined ? {} : { busy }), ...(next ? { nextCronJob: next } : {}) };
}

async function listOf<T>(kube: Kube, plural: string): Promise<{ readonly items: readonly T[]; readonly more: boolean }> {
  const answer = await kube.raw("GET", `/apis/batch/v1/${plural}?limit=${MOST}`);
  const { items, metadata } = answer as { items?: readonly T[] | null; metadata?: { continue?: string } };
  return { items: items ?? [], more: Boolean(metadata?.continue) };
}
