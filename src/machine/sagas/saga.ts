import type { Clock } from "../../core/clock.ts";
import { isError } from "../../core/errors.ts";

/** What a step leaves for later ones, in the Machine's status: never a secret. */
export type Facts = Readonly<Record<string, string>>;

/** What every saga stands on. */
export interface Fenced {
  readonly done: ReadonlySet<string>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** On fresh state: the fence is ours and the claim as it was. @throws IRW_FENCE_LOST, IRW_CLAIM_LOST */
  hold(): Promise<void>;
  /** Records which step is under way. */
  begin(step: string): Promise<void>;
  /** Records the step as done, before the next one begins. */
  checkpoint(step: string, seconds: number, facts: Facts): Promise<void>;
  /** Notes an undo that failed; the saga's own failure goes on. */
  notTakenBack(error: unknown): void;
  /** Takes a step's record back, after its undo. */
  forget(step: string): Promise<void>;
}

export interface Step<On extends Fenced> {
  readonly name: string;
  /** Idempotent: a killed daemon runs it again. */
  readonly do: (on: On) => Promise<Facts | undefined>;
  /** What takes it back; a step without one says who cleans up. */
  readonly undo: ((on: On) => Promise<void>) | "the wipe of the release" | "nothing to undo" | "the release";
}

/** Runs the steps that are not done yet; on failure takes back what has an undo, newest first. */
export async function runSaga<On extends Fenced>(steps: readonly Step<On>[], on: On): Promise<void> {
  const begun: Step<On>[] = [];
  try {
    for (const step of steps) {
      begun.unshift(step);
      if (on.done.has(step.name)) continue;
      on.signal.throwIfAborted();
      await on.hold();
      await on.begin(step.name);
      const started = on.clock.now().getTime();
      const facts = await step.do(on);
      await on.checkpoint(step.name, (on.clock.now().getTime() - started) / 1_000, facts ?? {});
    }
  } catch (error) {
    if (!mayCleanUp(error, on)) throw error;
    await takeBack(begun, on).catch((second: unknown) => {
      // why it failed is what people look for; what could not be taken back is the release's
      if (!mayCleanUp(second, on)) throw second;
      on.notTakenBack(second);
    });
    throw error;
  }
}

async function takeBack<On extends Fenced>(begun: readonly Step<On>[], on: On): Promise<void> {
  for (const step of begun) {
    if (typeof step.undo !== "function") continue;
    await on.hold();
    await step.undo(on);
    await on.forget(step.name);
  }
}

/**
 * A worker that lost its fence or its claim owns nothing any more: it must not even clean up. One that is being stopped,
 * or cannot read its fence, leaves everything to whoever goes on.
 */
function mayCleanUp(error: unknown, on: Fenced): boolean {
  if (on.signal.aborted) return false;
  return !isError(error, "IRW_FENCE_LOST") && !isError(error, "IRW_CLAIM_LOST") && !isError(error, "IRW_KUBE_UNREACHABLE");
}
