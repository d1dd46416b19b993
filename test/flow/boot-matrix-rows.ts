import { writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { BootRecord, Stage } from "../../src/boot/index.ts";
import { table } from "../../src/cli/print.ts";
import type { Firmware, PowerOn } from "./boot-firmware.ts";
import type { MatrixWorld, TestMachine } from "./boot-matrix-world.ts";

/** Set by `npm run soak -- boot-matrix`, to where the rows go: all of them run, and every firmware goes on to the installer's hello. */
const soak = process.env.IRONWRIGHT_SOAK;
export const SOAK = soak !== undefined;

/** One line of the table: who booted how, and what came of it. */
interface Row {
  readonly client: string;
  readonly network: string;
  readonly result: string;
  readonly seconds: number;
}

const rows: Row[] = [];

type Declare = (client: string, network: string, prove: () => Promise<string>) => void;

function rowBy(declare: (name: string, run: () => Promise<void>) => void): Declare {
  return (client, network, prove) =>
    declare(`${client}, ${network}`, async () => {
      const began = Date.now();
      const result = await prove();
      rows.push({ client, network, result, seconds: (Date.now() - began) / 1000 });
    });
}

/** Each row is a test, and a line of the table. */
export const row = rowBy(test);
/** Where a virtual server waits for a time-out another one works, but in a soak, whose seconds are of one alone. */
export const firmwareRow = rowBy(SOAK ? test : test.concurrent);
/** Takes too long for `npm test`. */
export const longRow: Declare = SOAK ? row : () => {};

/** How a server with one kind of firmware comes to the installer. */
interface Road {
  readonly firmware: Firmware;
  readonly stages: readonly Stage[];
  /** What the table says of it. */
  readonly says: string;
  readonly record?: Partial<BootRecord>;
  /** What its console shows when the installer's kernel runs. */
  readonly shows?: RegExp;
}

/** What a boot program does next, iPXE or GRUB. */
const INSTALLER = ["script", "kernel", "initrd", "key", "hello"] as const;

const ROADS = {
  "SeaBIOS, iPXE ROM": { firmware: "bios", stages: ["dhcp", ...INSTALLER], says: "script, kernel" },
  "PXE ROM, undionly.kpxe": {
    firmware: "bios-undionly",
    stages: ["dhcp", "tftp", ...INSTALLER],
    says: "undionly.kpxe, script, kernel",
  },
  "OVMF PXE, snponly.efi": { firmware: "uefi-pxe", stages: ["dhcp", "tftp", ...INSTALLER], says: "snponly.efi, script, kernel" },
  "OVMF HTTP Boot, snponly.efi": {
    firmware: "uefi-http",
    stages: ["dhcp", "program", ...INSTALLER],
    says: "snponly.efi by HTTP, script, kernel",
  },
  "OVMF with Secure Boot, shim and GRUB": {
    firmware: "uefi-secure",
    stages: ["dhcp", "tftp", ...INSTALLER],
    says: "shim, GRUB, signed kernel runs",
    record: { secureBoot: "required" },
    shows: /NBP filename is shimx64.efi.*Linux version/s,
  },
} as const satisfies Readonly<Record<string, Road>>;

export type RoadName = keyof typeof ROADS;
/** How far a server is followed. */
export type HowFar = "kernel" | "hello";

export interface Travelled {
  readonly machine: TestMachine;
  readonly says: string;
}

/** Powers a machine on that shall boot the installer, and proves how it came there. */
export async function travel(world: MatrixWorld, name: RoadName, howFar: HowFar, power: Partial<PowerOn> = {}): Promise<Travelled> {
  const { firmware, stages, says, record, shows }: Road = ROADS[name];
  const machine = await world.machine(`${firmware}-${howFar}`, record);
  const seen = await world.boot(machine, firmware, howFar === "hello" ? "hello" : (shows ?? "kernel"), power);
  // a kernel that runs had its initrd
  const due = howFar === "hello" ? stages.length : stages.indexOf(shows ? "initrd" : "kernel") + 1;
  expect(howFar === "hello" ? seen.stages : seen.stages.slice(0, due)).toEqual(stages.slice(0, due));
  if (shows) expect(seen.console).toMatch(shows);
  return { machine, says: howFar === "hello" ? `${says}, installer up` : says };
}

export interface RoadRows extends Partial<PowerOn> {
  /** What has no such row there. */
  readonly except?: RoadName;
  /** What else must be so of a machine that booted. */
  also?(machine: TestMachine): Promise<void>;
}

/**
 * Rows of real firmware that boots the installer: in a soak each there is, to the installer's hello.
 * @param quick those of `npm test`
 */
export function roadRows(
  network: string,
  world: () => MatrixWorld,
  quick: Partial<Record<RoadName, HowFar>>,
  { also, except, ...power }: RoadRows = {},
): void {
  for (const name of Object.keys(ROADS) as RoadName[]) {
    const howFar = SOAK ? "hello" : quick[name];
    if (howFar === undefined || name === except) continue;
    firmwareRow(name, network, async () => {
      const { machine, says } = await travel(world(), name, howFar, power);
      await also?.(machine);
      return says;
    });
  }
}

/** Prints the table, and leaves its rows where a soak wants them. */
export function tellRows(): void {
  const lines = rows.map(({ client, network, result, seconds }) => [client, network, result, `${seconds.toFixed(1)} s`]);
  console.log(`\nboot matrix\n${table(["client", "network", "result", "took"], lines)}\n`);
  if (soak !== undefined) writeFileSync(soak, JSON.stringify(rows));
}
