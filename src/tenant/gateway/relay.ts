import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

/** Who has said all and waits for the rest of an answer may wait so long without a byte. */
const HALF_CLOSED_MS = 5 * 60_000;

/**
 * Carries bytes both ways until both ends are closed: what one end says last reaches the other before its end does, and who does not
 * read is not written to.
 */
export function relay(near: Socket, far: Duplex, halfClosedMs = HALF_CLOSED_MS): Promise<void> {
  return new Promise((resolve) => {
    let open = 2;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const cut = () => {
      near.destroy();
      far.destroy();
    };
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.on("error", cut);
      one.once("end", () => near.setTimeout(halfClosedMs, cut));
      one.once("close", () => {
        open -= 1;
        if (open === 0) {
          clearTimeout(timer);
          return resolve();
        }
        // what came last is still to be written; what the other end would say, nobody hears
        if (!one.readableEnded || other.writableFinished) return void other.destroy();
        other.once("finish", () => other.destroy());
        timer = setTimeout(cut, halfClosedMs);
      });
      one.pipe(other);
    }
    if (near.destroyed || far.destroyed) cut();
  });
}
