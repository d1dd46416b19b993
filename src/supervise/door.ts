import { readFileSync } from "node:fs";
import type { Clock } from "../core/clock.ts";
import { isAlive, type ProcessIdentity, signalGroup } from "./process.ts";

const SHUT_WITHIN_MS = 5_000;
const POLL_MS = 5;

/** What the door says of itself by its name: see native/door.go. */
function stateOf({ pid }: ProcessIdentity): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return "";
  }
}

/** Closes the door's side to etcd. Resolves when its connections are closed, as they are when it is gone; false when it does not answer. */
export async function shutDoor(door: ProcessIdentity, clock: Clock): Promise<boolean> {
  const until = clock.now().getTime() + SHUT_WITHIN_MS;
  while (isAlive(door) && stateOf(door) !== "door-shut") {
    // one that just starts has no handler yet, and the signal would end it
    if (stateOf(door) === "door-open") signalGroup(door, "SIGUSR1");
    if (clock.now().getTime() > until) return false;
    await clock.sleep(POLL_MS);
  }
  return true;
}

/** Opens it again; also one that is stopped, or has yet to hear that it was to be shut, and hears this after it. */
export function openDoor(door: ProcessIdentity): void {
  // one that just starts is open, and has no handler
  if (stateOf(door).startsWith("door-")) signalGroup(door, "SIGUSR2");
}
