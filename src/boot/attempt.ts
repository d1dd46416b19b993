import type { BootEvent, Sign, Stage } from "./contract.ts";

/** The steps of one boot in the order in which they come; `program` and `address` are absent where iPXE is in the NIC's ROM. */
export const STEPS = ["address", "program", "ipxe", "script", "kernel", "initrd", "hello", "inspected", "installed"] as const;
export type Step = (typeof STEPS)[number];

/** How an attempt ended: the last step that counts, `disk` (it booted its own), or `stopped` where it went no further. */
export type AttemptEnd = "installed" | "inspected" | "hello" | "disk" | "stopped";

export interface StepTime {
  readonly step: Step;
  /** When it was reached, RFC 3339. */
  readonly at: string;
  /** Since the step before it, or since the attempt's first packet. */
  readonly seconds: number;
}

/** One boot of one machine, from its first DHCP packet on: a trace. */
export interface Attempt {
  readonly machine: string;
  /** Counts up for each machine. */
  readonly number: number;
  readonly startedAt: string;
  /** Of the last event. */
  readonly lastAt: string;
  readonly end?: AttemptEnd;
  /** What the firmware asked as: `UEFI PXE`. */
  readonly client?: string;
  /** Manufacturer and product, once the inventory says it. */
  readonly model?: string;
  /** Its beginning was not seen, because the daemon was not running: its first step's time means nothing. */
  readonly partial?: true;
  /** Why it went no further, where it stopped. */
  readonly why?: string;
  readonly steps: readonly StepTime[];
}

/** A firmware that hears nothing asks again for a minute or so; after this long it is another boot. */
const QUIET_MS = 5 * 60_000;

const reachedBy: Partial<Record<Stage, Step>> = {
  tftp: "program",
  program: "program",
  script: "script",
  kernel: "kernel",
  initrd: "initrd",
  hello: "hello",
  inspected: "inspected",
  installed: "installed",
};

/** The step an event completes; most complete none. */
export function stepOf(event: Pick<BootEvent, "stage" | "sign">): Step | undefined {
  const { stage, sign } = event;
  if (stage === "dhcp") {
    if (sign?.what !== "leased") return undefined;
    return sign.client === "ipxe" ? "ipxe" : sign.client === "plain" ? undefined : "address";
  }
  return sign === undefined || sign.what === "fetched" ? reachedBy[stage] : undefined;
}

/** Whether the event can only be a machine that starts anew. */
function begins(attempt: Attempt | undefined, event: BootEvent): boolean {
  const { sign } = event;
  if (attempt === undefined || attempt.end !== undefined) return !isAfterwards(event);
  if (event.stage !== "dhcp" || sign === undefined || !isBootClient(sign)) return false;
  const furthest = attempt.steps.at(-1)?.step;
  if (Date.parse(event.at) - Date.parse(attempt.lastAt) > QUIET_MS) return true;
  // firmware after its boot program was fetched, or iPXE after its script was: the machine was reset
  return furthest !== undefined && STEPS.indexOf(furthest) >= STEPS.indexOf(sign.client === "ipxe" ? "script" : "program");
}

/** Of an installed system, or of work over SSH after the boot: these begin nothing. */
function isAfterwards({ stage, sign }: BootEvent): boolean {
  return (stage === "dhcp" && !(sign && isBootClient(sign))) || stage === "file" || stage === "inspected" || stage === "installed";
}

function isBootClient(sign: Sign): boolean {
  return sign.client !== undefined && sign.client !== "plain";
}

export interface Followed {
  /** The attempt as it stands now; undefined when the event belongs to none. */
  readonly attempt: Attempt | undefined;
  /** The attempt before, where this event ended it. */
  readonly before?: Attempt;
}

/**
 * What an event makes of a machine's attempt; pure.
 * @param attempt the machine's latest, over or not
 * @param last the number of the machine's latest attempt
 */
