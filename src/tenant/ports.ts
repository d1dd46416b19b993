import { IronwrightError } from "../core/errors.ts";

export interface NumberRange {
  readonly from: number;
  readonly to: number;
}

export type PortRange = NumberRange;

/** The lowest port no control plane has. */
export function choosePort(range: PortRange, taken: readonly { readonly port?: number }[]): number {
  const port = lowestFree(
    range,
    taken.map((one) => one.port),
  );
  if (port === undefined) throw new IronwrightError("IRW_TENANT_PORTS", { from: range.from, to: range.to });
  return port;
}

export function lowestFree({ from, to }: NumberRange, taken: readonly (number | undefined)[]): number | undefined {
  const given = new Set(taken);
  for (let number = from; number <= to; number += 1) if (!given.has(number)) return number;
  return undefined;
}
