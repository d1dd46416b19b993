import { isError } from "../../core/errors.ts";
import type { Work } from "../work.ts";

const TENANT_MS = 10 * 60_000;
const TRY_MS = 1_000;

/** A tenant that does not answer yet, as after a start of the daemon, is waited for: no attempt is lost to it. */
export async function whenTenantReady<T>(on: Work, call: () => Promise<T>): Promise<T> {
  const deadline = on.clock.now().getTime() + TENANT_MS;
  for (;;) {
    await on.hold();
    try {
      return await call();
    } catch (error) {
      if (!isError(error, "IRW_TENANT_NOT_READY") || on.clock.now().getTime() > deadline) throw error;
      await on.clock.sleep(TRY_MS, on.signal);
    }
  }
}
