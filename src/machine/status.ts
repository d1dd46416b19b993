import { type NewCondition, withCondition } from "../core/conditions.ts";
import type { HistoryEntry, Inventory, Machine, MachineStatus, Operation, Phase } from "../core/resources.ts";

/** Pure edits of a Machine's status. */

const HISTORY_LIMIT = 40;

export function statusOf(machine: Machine): MachineStatus {
  return machine.status ?? {};
}

export function phaseOf(machine: Machine): Phase {
  return machine.status?.phase ?? "Discovered";
}

export function withNews(status: MachineStatus, event: string, message: string, now: Date, seconds?: number): MachineStatus {
  const entry: HistoryEntry = {
    at: now.toISOString(),
    phase: status.phase ?? "Discovered",
    event,
    message,
    ...(seconds === undefined ? {} : { seconds: Math.round(seconds * 10) / 10 }),
  };
  return { ...status, history: [...(status.history ?? []), entry].slice(-HISTORY_LIMIT) };
}

export function withFact(status: MachineStatus, next: NewCondition, now: Date): MachineStatus {
  return { ...status, conditions: withCondition(status.conditions, next, now) };
}

export function without(status: MachineStatus, ...types: readonly string[]): MachineStatus {
  return { ...status, conditions: (status.conditions ?? []).filter((one) => !types.includes(one.type)) };
}

/** The same operation with some of it changed; nothing when there is none. */
export function withOperation(status: MachineStatus, change: Partial<Operation>): MachineStatus {
  return status.operation ? { ...status, operation: { ...status.operation, ...change } } : status;
}

/** Fields taken away: a merge would keep them. */
export function drop<K extends keyof MachineStatus>(status: MachineStatus, ...keys: readonly K[]): Omit<MachineStatus, K> {
  return Object.fromEntries(Object.entries(status).filter(([key]) => !keys.includes(key as K))) as Omit<MachineStatus, K>;
}

/** What `kubectl get machines` prints. */
export function summaryOf(inventory: Inventory): { cpu: string; memory: string; gpus: string } {
  const models = [...new Set(inventory.gpus.map((gpu) => gpu.model))];
  return {
    cpu: String(inventory.cpu.threads),
    memory:
      inventory.memoryBytes >= 2 ** 30 ? `${round(inventory.memoryBytes / 2 ** 30)}Gi` : `${Math.round(inventory.memoryBytes / 2 ** 20)}Mi`,
    gpus: inventory.gpus.length === 0 ? "0" : `${inventory.gpus.length}x ${models.join(", ")}`,
  };
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
