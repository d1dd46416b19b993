import { writeOption } from "../wire/index.ts";
import type { BootOption } from "./contract.ts";
import type { Request } from "./facts.ts";

/** An option of the configuration as its bytes, and to whom it goes. */
export interface GivenOption {
  readonly code: number;
  readonly bytes: Uint8Array;
  readonly always: boolean;
  readonly vendorClass: string | undefined;
  readonly arches: ReadonlySet<string> | undefined;
}

export function givenOptions(options: readonly BootOption[] | undefined): readonly GivenOption[] {
  return (options ?? []).flatMap((one) => {
    const bytes = bytesOf(one);
    if (!bytes) return [];
    const { vendorClass, arch } = one.when ?? {};
    return [{ code: one.code, bytes, always: one.always ?? false, vendorClass, arches: arch && new Set(arch) }];
  });
}

function bytesOf({ code, value, hex }: BootOption): Uint8Array | undefined {
  if (hex !== undefined) return Buffer.from(hex.toLowerCase().replace(/^0x/, "").replaceAll(":", ""), "hex");
  return value === undefined ? undefined : writeOption(code, value);
}

/**
 * What of these goes into the answer to this request: what it asked for (option 55; all, where it asked for nothing), and what
 * always does.
 * @param lists the general first: what comes later wins
 */
export function optionsFor(request: Request, lists: readonly (readonly GivenOption[])[]): ReadonlyMap<number, Uint8Array> {
  const chosen = new Map<number, Uint8Array>();
  for (const list of lists) {
    for (const one of list) {
      if (!one.always && request.asked.length > 0 && !request.asked.includes(one.code)) continue;
      if (one.vendorClass !== undefined && !request.vendorClass.startsWith(one.vendorClass)) continue;
      if (one.arches && !one.arches.has(request.arch)) continue;
      chosen.set(one.code, one.bytes);
    }
  }
  return chosen;
}
