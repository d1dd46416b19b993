import { readFileSync } from "node:fs";
import { systemClock } from "../../../src/core/clock.ts";
import type { HostControlPlane } from "../../flow/host-control-plane.ts";
import { median } from "../boot-part.ts";

export const MIB = 2 ** 20;
const PAGE_BYTES = 4096;

/** Of the whole machine, in MiB, from /proc/meminfo. */
export interface MachineMemory {
  /**
   * What nobody else can have: MemTotal − MemFree − Buffers − Cached + Shmem − SReclaimable, less the free pages that each CPU keeps at
   * hand, which MemFree leaves out (from Linux 6.7 on they are hundreds of MiB after much was freed). It holds processes' own memory,
   * the swap cache, page tables, kernel stacks, slab and cgroups; files that are merely remembered are not in it.
   */
  readonly used: number;
  readonly swapCached: number;
  readonly swapUsed: number;
}

/** Of processes, in MiB. */
export interface ProcessMemory {
  readonly resident: number;
  readonly pageTables: number;
  readonly swapped: number;
}

/** Everything that tenants cost, in MiB. */
export interface Snapshot {
  readonly machine: MachineMemory;
  /** All tenants' processes. */
  readonly tenants: ProcessMemory;
  /** Charged to their cgroups: resident memory, swap cache, files, what the kernel keeps. */
  readonly charged: number;
  readonly etcd: ProcessMemory;
  readonly supervisor: ProcessMemory;
  readonly gateway: ProcessMemory;
  /** This process: the tenants' controller, and the benchmark itself. */
  readonly daemon: ProcessMemory;
  readonly host: ProcessMemory;
}

export function machineMemory(): MachineMemory {
  const text = readFileSync("/proc/meminfo", "utf8");
  const of = (field: string) => kibibytes(text, field) / 1024;
  const free = of("MemFree") + atHand() + of("Buffers") + of("Cached") - of("Shmem") + of("SReclaimable");
  return { used: of("MemTotal") - free, swapCached: of("SwapCached"), swapUsed: of("SwapTotal") - of("SwapFree") };
}

/** Free pages on the lists of the CPUs (`pagesets` of /proc/zoneinfo), in MiB. */
function atHand(): number {
  const counts = readFileSync("/proc/zoneinfo", "utf8").matchAll(/^ +count: +(\d+)$/gm);
  return ([...counts].reduce((sum, [, pages]) => sum + Number(pages), 0) * PAGE_BYTES) / MIB;
}

/** The middle one of several looks within some seconds. */
export async function settledMemory(looks = 9): Promise<MachineMemory> {
  const all: MachineMemory[] = [];
  for (let look = 0; look < looks; look += 1) {
    all.push(machineMemory());
    await systemClock.sleep(500);
  }
  const middle = (field: keyof MachineMemory) => median(all.map((one) => one[field]));
  return { used: middle("used"), swapCached: middle("swapCached"), swapUsed: middle("swapUsed") };
}

export async function snapshot(host: HostControlPlane): Promise<Snapshot> {
  // its own garbage is no tenant's
  globalThis.gc?.();
  const machine = await settledMemory();
  const children = await host.supervisor.list();
  const pids = (is: (name: string) => boolean) => children.flatMap(({ name, pid }) => (pid !== undefined && is(name) ? [pid] : []));
  const cells = await host.supervisor.cells();
  const isTenant = (name: string) => name.startsWith("tenant-");
  const isEtcd = (name: string) => name.startsWith("tenants-etcd");
  const hosts = pids((name) => !isTenant(name) && !isEtcd(name) && name !== "tenants-gateway");
  return {
    machine,
    tenants: memoryOf(pids(isTenant)),
    charged: cells.reduce((sum, cell) => sum + cell.chargedBytes, 0) / MIB,
    etcd: memoryOf(pids(isEtcd)),
    supervisor: memoryOf(hosts.slice(0, 1).map(parentOf)),
    gateway: memoryOf(pids((name) => name === "tenants-gateway")),
    daemon: memoryOf([process.pid]),
    host: memoryOf(hosts),
  };
}

function memoryOf(pids: readonly number[]): ProcessMemory {
  const texts = pids.map((pid) => readIfAlive(`/proc/${pid}/status`));
  const sum = (...fields: string[]) =>
    texts.reduce((all, text) => all + fields.reduce((one, field) => one + kibibytes(text, field), 0), 0) / 1024;
  return { resident: sum("RssAnon", "RssShmem"), pageTables: sum("VmPTE"), swapped: sum("VmSwap") };
}

function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)$/m.exec(readIfAlive(`/proc/${pid}/status`))?.[1] ?? 0);
}

function readIfAlive(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function kibibytes(text: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? 0);
}
