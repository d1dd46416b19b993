import { systemClock } from "../../../src/core/clock.ts";
import { DEPLOYMENT, type Kube, NAMESPACE, POD } from "../../../src/kube/index.ts";
import { idOf } from "../../../src/tenant/runtime.ts";
import { eventually } from "../../flow/eventually.ts";
import { MIB } from "./machine-memory.ts";
import { list, spread, spreadFigures, type TenantsOptions, type TenantsPart, tenths } from "./part.ts";

const GROUPS = [
  { name: "1m", ms: 60_000, quickMs: 5_000 },
  { name: "3m", ms: 180_000, quickMs: 10_000 },
  { name: "10m", ms: 600_000, quickMs: 20_000 },
] as const;

const REST_MS = 2_000;

/**
 * A sleeper is called by its front door on a new TLS connection, and asked for a Deployment's pod; each tenant once, after its
 * group, which is woken and put to sleep anew for it, slept long enough. What else is to be measured is, while the last group sleeps.
 */
export async function benchWake({ world, count, quick, say }: TenantsOptions, meanwhile: () => Promise<void>): Promise<TenantsPart> {
  // who sleeps longest is first of the fleet, of which the other parts wake the last
  const names = [...(await world.fleet(GROUPS.length * count))];
  const groups = [...GROUPS].reverse().map((group) => ({ ...group, names: names.splice(0, count) }));
  const figures: Record<string, number> = { wakeTenants: count };
  const rows: string[][] = [];
  const every: number[] = [];
  for (const group of groups.reverse()) {
    await sleepAnew(group.names);
    if (group.name === "10m") await meanwhile();
    await due(group.names, quick ? group.quickMs : group.ms, say);
    const charged = await mostCharged(group.names);
    const [answers, pods, sleptS]: [number[], number[], number[]] = [[], [], []];
    for (const [nth, name] of group.names.entries()) {
      say(`waking ${nth + 1} of ${count}, asleep for ${group.name}`);
      sleptS.push((Date.now() - (await asleepSince(name))) / 1000);
      const { answerMs, podMs } = await wake(world, name);
      answers.push(answerMs);
      pods.push(podMs);
      await world.awake(name);
      // its controllers go on for a while, and the next one is measured by itself
      await systemClock.sleep(REST_MS);
    }
    say(`asleep for ${group.name}: first answer ${list(answers)} ms, pod ${list(pods)} ms; in memory before at most ${charged} MiB each`);
    await world.sleep(group.names);
    every.push(...answers);
    Object.assign(figures, spreadFigures(`wake${group.name}`, answers), spreadFigures(`wakePod${group.name}`, pods));
    figures[`wake${group.name}BeforeMiB`] = charged;
    const [least, most] = [Math.round(Math.min(...sleptS)), Math.round(Math.max(...sleptS))];
    Object.assign(figures, { [`wake${group.name}SleptMinS`]: least, [`wake${group.name}SleptMaxS`]: most });
    rows.push([`asleep for ${least} to ${most} s, ${count} of them`, spread(answers), spread(pods), String(charged)]);
  }
  return {
    figures: { ...spreadFigures("wake", every), ...figures },
    table: [["waking, ms, p50 / p99", "first answer", "a Deployment's pod", "MiB in memory before, at most"], ...rows],
  };

  /** What of a sleeper is in memory still, the swap cache included: the rest comes from disk. */
  async function mostCharged(group: readonly string[]): Promise<number> {
    const cells = await Promise.all(group.map(async (name) => world.host.supervisor.cell(`tenant-${idOf(await world.get(name))}`)));
    return tenths(Math.max(...cells.map((cell) => cell?.chargedBytes ?? 0)) / MIB);
  }

  async function sleepAnew(group: readonly string[]): Promise<void> {
    say(`waiting until ${group.length} were awake and sleep again`);
    for (const name of group) {
      await world.answers(name);
      await world.awake(name);
    }
    await world.sleep(group);
  }

  async function asleepSince(name: string): Promise<number> {
    return Date.parse((await world.get(name)).status?.sleep?.since ?? "");
  }

  async function due(group: readonly string[], ms: number, tell: (line: string) => void): Promise<void> {
    const since = await Promise.all(group.map(asleepSince));
    const leftMs = Math.max(...since) + ms - Date.now();
    if (leftMs <= 0) return;
    tell(`waiting ${Math.ceil(leftMs / 1000)} s more, until ${group.length} have slept for ${ms / 1000} s`);
    await systemClock.sleep(leftMs);
  }
}

/** A caller's own first call and the pod of the Deployment that it asks for next, from the moment it began to dial. */
export async function wake(world: TenantsOptions["world"], name: string): Promise<{ readonly answerMs: number; readonly podMs: number }> {
  const kube = await world.connect(name);
  try {
    const began = performance.now();
    if (!(await kube.get(NAMESPACE, "default"))) throw new Error(`${name} answers without its namespace`);
    const answerMs = performance.now() - began;
    await deploy(kube, `web-${Math.round(began)}`);
    return { answerMs, podMs: performance.now() - began };
  } finally {
    await kube.close();
  }
}

async function deploy(kube: Kube, name: string): Promise<void> {
  const labels = { app: name };
  await kube.create(DEPLOYMENT, {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace: "default" },
    spec: {
      replicas: 1,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name, image: "registry.invalid/web:1" }] } },
    },
  });
  await eventually(`the pod of ${name} is there`, async () => {
    const { items } = await kube.list(POD, { namespace: "default", labelSelector: `app=${name}` });
    if (items.length === 0) throw new Error("not yet");
  });
}
