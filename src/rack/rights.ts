import { readFileSync } from "node:fs";
import { IronwrightError } from "../core/errors.ts";

/** Bits of capabilities(7): CAP_NET_ADMIN makes interfaces, CAP_SYS_ADMIN namespaces and their mounts. */
const NEEDED = { CAP_NET_ADMIN: 12n, CAP_SYS_ADMIN: 21n };

/** @throws IRW_RACK_RIGHTS where this process can neither make nor remove a rack's network */
export function needRights(): void {
  const lacks = lackingRights(readFileSync("/proc/self/status", "utf8"));
  if (lacks) throw new IronwrightError("IRW_RACK_RIGHTS", { lacks });
}

/** What a process lacks, by its /proc/PID/status; undefined when nothing. */
export function lackingRights(status: string): string | undefined {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  const lacking = Object.entries(NEEDED).filter(([, bit]) => ((effective >> bit) & 1n) === 0n);
  return lacking.length > 0 ? lacking.map(([name]) => name).join(" and ") : undefined;
}
