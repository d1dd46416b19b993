/** How one vendor's Redfish differs from the standard. What is read back decides in the end; this only chooses what is sent. */
export interface Quirks {
  /** BootSourceOverrideMode: sent when the firmware is known, left out, or never sent. */
  readonly overrideMode: "send" | "omit";
}

interface Row extends Quirks {
  readonly manufacturer: RegExp;
  readonly model?: RegExp;
  /** Where it was seen. */
  readonly source: string;
}

const rows: readonly Row[] = [
  {
    manufacturer: /^supermicro/i,
    model: /X10/,
    overrideMode: "omit",
    source: "ironcore-dev/metal-operator#982: X10 has no BootSourceOverrideMode",
  },
  {
    manufacturer: /^(hpe|hewlett)/i,
    overrideMode: "omit",
    source: "ansible-collections/community.general#3509: BootSourceOverrideMode is read-only",
  },
];

const STANDARD: Quirks = { overrideMode: "send" };

export function quirksOf(manufacturer: string, model: string): Quirks {
  return rows.find((row) => row.manufacturer.test(manufacturer) && (row.model?.test(model) ?? true)) ?? STANDARD;
}