export function follow(attempt: Attempt | undefined, event: BootEvent, machine: string, last: number): Followed {
  if (begins(attempt, event)) {
    const { stage, sign } = event;
    const started: Attempt = {
      machine,
      number: last + 1,
      startedAt: event.at,
      lastAt: event.at,
      ...(sign?.name ? { client: sign.name } : {}),
      ...(attempt?.model ? { model: attempt.model } : {}),
      ...(stage === "dhcp" ? {} : { partial: true as const }),
      steps: [],
    };
    const before = attempt && attempt.end === undefined ? ended(attempt) : undefined;
    return { attempt: advanced(started, event), ...(before ? { before } : {}) };
  }
  if (attempt === undefined || attempt.end !== undefined) return { attempt };
  return { attempt: advanced(attempt, event) };
}

function advanced(attempt: Attempt, event: BootEvent): Attempt {
  const step = stepOf(event);
  const seen = { ...attempt, lastAt: event.at };
  const next = step === undefined ? seen : { ...seen, steps: withStep(attempt, step, event.at) };
  if (step === "inspected" || step === "installed") return { ...next, end: step };
  return event.sign?.because === "disk" && event.sign.client !== "plain" ? { ...next, end: "disk" } : next;
}

/** A step that is repeated, after a retry say, took until its last time; one that comes out of order changes nothing. */
function withStep(attempt: Attempt, step: Step, at: string): readonly StepTime[] {
  const last = attempt.steps.at(-1);
  const kept = last?.step === step ? attempt.steps.slice(0, -1) : attempt.steps;
  const before = kept.at(-1);
  if (last && STEPS.indexOf(last.step) > STEPS.indexOf(step)) return attempt.steps;
  const seconds = Math.max(0, (Date.parse(at) - Date.parse(before?.at ?? attempt.startedAt)) / 1000);
  return [...kept, { step, at, seconds }];
}

/** An attempt that nothing more is heard of: it got as far as the installer, or it stopped. */
export function ended(attempt: Attempt, why?: string): Attempt {
  if (attempt.end !== undefined) return attempt;
  const end = attempt.steps.some(({ step }) => step === "hello") ? "hello" : "stopped";
  return { ...attempt, end, ...(end === "stopped" && why !== undefined ? { why } : {}) };
}

/** Silence after which an attempt is over: firmware, iPXE and kernel make themselves heard; an installation takes its time. */
export function isOver(attempt: Attempt, now: Date): boolean {
  const quiet = now.getTime() - Date.parse(attempt.lastAt);
  return quiet > (attempt.steps.some(({ step }) => step === "hello") ? 2 * 3_600_000 : 15 * 60_000);
}

/** What a step usually takes on machines of one model. */
export interface StepHistory {
  readonly step: Step;
  readonly count: number;
  readonly median: number;
  readonly p90: number;
}

/** Fewer say nothing about what is usual. */
export const ENOUGH = 3;

export function historyOf(step: Step, seconds: readonly number[]): StepHistory {
  const sorted = [...seconds].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? 0;
  return { step, count: sorted.length, median: at(0.5), p90: at(0.9) };
}

/**
 * The step that cost most beyond what is usual for the model: more than a second, and more than half as much again. Without history,
 * the longest. Undefined when nothing was slow. The boot that is judged may be part of the history, so its p90 is no measure.
 */
export function slowestStep(steps: readonly StepTime[], history: readonly StepHistory[]): Step | undefined {
  const usual = new Map(history.filter(({ count }) => count >= ENOUGH).map(({ step, median }) => [step, median]));
  const judged = steps.flatMap(({ step, seconds }) => {
    const median = usual.get(step);
    return median === undefined ? [] : [{ step, late: seconds - median, isSlow: seconds - median > Math.max(1, median / 2) }];
  });
  if (judged.length > 0) return judged.filter(({ isSlow }) => isSlow).sort((a, b) => b.late - a.late)[0]?.step;
  return [...steps].sort((a, b) => b.seconds - a.seconds)[0]?.step;
}
