import type { Clock } from "../core/clock.ts";
import type { BootEvent, Stage } from "./contract.ts";

/** What each machine was seen doing: the boot as people tell it. In memory and bounded. */
export interface Journal {
  add(machine: string, stage: Stage, detail: string): void;
  timeline(machine: string): readonly BootEvent[];
  lastSeen(machine: string): string;
  forget(machine: string): void;
}

const KEPT = 100;

export function createJournal(clock: Clock): Journal {
  const events = new Map<string, BootEvent[]>();
  return {
    add(machine, stage, detail) {
      const list = events.get(machine) ?? [];
      list.push({ at: clock.now().toISOString(), stage, detail });
      if (list.length > KEPT) list.shift();
      events.set(machine, list);
    },
    timeline: (machine) => [...(events.get(machine) ?? [])],
    lastSeen(machine) {
      const last = events.get(machine)?.at(-1);
      if (!last) return "never";
      const seconds = Math.max(0, Math.round((clock.now().getTime() - Date.parse(last.at)) / 1000));
      return `${last.detail} ${seconds} s ago`;
    },
    forget: (machine) => void events.delete(machine),
  };
}
