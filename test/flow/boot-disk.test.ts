import { afterAll, beforeAll, expect, test } from "vitest";
import { createMatrixWorld, type MatrixWorld } from "./boot-matrix-world.ts";

let world: MatrixWorld;

beforeAll(async () => {
  world = await createMatrixWorld("d");
});
afterAll(() => world?.end());

/** Without a word about booting, EDK2 asks four times for a boot file before it gives up: 4 + 8 + 16 + 32 s. */
const AT_ONCE_S = 20;

test.each([
  ["uefi-pxe", /PXE-E21: Remote boot cancelled/],
  ["uefi-http", /404 Not Found/],
] as const)(
  "%s firmware whose machine has no work goes on to its next boot device when it has its lease",
  async (firmware, said) => {
    const machine = await world.machine(`disk-${firmware}`, { intent: { boot: "disk" } });
    const { console } = await world.boot(machine, firmware, said);
    expect(console).toMatch(said);
    const [first, ...later] = (await world.timeline(machine)).filter(({ stage }) => stage === "dhcp");
    const last = later.at(-1);
    expect([first?.sign?.what, last?.sign?.what]).toEqual(["offered", "leased"]);
    expect((Date.parse(last?.at ?? "") - Date.parse(first?.at ?? "")) / 1000).toBeLessThan(AT_ONCE_S);
  },
  120_000,
);
